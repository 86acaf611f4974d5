//! CPUs and sizes as Compose writes them.

use serde_json::Value;

/// A number of CPUs, as number or text; none where it is not one.
pub fn cpus(value: &Value) -> Option<f64> {
    let cpus = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    (cpus.is_finite() && cpus >= 0.0).then_some(cpus)
}

/// A size in bytes: a number, as number or text, with one of the units b, k, m, g, t, p, each also as `kb` or `kib`, in
/// either case; all are powers of 1024. None where it is not one.
pub fn bytes(value: &Value) -> Option<u64> {
    let Some(text) = value.as_str() else { return value.as_u64() };
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    let exponent = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if !unit.starts_with('i') => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number * 1024_f64.powi(exponent);
    // Also no NaN.
    (0.0..=u64::MAX as f64).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_compose_reads_them() {
        for (text, size) in [
            ("1536M", 1536 << 20),
            ("1gb", 1 << 30),
            ("0.5GB", 1 << 29),
            ("1.5 GiB", 3 << 29),
            ("12", 12),
            ("12b", 12),
            ("2t", 2 << 40),
        ] {
            assert_eq!(bytes(&text.into()), Some(size), "{text}");
        }
        assert_eq!(bytes(&Value::from(4096)), Some(4096));
        for wrong in ["", "g", "1x", "1gbb", "-1g", "1,5g", "ib", "1ib", "nan", "1  g"] {
            assert_eq!(bytes(&wrong.into()), None, "{wrong}");
        }
    }

    #[test]
    fn cpus_are_a_number_or_its_text() {
        assert_eq!(["0.25", "2"].map(|text| cpus(&text.into())), [Some(0.25), Some(2.0)]);
        assert_eq!(cpus(&Value::from(0.4)), Some(0.4));
        assert_eq!(["", "half", "-1", "inf"].map(|text| cpus(&text.into())), [None; 4]);
    }
}
