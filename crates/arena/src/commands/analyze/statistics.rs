//! Figures over whole numbers, written as Python writes them.

/// The mean, rounded to two places; a mean that is a whole number has no decimals.
///
/// Empty values have a mean of 0.
pub fn mean(values: &[u64]) -> String {
    let sum: u64 = values.iter().sum();
    let count = values.len().max(1) as u64;
    if sum.is_multiple_of(count) {
        return (sum / count).to_string();
    }
    rounded(sum as f64 / count as f64)
}

/// `value` rounded to two places, with at least one of them shown. Halves go to the even neighbour.
pub fn rounded(value: f64) -> String {
    let text = format!("{value:.2}");
    text.strip_suffix('0').unwrap_or(&text).to_owned()
}

/// The 95th percentile by the exclusive method, which supposes that the values are a sample of something with more
/// extreme values; it may exceed the greatest of them.
///
/// Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996, definition 6. Values in any order; none give 0, one
/// gives itself.
pub fn percentile_95(values: &[u64]) -> f64 {
    let mut sorted: Vec<i128> = values.iter().map(|value| i128::from(*value)).collect();
    sorted.sort_unstable();
    if sorted.len() < 2 {
        return sorted.first().map_or(0.0, |only| *only as f64);
    }
    let position = 19 * (sorted.len() + 1);
    let above = (position / 20).clamp(1, sorted.len() - 1);
    let weight = position as i128 - 20 * above as i128;
    (sorted[above - 1] * (20 - weight) + sorted[above] * weight) as f64 / 20.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_of_the_fixtures() {
        assert_eq!(percentile_95(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 10.45);
        assert_eq!(percentile_95(&[0, 2, 3, 4, 5, 6, 7, 8, 9, 11]), 11.9);
        assert_eq!(percentile_95(&[5, 9]), 12.4);
    }

    #[test]
    fn percentile_does_not_mind_the_order() {
        assert_eq!(percentile_95(&[9, 5]), 12.4);
        assert_eq!(percentile_95(&[10, 1, 9, 2, 8, 3, 7, 4, 6, 5]), 10.45);
    }

    #[test]
    fn percentile_within_many_values_lies_between_two_of_them() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile_95(&values), 95.95);
    }

    #[test]
    fn percentile_of_one_value_and_of_none() {
        assert_eq!(percentile_95(&[7]), 7.0);
        assert_eq!(percentile_95(&[]), 0.0);
    }

    #[test]
    fn mean_is_whole_where_exact_and_has_two_places_where_not() {
        assert_eq!(mean(&[1, 2, 3]), "2");
        assert_eq!(mean(&[1, 2]), "1.5");
        assert_eq!(mean(&[1, 1, 2]), "1.33");
        assert_eq!(mean(&[0, 0, 0, 0, 0, 0, 0, 1]), "0.12", "a half goes to the even neighbour");
        assert_eq!(mean(&[0, 0, 0, 0, 0, 1, 1, 1]), "0.38");
        let nearly_two = [vec![2; 999], vec![3]].concat();
        assert_eq!(mean(&nearly_two), "2.0", "not exact, though it looks it once rounded");
    }

    #[test]
    fn seconds_keep_one_place() {
        assert_eq!(rounded(2.1), "2.1");
        assert_eq!(rounded(2.0), "2.0");
        assert_eq!(rounded(2.104), "2.1");
        assert_eq!(rounded(3.004), "3.0");
        assert_eq!(rounded(12.346), "12.35");
    }
}
