// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A URL with which libcurl and we agree on where it leads. Everything unusual is refused: credentials in it, back
//! slashes, white space, schemes other than HTTP.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

/// Longest URL. Object stores sign theirs with about 2 KiB.
const MAX_URL: usize = 16 << 10;

/// The two schemes that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An absolute URL. What it prints is without the query: that may hold a signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    /// `host[:port]`, in lower case, as it was written.
    authority: String,
    /// The host, an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// Path and query, from the first `/`.
    rest: String,
}

impl Url {
    /// Parse an absolute URL.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.len() <= MAX_URL, "URL of {} bytes is over the limit of {MAX_URL}", text.len());
        let (scheme, rest) = text.split_once("://").context("URL has no scheme: write https://host/path")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => bail!("URL has the scheme {other:?}, not http or https"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).context("URL has no host")?;
        let rest = rest.split('#').next().unwrap_or_default();
        let slash = if rest.starts_with('/') { "" } else { "/" };
        Self::from_parts(scheme, authority, &format!("{slash}{rest}"))
    }

    /// The URL of `path`, which starts with a `/`, at `authority`, which is `host[:port]`.
    pub fn from_parts(scheme: Scheme, authority: &str, path: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}#".contains(&byte);
        ensure!(path.starts_with('/') && path.bytes().all(plain), "URL has white space or odd characters in its path");
        ensure!(!authority.contains('@'), "URL has a user or a password in it: leave them out");
        let authority = authority.to_ascii_lowercase();
        let (host, port) = split_authority(&authority)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0),
            None => Some(scheme.port()),
        };
        let port = port.with_context(|| format!("URL has a bad port in {authority:?}"))?;
        Ok(Self { scheme, host: host.to_owned(), port, rest: path.to_owned(), authority })
    }

    /// Resolves the value of a Location header in an answer from here (RFC 3986, 5.2). What a browser would escape in it is
    /// escaped.
    pub fn redirect(&self, location: &[u8]) -> Result<Self> {
        let text = escape(location);
        let text = text.split('#').next().unwrap_or_default();
        let first = text.find(['/', '?']).and_then(|end| text.get(..end)).unwrap_or(text);
        if first.contains(':') {
            return Self::parse(text);
        }
        if text.starts_with("//") {
            return Self::parse(&format!("{}:{text}", self.scheme.name()));
        }
        let path = self.rest.split('?').next().unwrap_or_default();
        let path = match text.chars().next() {
            None => self.rest.clone(),
            Some('/') => text.to_owned(),
            Some('?') => format!("{path}{text}"),
            Some(_) => merge(path, text),
        };
        Self::from_parts(self.scheme, &self.authority, &path)
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The URL of a name below this one, which is that of a directory.
    pub fn join(&self, name: &str) -> Result<Self> {
        Self::from_parts(self.scheme, &self.authority, &format!("{}/{name}", self.rest.trim_end_matches('/')))
    }

    /// `host[:port]`, as it was written.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, given or implied.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether both lead to the same scheme, host and port: only then may one get the other's credentials.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.scheme, self.host(), self.port) == (other.scheme, other.host(), other.port)
    }

    /// The URL in full, for libcurl only.
    pub fn full(&self) -> String {
        format!("{}://{}{}", self.scheme.name(), self.authority, self.rest)
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme.name(), self.host, self.port)
    }
}

/// Escapes the bytes that a browser escapes in a path or a query (url.spec.whatwg.org), and those that have no place in a URL
/// but are often in one. A backslash and control characters stay: programs do not agree on what they mean.
fn escape(location: &[u8]) -> String {
    location.trim_ascii().iter().fold(String::new(), |mut text, byte| {
        match byte {
            b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                text.push_str(&format!("%{byte:02X}"));
            }
            _ => text.push(char::from(*byte)),
        }
        text
    })
}

/// Resolves a relative path in the directory of another.
fn merge(base: &str, relative: &str) -> String {
    let (relative, query) = relative.split_at_checked(relative.find('?').unwrap_or(relative.len())).unwrap_or_default();
    let mut segments: Vec<_> = base.split('/').skip(1).collect();
    segments.pop();
    for segment in relative.split('/') {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    // The last one names a directory.
    let slash = if matches!(relative.rsplit('/').next(), Some("." | "..")) && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}{query}", segments.join("/"))
}

/// Host without brackets, and port.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>)> {
    let bad = || format!("URL has a bad host {authority:?}");
    let (host, port, v6) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').with_context(bad)?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':').with_context(bad)?),
            };
            (host, port, true)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port), false),
            None => (authority, None, false),
        },
    };
    let good = |byte: u8| match v6 {
        true => byte.is_ascii_hexdigit() || byte == b':' || byte == b'.',
        false => byte.is_ascii_alphanumeric() || b"-._".contains(&byte),
    };
    ensure!(!host.is_empty() && host.bytes().all(good), bad());
    ensure!(port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit())), bad());
    Ok((host, port))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.rest.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", self.scheme.name(), self.authority)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_table() {
        for (label, input, expected) in [
            ("plain", "https://quay.io/v2/", Ok("https://quay.io:443 quay.io /v2/")),
            ("port", "http://Quay.IO:5000/a?b=c", Ok("http://quay.io:5000 quay.io /a?b=c")),
            ("no path", "https://quay.io", Ok("https://quay.io:443 quay.io /")),
            ("query only", "https://quay.io?a", Ok("https://quay.io:443 quay.io /?a")),
            ("fragment", "https://quay.io/a#b", Ok("https://quay.io:443 quay.io /a")),
            ("IPv6", "https://[fd00::1]:8443/a", Ok("https://fd00::1:8443 fd00::1 /a")),
            ("user", "https://quay.io@evil/a", Err("URL has a user or a password in it")),
            ("back slash", "https://quay.io\\@evil/a", Err("URL has a user or a password in it")),
            ("back slash in host", "https://quay.io\\evil/a", Err("URL has a bad host")),
            ("space", "https://quay.io/a b", Err("white space or odd characters")),
            ("line feed", "https://quay.io/a\nb", Err("white space or odd characters")),
            ("file", "file:///etc/shadow", Err("URL has the scheme \"file\"")),
            ("relative", "/v2/", Err("URL has no scheme")),
            ("port 0", "https://quay.io:0/", Err("bad port")),
            ("large port", "https://quay.io:99999/", Err("bad port")),
            ("signed port", "https://quay.io:+80/", Err("bad host")),
            ("empty port", "https://quay.io:/", Err("bad port")),
            ("no host", "https:///a", Err("URL has a bad host")),
            ("open bracket", "https://[fd00::1/a", Err("URL has a bad host")),
        ] {
            match (Url::parse(input), expected) {
                (Ok(url), Ok(text)) => {
                    assert_eq!(format!("{} {} {}", url.origin(), url.host(), url.rest), text, "{label}")
                }
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{label}: {error}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn redirects_are_escaped_as_a_browser_does_it() {
        let from = Url::parse("https://a.example:5000/v2/blob?x").unwrap();
        for (label, location, expected) in [
            ("plain", "https://b.example/a%20b?c=d", Ok("https://b.example/a%20b?c=d")),
            ("space", "https://b.example/a b?c=d e", Ok("https://b.example/a%20b?c=d%20e")),
            (
                "odd characters",
                "https://b.example/{a}|`<b>?f=\"x\"^",
                Ok("https://b.example/%7Ba%7D%7C%60%3Cb%3E?f=%22x%22%5E"),
            ),
            ("not ASCII", "https://b.example/\u{e9}", Ok("https://b.example/%C3%A9")),
            ("white space around it", " https://b.example/a\t", Ok("https://b.example/a")),
            ("fragment", "/a#b c", Ok("https://a.example:5000/a")),
            ("path", "/a b", Ok("https://a.example:5000/a%20b")),
            ("not ASCII in the host", "https://\u{e9}.example/", Err("URL has a bad host")),
            ("space in the host", "https://b .example/", Err("URL has a bad host")),
            ("user", "https://u:p@b.example/", Err("URL has a user or a password in it")),
            ("backslash", "https://b.example/a\\b", Err("white space or odd characters")),
            ("backslash before the host", "/\\b.example/", Err("white space or odd characters")),
            ("other host", "//b.example/a", Ok("https://b.example/a")),
            ("query", "?y", Ok("https://a.example:5000/v2/blob?y")),
            ("nothing", "", Ok("https://a.example:5000/v2/blob?x")),
            ("relative", "other?y", Ok("https://a.example:5000/v2/other?y")),
            ("relative with dots", "./../../../a/./b/../c", Ok("https://a.example:5000/a/c")),
            ("directory above", "..", Ok("https://a.example:5000/")),
            ("directory", "a/.", Ok("https://a.example:5000/v2/a/")),
            (
                "URL in the query",
                "other?a=https://b.example/",
                Ok("https://a.example:5000/v2/other?a=https://b.example/"),
            ),
            ("other scheme", "file:///etc/shadow", Err("URL has the scheme \"file\"")),
            ("script", "javascript:0", Err("URL has no scheme")),
            ("line feed", "https://b.example/a\nb", Err("white space or odd characters")),
        ] {
            match (from.redirect(location.as_bytes()), expected) {
                (Ok(url), Ok(text)) => assert_eq!(url.full(), text, "{label}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{label}: {error}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
        assert_eq!(from.redirect(b"/\xe9").unwrap().full(), "https://a.example:5000/%E9", "Latin-1");
    }

    #[test]
    fn the_query_is_not_shown_and_origins_are_compared() {
        let url = Url::parse("https://store.example/blob?signature=hush").unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://store.example/blob https://store.example/blob");
        assert!(url.full().ends_with("?signature=hush"));
        for (other, same) in [
            ("https://STORE.example:443/x", true),
            ("http://store.example/blob", false),
            ("https://store.example:8443/blob", false),
            ("https://store.example.evil/blob", false),
        ] {
            assert_eq!(url.is_same_origin(&Url::parse(other).unwrap()), same, "{other}");
        }
    }
}
