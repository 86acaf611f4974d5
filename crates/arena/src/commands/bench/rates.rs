//! The rates of a ramp, as the command line tells them.

use std::fmt;
use std::str::FromStr;

use anyhow::{bail, ensure};

use crate::load::driver::plan::MOST_STEPS;

/// Rates in users per second, in the order in which they are driven.
#[derive(Clone, Debug, PartialEq)]
pub enum Rates {
    /// `FROM..TO`: from one to another, which no step exceeds.
    Span(f64, f64),
    /// `RATE,RATE,...`: each by itself.
    List(Vec<f64>),
}

/// How the rate grows from step to step of a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Growth {
    /// `50`: by so many users per second.
    By(f64),
    /// `x1.5`: to so many times of what it was.
    Times(f64),
}

impl Rates {
    /// The rate of each step.
    ///
    /// # Errors
    ///
    /// The steps are more than [`MOST_STEPS`], or each of them was told and a growth too.
    pub fn steps(&self, growth: Option<Growth>) -> anyhow::Result<Vec<f64>> {
        let (from, to) = match (self, growth) {
            (Self::Span(from, to), _) => (*from, *to),
            (Self::List(rates), None) => return Ok(rates.clone()),
            (Self::List(_), Some(_)) => bail!("--step is for a ramp FROM..TO"),
        };
        let at = |step: u32| match growth.unwrap_or(Growth::By(from)) {
            Growth::By(rate) => from + f64::from(step) * rate,
            Growth::Times(factor) => from * factor.powf(f64::from(step)),
        };
        // What rounding adds shall not cost the last step.
        let rates = (0..).map(at).take_while(|rate| *rate <= to * (1.0 + 1e-9));
        let rates: Vec<f64> = rates.take(MOST_STEPS + 1).collect();
        ensure!(rates.len() <= MOST_STEPS, "a ramp of more than {MOST_STEPS} steps; make --step greater");
        Ok(rates)
    }
}

impl FromStr for Rates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((from, to)) = text.split_once("..") {
            return match (positive(from)?, positive(to)?) {
                (from, to) if from <= to => Ok(Self::Span(from, to)),
                _ => Err("the ramp ends below its beginning".into()),
            };
        }
        let rates: Vec<f64> = text.split(',').map(positive).collect::<Result<_, _>>()?;
        match rates.len() {
            1 => Err("expected FROM..TO, such as 500..8000, or at least two rates, such as 250,500,2500".into()),
            _ => Ok(Self::List(rates)),
        }
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(from, to) => write!(out, "{from} to {to} users/s"),
            Self::List(rates) => {
                let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
                write!(out, "{} users/s", rates.join(", "))
            }
        }
    }
}

impl FromStr for Growth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('x').map(positive) {
            None => positive(text).map(Self::By),
            Some(Ok(factor)) if factor > 1.0 => Ok(Self::Times(factor)),
            Some(_) => Err("expected a factor above 1, such as x1.5".into()),
        }
    }
}

/// Reads a number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1e6 => Ok(number),
        _ => Err("expected a number above 0 and up to a million".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(rates: &str, growth: Option<&str>) -> Vec<f64> {
        let growth = growth.map(|growth| growth.parse().unwrap());
        rates.parse::<Rates>().unwrap().steps(growth).unwrap()
    }

    #[test]
    fn a_ramp_climbs_to_its_end() {
        assert_eq!(steps("100..400", None), [100.0, 200.0, 300.0, 400.0]);
        assert_eq!(steps("100..390", Some("100")), [100.0, 200.0, 300.0]);
        assert_eq!(steps("100..100", Some("50")), [100.0]);
        assert_eq!(steps("0.1..0.3", Some("0.1")).len(), 3);
        assert_eq!(steps("250..2000", Some("x2")), [250.0, 500.0, 1000.0, 2000.0]);
        assert_eq!(steps("0.1..0.1331", Some("x1.1")).len(), 4);
        assert_eq!(steps("500,5000,500", None), [500.0, 5000.0, 500.0]);
    }

    #[test]
    fn what_is_no_ramp_is_refused() {
        for text in ["", "500", "8000..500", "a..b", "0..5", "1,", "1,x", "1,-1"] {
            assert!(text.parse::<Rates>().is_err(), "{text}");
        }
        for text in ["", "x", "x1", "x0.5", "xx2", "-5", "0"] {
            assert!(text.parse::<Growth>().is_err(), "{text}");
        }
        assert!(Rates::Span(1.0, 1e6).steps(Some(Growth::By(1e-6))).is_err());
        assert!(Rates::Span(1.0, 2.0).steps(Some(Growth::Times(1.0000001))).is_err());
        assert!(Rates::List(vec![1.0, 2.0]).steps(Some(Growth::By(1.0))).is_err());
    }

    #[test]
    fn rates_are_told_as_they_were_given() {
        assert_eq!("250..5000".parse::<Rates>().unwrap().to_string(), "250 to 5000 users/s");
        assert_eq!("250,5000".parse::<Rates>().unwrap().to_string(), "250, 5000 users/s");
    }
}
