// SPDX-License-Identifier: Apache-2.0 OR MIT
//! RFC 3339, as image configs write the time, and the calendar.

use anyhow::{Context, Result, ensure};

/// Seconds since 1970 of `2024-11-05T12:34:56.789Z` or `…+02:00`, a space instead of the `T` perhaps. Fractions are cut.
/// Builders that want no time write Go's zero, which is in the year 1.
pub fn parse_rfc3339(text: &str) -> Result<i64> {
    seconds(text).with_context(|| format!("{text:?} is not a time like 2024-11-05T12:34:56Z"))
}

fn seconds(text: &str) -> Result<i64> {
    ensure!(text.is_ascii() && text.len() >= 20, "bad length");
    let number = |from: usize, to: usize| -> Result<i64> {
        let digits = &text[from..to];
        ensure!(digits.bytes().all(|byte| byte.is_ascii_digit()), "bad digits");
        Ok(digits.parse()?)
    };
    let bytes = text.as_bytes();
    let marks = [bytes[4], bytes[7], bytes[10].to_ascii_uppercase(), bytes[13], bytes[16]];
    ensure!(marks == *b"--T::" || marks == *b"-- ::", "bad marks");
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    ensure!((1..=12).contains(&month) && (1..=31).contains(&day), "bad date");
    ensure!(hour < 24 && minute < 60 && second <= 60, "bad time");
    let rest =
        text[19..].strip_prefix('.').map_or(&text[19..], |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), ..] if rest.len() == 6 => {
            let at = text.len() - 6;
            let seconds = number(at + 1, at + 3)? * 3600 + number(at + 4, at + 6)? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => anyhow::bail!("bad offset"),
    };
    Ok(days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days since 1970-01-01 (<https://howardhinnant.github.io/date_algorithms.html>).
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T12:34:56Z", Some(1_709_210_096)),
            ("2024-02-29T12:34:56.123456789Z", Some(1_709_210_096)),
            ("2024-02-29T14:34:56+02:00", Some(1_709_210_096)),
            ("2024-02-29t12:34:56z", Some(1_709_210_096)),
            ("2024-02-29 12:34:56Z", Some(1_709_210_096)),
            ("1969-12-31T23:59:59.9Z", Some(-1)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800)),
            ("2024-13-01T00:00:00Z", None),
            ("2024-02-29 12:34:56", None),
            ("2024-02-29T12:34:56+2:00", None),
            ("2024-02-29T12:34:5", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text).ok(), expected, "{text}");
        }
    }
}
