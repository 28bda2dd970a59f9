// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Data URLs (RFC 2397) as Ignition takes them: `data:[type/subtype][;name=value]...[;base64],DATA`. A value may be
//! quoted. Errors say what is wrong with the form, never what is in it.

use anyhow::{Context, Result, ensure};

use crate::base64;

/// The data of a data URL.
pub(super) fn decode(url: &str) -> Result<Vec<u8>> {
    let rest = url.split_once(':').map(|(_, rest)| rest).context("data URL has no scheme")?;
    let comma = find_unquoted(rest, ',').context("data URL has no comma before its data")?;
    let (header, data) = (&rest[..comma], &rest[comma + 1..]);
    if is_base64(header)? { base64::decode(data).context("decoding a data URL") } else { percent_decode(data) }
}

/// Where a character is for the first time outside of quotes. Inside of them a backslash takes the next one literally.
fn find_unquoted(text: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.find(|c: char| {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else {
            quoted ^= c == '"';
        }
        c == wanted && !quoted
    })
}

/// Whether the part before the comma ends with `;base64`. The media type and its parameters say nothing to us, but
/// what is not of their form is no data URL.
fn is_base64(header: &str) -> Result<bool> {
    let mut parts = Vec::new();
    let mut rest = header;
    while let Some(end) = find_unquoted(rest, ';') {
        parts.push(&rest[..end]);
        rest = &rest[end + 1..];
    }
    parts.push(rest);
    let (media_type, mut parameters) = parts.split_first().context("data URL has no media type")?;
    let base64 = parameters.last() == Some(&"base64");
    if base64 {
        parameters = parameters.split_last().map_or(parameters, |(_, others)| others);
    }
    let media_ok = media_type.split_once('/').is_some_and(|(kind, name)| is_token(kind) && is_token(name));
    ensure!(media_type.is_empty() || media_ok, "data URL has a bad media type");
    for parameter in parameters {
        let ok = parameter.split_once('=').is_some_and(|(name, value)| {
            is_token(name) && (is_token(value) || (value.len() > 1 && value.starts_with('"') && value.ends_with('"')))
        });
        ensure!(ok, "data URL has a bad parameter: write name=value, or base64 as the last one");
    }
    Ok(base64)
}

/// A token of RFC 2045.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}

fn percent_decode(text: &str) -> Result<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        // What RFC 2396 calls delimiters and unwise has to be escaped, as white space has.
        ensure!(
            byte.is_ascii_graphic() && !b"<>#\"{}|\\^[]`".contains(&byte),
            "data URL has a character that has to be escaped, after {} bytes of data",
            decoded.len()
        );
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let pair = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(pair.with_context(|| format!("data URL has a bad escape after {} bytes of data", decoded.len()))?);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_table() {
        for (label, url, expected) in [
            ("plain", "data:,abc", Ok(&b"abc"[..])),
            ("empty", "data:,", Ok(b"")),
            ("escapes", "data:,a%20b%0A%ff%C3%a9", Ok(b"a b\n\xff\xc3\xa9")),
            ("commas in the data", "data:,a,b;base64,c", Ok(b"a,b;base64,c")),
            ("scheme in capitals", "DATA:,a", Ok(b"a")),
            ("base64", "data:;base64,Zm9v", Ok(b"foo")),
            ("media type", "data:text/plain,foo", Ok(b"foo")),
            ("everything", "data:text/plain;charset=utf-8;base64,Zm9v", Ok(b"foo")),
            ("quoted value", r#"data:a/b;n="x,;\"base64";base64,Zm9v"#, Ok(b"foo")),
            ("parameter only", "data:;charset=utf-8,foo", Ok(b"foo")),
            ("base64 is a value", "data:;charset=base64,Zm9v", Ok(b"Zm9v")),
            ("no comma", "data:text/plain", Err("data URL has no comma before its data")),
            ("comma in an open quote", "data:;a=\"b,c", Err("data URL has no comma before its data")),
            ("no subtype", "data:text,a", Err("data URL has a bad media type")),
            ("space", "data:,a b", Err("a character that has to be escaped, after 1 bytes")),
            ("fragment", "data:,a#b", Err("a character that has to be escaped, after 1 bytes")),
            ("not ASCII", "data:,é", Err("a character that has to be escaped, after 0 bytes")),
            ("escape cut", "data:,ab%2", Err("data URL has a bad escape after 2 bytes of data")),
            ("escape", "data:,%zz", Err("data URL has a bad escape after 0 bytes of data")),
            ("base64 not last", "data:;base64;a=b,Zm9v", Err("data URL has a bad parameter")),
            ("empty parameter", "data:;,a", Err("data URL has a bad parameter")),
            ("empty value", "data:;a=,a", Err("data URL has a bad parameter")),
            ("bad base64", "data:;base64,Zm9", Err("decoding a data URL: base64 of 3 characters")),
        ] {
            match (decode(url), expected) {
                (Ok(got), Ok(bytes)) => assert_eq!(got, bytes, "{label}"),
                (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }
}
