// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Dates: those of HTTP headers, and what this machine believes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use image::oci::time::days_from_civil;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that servers may send (RFC 9110, 5.6.7).
pub(super) fn parse_http_date(text: &str) -> Option<u64> {
    let (_, rest) = text.trim().split_once(", ")?;
    let mut words = rest.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if (words.next(), words.next()) != (Some("GMT"), None) || year.len() != 4 {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let (day, year) = (number(day, 31).filter(|day| *day > 0)?, number(year, 9999)?);
    let mut parts = time.split(':');
    let (hour, minute) = (number(parts.next()?, 23)?, number(parts.next()?, 59)?);
    // 60: a leap second.
    let second = number(parts.next()?, 60)?;
    let days = days(year, month, day)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, most: u64) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number <= most)
}

/// Days since 1970; `None` before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let part = |number: u64| i64::try_from(number).ok();
    u64::try_from(days_from_civil(part(year)?, part(month)?, part(day)?)).ok()
}

/// The time of this machine, for people: `2026-11-24 14:20 UTC`.
pub(super) fn now_text() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    text(now.as_secs())
}

fn text(seconds: u64) -> String {
    let (mut year, mut left) = (1970, seconds / 86_400);
    loop {
        let length = if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let start = days(year, 1, 1).unwrap_or_default();
    let month = (1..=12).rev().find(|month| days(year, *month, 1).unwrap_or_default() - start <= left).unwrap_or(1);
    let day = left + start - days(year, month, 1).unwrap_or_default() + 1;
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// The value of Retry-After: seconds, or a date. A date in the past is no delay.
pub(super) fn parse_retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has is longer than anybody waits.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let then = UNIX_EPOCH.checked_add(Duration::from_secs(parse_http_date(value)?))?;
    Some(then.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (input, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
            ("Thu, 31 Dec 2026 00:00:00 GMT", Some(1_798_675_200)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 0000 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(parse_http_date(input), expected, "{input}");
        }
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_868_799, "2000-02-29 23:59 UTC"),
            (1_798_675_200, "2026-12-31 00:00 UTC"),
        ] {
            assert_eq!(text(seconds), expected);
        }
    }

    #[test]
    fn retry_after() {
        for (input, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(input).map(|time| time.as_secs()), expected, "{input}");
        }
        let later = parse_retry_after("Fri, 31 Dec 2999 23:59:59 GMT");
        assert!(later.is_some_and(|time| time > Duration::from_secs(86_400)), "{later:?}");
    }
}
