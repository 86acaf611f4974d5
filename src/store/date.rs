//! Calendar dates as PostgreSQL sends and takes them: a number of days.

use std::error::Error;
use std::fmt;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// Days since 2000-01-01; the smallest and the largest number stand for the two infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date(i32);

/// From 0000-03-01, the day after a leap day in a year that 400 divides, to 2000-01-01.
const DAYS_TO_2000: i64 = 730_425;

/// Of 400 years.
const DAYS_OF_AN_ERA: i64 = 146_097;

impl Date {
    /// A date in the form `YYYY-MM-DD`; `None` for any other form. Whether there is such a day is not looked at.
    ///
    /// Counts as Howard Hinnant's `days_from_civil` does ("chrono-Compatible Low-Level Date Algorithms"): in years that
    /// begin in March, so that a leap day is the last of its year.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let year = if month <= 2 { year - 1 } else { year };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
        i32::try_from(days - DAYS_TO_2000).ok().map(Self)
    }
}

/// As PostgreSQL writes it in the ISO style. Howard Hinnant's `civil_from_days`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            i32::MAX => return f.write_str("infinity"),
            i32::MIN => return f.write_str("-infinity"),
            _ => {}
        }
        let days = i64::from(self.0) + DAYS_TO_2000;
        let (era, day_of_era) = (days.div_euclid(DAYS_OF_AN_ERA), days.rem_euclid(DAYS_OF_AN_ERA));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        match year {
            1.. => write!(f, "{year:04}-{month:02}-{day:02}"),
            // There is no year 0: the one before 1 is 1 BC.
            _ => write!(f, "{:04}-{month:02}-{day:02} BC", 1 - year),
        }
    }
}

impl<'a> FromSql<'a> for Date {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i32::from_be_bytes(raw.try_into()?)))
    }

    accepts!(DATE);
}

impl ToSql for Date {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i32(self.0);
        Ok(IsNull::No)
    }

    accepts!(DATE);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_postgresql_counts_them() {
        // SELECT date '...' - date '2000-01-01'
        for (text, days) in [
            ("2000-01-01", 0),
            ("2000-02-29", 59),
            ("2000-03-01", 60),
            ("1999-12-31", -1),
            ("1900-02-28", -36_466),
            ("1900-03-01", -36_465),
            ("0001-01-01", -730_119),
            ("9999-12-31", 2_921_939),
        ] {
            assert_eq!(Date::parse(text), Some(Date(days)), "{text}");
            assert_eq!(Date(days).to_string(), text);
        }
        for (text, days) in [
            ("0001-12-31 BC", -730_120),
            ("0044-03-15 BC", -746_117),
            ("4713-11-24 BC", -2_451_179),
            ("12345-06-07", 3_778_591),
            ("infinity", i32::MAX),
            ("-infinity", i32::MIN),
        ] {
            assert_eq!(Date(days).to_string(), text);
        }
    }

    #[test]
    fn every_day_is_written_as_it_was_read() {
        for days in -730_119..=2_921_939 {
            assert_eq!(Date::parse(&Date(days).to_string()), Some(Date(days)));
        }
    }
}
