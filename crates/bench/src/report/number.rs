//! Numbers for people.

/// Three digits of a count: `987`, `1.23 M`.
pub(super) fn count(value: f64) -> String {
    scaled(value, &["", " k", " M", " G", " T"], 10_000.0)
}

/// Three digits of a time: `7.9 µs`.
pub(super) fn nanoseconds(value: f64) -> String {
    scaled(value, &[" ns", " µs", " ms", " s"], 1000.0)
}

fn scaled(value: f64, units: &[&str], first_max: f64) -> String {
    let mut value = value;
    let mut unit = 0;
    // The next unit where this one would need four digits, rounded.
    while unit + 1 < units.len() && value >= if unit == 0 { first_max } else { 999.5 } {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 && (value.fract() == 0.0 || value >= 100.0) => 0,
        value if value >= 100.0 => 0,
        value if value >= 9.995 => 1,
        _ if first_max <= 1000.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_about_three_digits() {
        let counts = [0.0, 12.5, 999.0, 9999.0, 10_000.0, 123_456.0, 999_600.0, 7.654e9];
        let texts = counts.map(count);
        assert_eq!(texts, ["0", "12.5", "999", "9999", "10.0 k", "123 k", "1.00 M", "7.65 G"]);
        let times = [1.0, 850.0, 9000.0, 12_345.0, 999_600.0, 2.5e9, 7.2e12];
        let texts = times.map(nanoseconds);
        assert_eq!(texts, ["1 ns", "850 ns", "9.0 µs", "12.3 µs", "1.0 ms", "2.5 s", "7200 s"]);
    }
}
