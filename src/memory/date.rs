//! Dates in 23 bits.

/// Of what [`pack`] makes; what is no plain date is numbered from here on.
pub(super) const PLAIN: u32 = 1 << 22;

/// A date as `YYYY-MM-DD`, in fewer than 22 bits. `None` for all others that PostgreSQL knows: infinite ones, those before
/// Christ, those after the year 9999.
pub(super) fn pack(date: &str) -> Option<u32> {
    let &[a, b, c, d, b'-', e, f, b'-', g, h] = date.as_bytes() else { return None };
    let digits = |digits: &[u8]| {
        digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
    };
    let (year, month, day) = (digits(&[a, b, c, d])?, digits(&[e, f])?, digits(&[g, h])?);
    (month < MONTHS && day < DAYS).then_some((year * MONTHS + month) * DAYS + day)
}

/// What was packed.
pub(super) fn unpack(packed: u32) -> [u8; 10] {
    let (year, month, day) = (packed / DAYS / MONTHS, packed / DAYS % MONTHS, packed % DAYS);
    let digit = |number: u32| b'0' + (number % 10) as u8;
    [
        digit(year / 1000),
        digit(year / 100),
        digit(year / 10),
        digit(year),
        b'-',
        digit(month / 10),
        digit(month),
        b'-',
        digit(day / 10),
        digit(day),
    ]
}

/// Numbers for months and days, with 0 as one of them.
const MONTHS: u32 = 13;
const DAYS: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_dates_come_back_as_they_went_in() {
        for date in ["0000-00-00", "0001-01-01", "1999-12-31", "2024-02-29", "9999-12-31"] {
            let packed = pack(date).unwrap();
            assert!(packed < PLAIN);
            assert_eq!(unpack(packed), date.as_bytes());
        }
    }

    #[test]
    fn others_are_not_packed() {
        for date in
            ["", "infinity", "10000-01-01", "0044-03-15 BC", "2000-13-01", "2000-1-1", "２000-01-01", "2000/01/01"]
        {
            assert_eq!(pack(date), None, "{date}");
        }
    }
}
