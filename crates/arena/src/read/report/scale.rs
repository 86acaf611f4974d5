//! Axes: where a value stands, and which values are worth a line.

/// Lines that an axis has at most.
const MOST_TICKS: usize = 6;

/// Steps of seconds that read well.
const SECONDS: [f64; 14] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0];

/// An axis from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From 0, so that heights compare as the values do.
    Linear { step: f64, end: f64 },
    /// By powers of ten, for times that differ by orders of magnitude.
    Log { start: f64, end: f64 },
}

impl Scale {
    /// From 0 to at least the greatest of `values`.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        if most <= 0.0 {
            return Self::Linear { step: 1.0, end: 1.0 };
        }
        let step = round_up(most / (MOST_TICKS - 1) as f64, &[1.0, 2.0, 2.5, 5.0, 10.0]);
        Self::Linear { step, end: (most / step).ceil() * step }
    }

    /// From the least to the greatest of those `values` that are above 0, both rounded outwards.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let above_zero = values.filter(|value| value.is_finite() && *value > 0.0);
        let (least, most) =
            above_zero.fold((f64::MAX, 0.0), |(least, most), value| (value.min(least), value.max(most)));
        if most <= 0.0 {
            return Self::Log { start: 1.0, end: 10.0 };
        }
        let start = round_down(least, &[1.0, 2.0, 5.0]);
        let end = round_up(most, &[1.0, 2.0, 5.0, 10.0]);
        Self::Log { start, end: if end > start { end } else { start * 10.0 } }
    }

    /// Where `value` stands, from 0 at the axis' start to 1 at its end; none where it is off the axis.
    pub(super) fn position(self, value: f64) -> Option<f64> {
        let position = match self {
            Self::Linear { end, .. } => value / end,
            Self::Log { start, end } => (value / start).ln() / (end / start).ln(),
        };
        (-1e-9..=1.0 + 1e-9).contains(&position).then_some(position)
    }

    /// The values that get a line.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { step, end } => (0..=(end / step).round() as usize).map(|nth| nth as f64 * step).collect(),
            Self::Log { start, end } => [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]]
                .iter()
                .map(|digits| powers(start, end, digits))
                .find(|ticks| ticks.len() <= MOST_TICKS + 1)
                .unwrap_or_else(|| powers(start, end, &[1.0])),
        }
    }
}

/// The seconds of a run that get a line.
pub(super) fn seconds(length: f64) -> Vec<f64> {
    let room = (MOST_TICKS + 1) as f64;
    let step = SECONDS.into_iter().find(|step| length / step <= room).unwrap_or(length / room);
    (0..=(length / step) as usize).map(|nth| nth as f64 * step).collect()
}

fn powers(start: f64, end: f64, digits: &[f64]) -> Vec<f64> {
    let decades = start.log10().floor() as i32..=end.log10().ceil() as i32;
    let all = decades.flat_map(|decade| digits.iter().map(move |digit| digit * 10f64.powi(decade)));
    all.filter(|tick| *tick >= start * 0.999 && *tick <= end * 1.001).collect()
}

fn round_up(value: f64, digits: &[f64]) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    digits.iter().map(|digit| digit * decade).find(|rounded| *rounded >= value * (1.0 - 1e-9)).unwrap_or(10.0 * decade)
}

fn round_down(value: f64, digits: &[f64]) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    digits.iter().rev().map(|digit| digit * decade).find(|rounded| *rounded <= value * (1.0 + 1e-9)).unwrap_or(decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_start_at_zero_and_hold_all() {
        assert_eq!(Scale::linear([3.0, 612.0].into_iter()).ticks(), [0.0, 200.0, 400.0, 600.0, 800.0]);
        assert_eq!(Scale::linear([0.25].into_iter()).ticks().len(), 6);
        assert_eq!(Scale::linear([].into_iter()).ticks(), [0.0, 1.0]);
        assert_eq!(Scale::linear([0.0, f64::NAN].into_iter()).ticks(), [0.0, 1.0]);
    }

    #[test]
    fn log_axes_hold_all_and_leave_zero_out() {
        let scale = Scale::log([0.0, 0.7, 3.2, 41.0].into_iter());
        assert_eq!(scale, Scale::Log { start: 0.5, end: 50.0 });
        assert_eq!(scale.ticks(), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(scale.position(0.0), None);
        assert!((scale.position(5.0).unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(Scale::log([].into_iter()).ticks(), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(Scale::log([1.0].into_iter()), Scale::Log { start: 1.0, end: 10.0 });
        assert_eq!(Scale::log([0.01, 90_000.0].into_iter()).ticks().len(), 8);
    }

    #[test]
    fn seconds_are_marked_at_steps_that_read_well() {
        assert_eq!(seconds(205.0), [0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0]);
        assert_eq!(seconds(0.0), [0.0]);
        assert!(seconds(86_400.0).len() < 16);
    }
}
