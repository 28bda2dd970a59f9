// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The head of an answer: what we want of it, and how much of it we listen to.

use std::time::Duration;

use crate::http::clock::parse_retry_after;
use crate::http::curl_error::clean;

/// Most lines and bytes of all heads of one answer: those of proxies and of interim answers count, too. Registries send
/// about 20 lines and 2 KiB.
const MAX_LINES: usize = 200;
const MAX_BYTES: usize = 64 << 10;
/// Most WWW-Authenticate headers that are kept.
const MAX_CHALLENGES: usize = 8;

/// What matters of the head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub(super) status: u32,
    /// Content-Length.
    pub(super) length: Option<u64>,
    /// Content-Range: first byte, and length of the whole.
    pub(super) range: Option<(u64, Option<u64>)>,
    /// Retry-After.
    pub(super) retry_after: Option<Duration>,
    /// Location, as it came.
    pub(super) location: Option<Vec<u8>>,
    /// The values of WWW-Authenticate.
    pub(super) challenges: Vec<String>,
    /// Content-Encoding, if it is one. Not an error: some servers give the bytes as they are a name by what is in them.
    pub(super) coding: Option<String>,
}

/// Takes the lines of heads as libcurl hands them out.
#[derive(Debug, Default)]
pub(super) struct HeadParser {
    /// The head of the last answer so far.
    pub(super) head: Head,
    lines: usize,
    bytes: usize,
}

impl HeadParser {
    /// Take one line. `false`: it is too much.
    pub(super) fn line(&mut self, line: &[u8]) -> bool {
        self.lines += 1;
        self.bytes += line.len();
        if self.lines > MAX_LINES || self.bytes > MAX_BYTES {
            return false;
        }
        if let Some(value) = location(line) {
            self.head.location.get_or_insert(value.trim_ascii().to_vec());
            return true;
        }
        // Everything else that we listen to is ASCII.
        let Ok(line) = std::str::from_utf8(line) else { return true };
        let line = line.trim_end_matches(['\r', '\n']);
        if line.starts_with("HTTP/") {
            let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            self.head = Head { status: status.unwrap_or_default(), ..Head::default() };
        } else if let Some((name, value)) = line.split_once(':') {
            self.field(&name.to_ascii_lowercase(), value.trim());
        }
        true
    }

    fn field(&mut self, name: &str, value: &str) {
        let head = &mut self.head;
        match name {
            "content-length" => head.length = parse_number(value),
            "content-range" => head.range = parse_content_range(value),
            "retry-after" => head.retry_after = parse_retry_after(value),
            "content-encoding" if value != "identity" => head.coding = Some(clean(value)),
            "www-authenticate" if head.challenges.len() < MAX_CHALLENGES => head.challenges.push(value.to_owned()),
            _ => {}
        }
    }
}

/// Returns the value of a line that is a Location.
fn location(line: &[u8]) -> Option<&[u8]> {
    let (name, value) = line.split_at_checked(b"location:".len())?;
    name.eq_ignore_ascii_case(b"location:").then_some(value)
}

fn parse_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `bytes 10-99/100`, `bytes 10-99/*`.
fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (parse_number(first)?, parse_number(last)?);
    let total = if total == "*" { None } else { Some(parse_number(total)?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_head_counts() {
        let mut parser = HeadParser::default();
        for line in [
            "HTTP/1.1 200 Connection established\r\n",
            "Content-Length: 5\r\n",
            "\r\n",
            "HTTP/2 401 \r\n",
            "content-length: 7\r\n",
            "Retry-After: 3\r\n",
            "WWW-Authenticate: Basic realm=x\r\n",
            "www-authenticate: Bearer realm=y\r\n",
            "Content-Encoding: x-gzip\r\n",
            "nonsense\r\n",
            "\r\n",
        ] {
            assert!(parser.line(line.as_bytes()), "{line}");
        }
        assert!(parser.line(b"X: \xff\r\n"));
        assert!(parser.line(b"LOCATION: /\xe9 \r\n"));
        assert!(parser.line(b"Location: /other\r\n"));
        let expected = Head {
            status: 401,
            length: Some(7),
            range: None,
            retry_after: Some(Duration::from_secs(3)),
            location: Some(b"/\xe9".to_vec()),
            challenges: vec!["Basic realm=x".to_owned(), "Bearer realm=y".to_owned()],
            coding: Some("x-gzip".to_owned()),
        };
        assert_eq!(parser.head, expected);
    }

    #[test]
    fn floods_are_refused() {
        let mut parser = HeadParser::default();
        assert_eq!((0..1000).find(|_| !parser.line(b"X: y\r\n")), Some(MAX_LINES));
        let mut parser = HeadParser::default();
        assert!(!parser.line(&vec![b'x'; MAX_BYTES + 1]));
        let mut parser = HeadParser::default();
        for _ in 0..MAX_LINES {
            assert!(parser.line(b"WWW-Authenticate: Basic\r\n"));
        }
        assert_eq!(parser.head.challenges.len(), MAX_CHALLENGES);
    }

    #[test]
    fn content_ranges() {
        for (value, expected) in [
            ("bytes 10-99/100", Some((10, Some(100)))),
            ("bytes 10-99/*", Some((10, None))),
            ("bytes 0-0/1", Some((0, Some(1)))),
            ("bytes 99-10/100", None),
            ("bytes 10-100/100", None),
            ("bytes */100", None),
            ("bytes +1-2/3", None),
            ("bits 0-1/2", None),
            ("", None),
        ] {
            assert_eq!(parse_content_range(value), expected, "{value}");
        }
        assert_eq!(parse_number("99999999999999999999"), None);
        assert_eq!(parse_number("+5"), None);
    }
}
