//! How figures are written. `assets/lab.js` writes them the same way.

/// A way to write a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A whole number.
    Count,
    /// Two decimals, always.
    Mean,
    /// Events per second.
    Rate,
    /// Milliseconds, to three digits.
    Milliseconds,
    /// Seconds, two decimals.
    Seconds,
    /// Megabytes, one decimal.
    Megabytes,
    /// Percent of one CPU.
    Percent,
    /// Whether something answers: 1 or 0.
    Presence,
}

impl Format {
    /// The name that the script knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Mean => "mean",
            Self::Rate => "rate",
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Megabytes => "megabytes",
            Self::Percent => "percent",
            Self::Presence => "presence",
        }
    }

    /// What stands behind the number.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Count | Self::Mean | Self::Presence => "",
            Self::Rate => "/s",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Megabytes => "MB",
            Self::Percent => "%",
        }
    }

    /// Writes a number without its unit; a dash where it is not known.
    pub fn write(self, value: f64) -> String {
        match self {
            _ if value.is_nan() => "–".into(),
            Self::Count | Self::Rate | Self::Percent => grouped(value, 0),
            Self::Mean | Self::Seconds => grouped(value, 2),
            Self::Presence => if value > 0.0 { "answers" } else { "away" }.into(),
            Self::Megabytes => grouped(value, 1),
            Self::Milliseconds if value > 0.0 && value < 0.1 => grouped(value, 3),
            Self::Milliseconds if value < 10.0 => grouped(value, 2),
            Self::Milliseconds if value < 100.0 => grouped(value, 1),
            Self::Milliseconds => grouped(value, 0),
        }
    }
}

/// Writes a number as precisely as it was given, grouped.
pub fn exactly(value: f64) -> String {
    let decimals = value.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
    grouped(value, decimals)
}

/// How far a guess is off: a factor where both are above zero, else the difference.
pub fn off_by(guess: f64, outcome: f64) -> String {
    if guess == outcome {
        return "exact".into();
    }
    if guess <= 0.0 || outcome <= 0.0 {
        return grouped((guess - outcome).abs(), 0);
    }
    let factor = (guess / outcome).max(outcome / guess);
    format!("× {}", grouped(factor, if factor < 10.0 { 2 } else { 0 }))
}

fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = whole.len();
    let mut grouped = String::with_capacity(text.len() + digits / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (digits - index).is_multiple_of(3) && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_figures() {
        for (format, value, text) in [
            (Format::Count, 0.0, "0"),
            (Format::Count, 999.6, "1,000"),
            (Format::Rate, 1_234_567.0, "1,234,567"),
            (Format::Mean, 12.272_727, "12.27"),
            (Format::Milliseconds, 0.0, "0.00"),
            (Format::Milliseconds, 0.002, "0.002"),
            (Format::Milliseconds, 1.234, "1.23"),
            (Format::Milliseconds, 12.34, "12.3"),
            (Format::Milliseconds, 1234.5, "1,234"),
            (Format::Megabytes, 12.34, "12.3"),
            (Format::Count, -123.0, "-123"),
            (Format::Presence, 1.0, "answers"),
            (Format::Presence, 0.0, "away"),
            (Format::Count, f64::NAN, "–"),
        ] {
            assert_eq!(format.write(value), text, "{format:?} {value}");
        }
    }

    #[test]
    fn writes_a_guess_as_it_was_meant() {
        for (value, text) in [(3000.0, "3,000"), (0.005, "0.005"), (1234.5, "1,234.5"), (0.0, "0")] {
            assert_eq!(exactly(value), text);
        }
    }

    #[test]
    fn tells_how_far_a_guess_is_off() {
        for (guess, outcome, text) in
            [(5.0, 5.0, "exact"), (10.0, 5.0, "× 2.00"), (5.0, 100.0, "× 20"), (0.0, 3.0, "3"), (4.0, 0.0, "4")]
        {
            assert_eq!(off_by(guess, outcome), text);
        }
    }
}
