// SPDX-License-Identifier: Apache-2.0 OR MIT
//! PEM (RFC 7468): the DER that is in a text.
//!
//! A log entry has a key or certificate as PEM, and it is compared by what is in it. So there is one reader for all.

use anyhow::{Context, Result, bail, ensure};
use contract::base64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// What is between a BEGIN and an END.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block<'t> {
    /// What it claims to be, `CERTIFICATE` for instance.
    pub(crate) label: &'t str,
    /// The bytes.
    pub(crate) der: Vec<u8>,
}

/// Decodes base64 as Go does, which ignores line ends: `base64` without `--wrap=0` makes them.
pub(crate) fn decode_lines(text: &str) -> Result<Vec<u8>> {
    base64::decode(&text.replace(['\r', '\n'], ""))
}

/// Returns all blocks, at most `limit`. Text around them is a comment: bundles of CAs have many.
pub(crate) fn blocks(text: &[u8], limit: usize) -> Result<Vec<Block<'_>>> {
    let mut rest = std::str::from_utf8(text).context("reading PEM: it is not text")?;
    let mut blocks = Vec::new();
    while let Some((block, behind)) = next(rest)? {
        ensure!(blocks.len() < limit, "reading PEM: it has more than {limit} blocks");
        blocks.push(block);
        rest = behind;
    }
    Ok(blocks)
}

/// Returns the only block of a text that comes from outside: neither another nor anything else may follow it.
pub(crate) fn only(text: &[u8]) -> Result<Block<'_>> {
    let text = std::str::from_utf8(text).context("reading PEM: it is not text")?;
    let (block, rest) = next(text)?.context("reading PEM: it has no block")?;
    ensure!(rest.trim().is_empty(), "reading PEM: something follows its first block");
    Ok(block)
}

/// Returns the first block and what follows it.
fn next(text: &str) -> Result<Option<(Block<'_>, &str)>> {
    let mut rest = text;
    let label = loop {
        let Some((line, behind)) = line(rest) else { return Ok(None) };
        rest = behind;
        if let Some(label) = line.strip_prefix(BEGIN).and_then(|tail| tail.strip_suffix(DASHES)) {
            break label;
        }
    };
    let mut digits = String::new();
    loop {
        let Some((line, behind)) = line(rest) else { bail!("reading PEM: {label} has no end") };
        rest = behind;
        if let Some(end) = line.strip_prefix(END) {
            ensure!(end.strip_suffix(DASHES) == Some(label), "reading PEM: {label} has the end of something else");
            break;
        }
        digits.push_str(line);
    }
    let der = base64::decode(&digits).with_context(|| format!("reading PEM: decoding {label}"))?;
    Ok(Some((Block { label, der }, rest)))
}

/// Returns the first line without the space around it, and the rest.
fn line(text: &str) -> Option<(&str, &str)> {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (!text.is_empty()).then_some((line.trim(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_in_base64_do_not_count() {
        for (text, expected) in [
            ("Zm9v", Ok(&b"foo"[..])),
            ("Zm\r\n9v\n", Ok(b"foo")),
            ("Zm 9v", Err("base64 of 5 characters is no multiple of 4")),
            ("Zm\t9vZm9", Err("character 3 is not base64")),
        ] {
            let got = decode_lines(text).map_err(|error| error.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text:?}");
        }
    }

    #[test]
    fn blocks_of_a_text() {
        let text = "# one\r\n-----BEGIN A-----\r\nZm\r\n9v\r\n-----END A-----\r\n# two\n\
                    -----BEGIN B C-----\nZg==\n-----END B C-----";
        let got = blocks(text.as_bytes(), 2).unwrap();
        let expected = [Block { label: "A", der: b"foo".to_vec() }, Block { label: "B C", der: b"f".to_vec() }];
        assert_eq!(got, expected);
        assert_eq!(blocks(b"nothing", 1).unwrap(), []);
        assert_eq!(only(b"\n-----BEGIN A-----\nZm9v\n-----END A-----\n \n").unwrap(), expected[0]);
        let two = "-----BEGIN A-----\n-----END A-----\n".repeat(2);
        for (label, result, expected) in [
            ("too many", blocks(text.as_bytes(), 1).map(drop), "reading PEM: it has more than 1 blocks"),
            (
                "no text",
                blocks(b"\xff", 1).map(drop),
                "reading PEM: it is not text: invalid utf-8 sequence of 1 bytes from index 0",
            ),
            ("no end", blocks(b"-----BEGIN A-----\nZm9v", 1).map(drop), "reading PEM: A has no end"),
            (
                "other end",
                blocks(b"-----BEGIN A-----\n-----END B-----", 1).map(drop),
                "reading PEM: A has the end of something else",
            ),
            (
                "header",
                blocks(b"-----BEGIN A-----\nProc-Type: 4\n-----END A-----", 1).map(drop),
                "reading PEM: decoding A: character 5 is not base64",
            ),
            ("none", only(b"-----BEGIN").map(drop), "reading PEM: it has no block"),
            ("two", only(two.as_bytes()).map(drop), "reading PEM: something follows its first block"),
        ] {
            assert_eq!(format!("{:#}", result.unwrap_err()), expected, "{label}");
        }
    }
}
