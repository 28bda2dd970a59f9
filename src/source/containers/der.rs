// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DER (X.690), as far as certificates are made of it. What OpenSSL would refuse is refused here.

use anyhow::{Context, Result, bail, ensure};

/// Tags. With `CONSTRUCTED` the content is values again.
const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const UNIVERSAL_STRING: u8 = 0x1c;
pub(super) const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = CONSTRUCTED | 0x10;
pub(super) const SET: u8 = CONSTRUCTED | 0x11;
const CONSTRUCTED: u8 = 0x20;
/// Bits of tags that are not universal.
const CLASS: u8 = 0xc0;
/// The number of a tag, and a number that says that more bytes follow: no certificate has one.
const NUMBER: u8 = 0x1f;
/// Most values in each other. OpenSSL has 30.
const MAX_DEPTH: usize = 30;

/// A value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

/// Values, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    /// The values that these bytes are.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the next value, which has to be there.
    pub(super) fn any(&mut self) -> Result<Value<'a>> {
        let (&[tag, first], rest) = self.0.split_first_chunk().context("it ends early")?;
        ensure!(tag & NUMBER != NUMBER, "tag {tag:#x} is not one of a certificate");
        let (length, content) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, content) = rest.split_at_checked(usize::from(first & 0x7f)).context("it ends early")?;
                let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
                let shortest = length >= 0x80 && digits.first() != Some(&0);
                ensure!(shortest, "a length is written with more bytes than it needs");
                (length, content)
            }
            _ => bail!("length byte {first:#x} is not DER"),
        };
        let (content, rest) = content.split_at_checked(length).context("it ends early")?;
        let whole = self.0.get(..self.0.len() - rest.len()).unwrap_or_default();
        self.0 = rest;
        Ok(Value { tag, content, whole })
    }

    /// Returns the next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Value<'a>>> {
        if self.0.first() == Some(&tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// Returns the next value, which has to have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<Value<'a>> {
        let found = self.0.first().map_or("nothing".to_owned(), |found| format!("tag {found:#x}"));
        self.optional(tag)?.with_context(|| format!("{found} is where tag {tag:#x} should be"))
    }

    /// Passes over a BOOLEAN if there is one.
    pub(super) fn boolean(&mut self) -> Result<()> {
        self.optional(BOOLEAN).map(drop)
    }

    /// Returns whether nothing is left.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Refuses what is left.
    pub(super) fn end(self) -> Result<()> {
        ensure!(self.is_empty(), "{} bytes too many", self.0.len());
        Ok(())
    }
}

impl<'a> Value<'a> {
    /// Returns the values that the content is.
    pub(super) fn values(self) -> Values<'a> {
        Values(self.content)
    }

    /// Refuses a value that is not well-formed, or has one in it.
    pub(super) fn check(self) -> Result<()> {
        self.check_below(0)
    }

    fn check_below(self, depth: usize) -> Result<()> {
        ensure!(depth < MAX_DEPTH, "more than {MAX_DEPTH} values in each other");
        if self.tag & CONSTRUCTED != 0 {
            let good = self.tag & CLASS != 0 || self.tag == SEQUENCE || self.tag == SET;
            ensure!(good, "a value with tag {:#x} is in parts", self.tag);
            let mut values = self.values();
            while !values.is_empty() {
                values.any()?.check_below(depth + 1)?;
            }
            return Ok(());
        }
        let good = match self.tag {
            BOOLEAN => self.content.len() == 1,
            INTEGER | ENUMERATED => is_integer(self.content),
            BIT_STRING => is_bit_string(self.content),
            NULL => self.content.is_empty(),
            OBJECT_IDENTIFIER => is_object_identifier(self.content),
            UTF8_STRING => str::from_utf8(self.content).is_ok(),
            BMP_STRING => is_text(self.content, 2),
            UNIVERSAL_STRING => is_text(self.content, 4),
            tag => tag | CONSTRUCTED != SEQUENCE && tag | CONSTRUCTED != SET,
        };
        ensure!(good, "a value with tag {:#x} is malformed", self.tag);
        Ok(())
    }
}

/// Nine bits at its start are never alike: it would be shorter without them.
fn is_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [first, second, ..] => !matches!((first, second >> 7), (0, 0) | (0xff, 1)),
        [_] => true,
    }
}

/// The first byte says how many bits of the last one do not count.
pub(super) fn is_bit_string(content: &[u8]) -> bool {
    match content {
        [] => false,
        [unused] => *unused == 0,
        [unused, ..] => *unused < 8,
    }
}

/// Numbers of seven bits a byte, without zeros in front; the last byte of each has no high bit.
fn is_object_identifier(content: &[u8]) -> bool {
    let mut starts = true;
    let padded = content.iter().any(|byte| std::mem::replace(&mut starts, byte & 0x80 == 0) && *byte == 0x80);
    !content.is_empty() && !padded && starts
}

fn is_text(content: &[u8], width: usize) -> bool {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    content.len().is_multiple_of(width) && content.chunks(width).all(|bytes| char::from_u32(number(bytes)).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let long = [&[0x04, 0x81, 0x80][..], &[7; 0x80]].concat();
        let deep = |depth: usize| {
            (0..depth).fold(vec![0x05, 0], |inner, _| [&[SEQUENCE, inner.len() as u8][..], &inner].concat())
        };
        for (label, bytes, expected) in [
            ("empty", &[][..], Err("it ends early")),
            ("no length", &[0x05], Err("it ends early")),
            ("null", &[0x05, 0], Ok(2)),
            ("more behind it", &[0x05, 0, 0x05, 0], Ok(2)),
            ("long length", &long, Ok(0x83)),
            ("one byte short", &long[..long.len() - 1], Err("it ends early")),
            ("length of a short one", &[0x04, 0x81, 1, 7], Err("more bytes than it needs")),
            ("zero before a length", &[0x04, 0x82, 0, 0x80], Err("more bytes than it needs")),
            ("length that is cut", &[0x04, 0x82, 1], Err("it ends early")),
            ("huge length", &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff], Err("it ends early")),
            ("no length is said", &[SEQUENCE, 0x80, 0, 0], Err("length byte 0x80 is not DER")),
            ("length of five bytes", &[0x04, 0x85, 1, 0, 0, 0, 0], Err("length byte 0x85 is not DER")),
            ("long tag", &[0x1f, 0x81, 0], Err("tag 0x1f is not one of a certificate")),
            ("nested", &[SEQUENCE, 4, SET, 2, 0x05, 0], Ok(6)),
            ("nested and too long", &[SEQUENCE, 3, SET, 2, 0x05], Err("it ends early")),
            ("string in parts", &[0x24, 2, OCTET_STRING, 0], Err("a value with tag 0x24 is in parts")),
            ("deep", &deep(29), Ok(60)),
            ("too deep", &deep(30), Err("more than 30 values in each other")),
        ] {
            match (Values::new(bytes).any().and_then(|value| value.check().map(|()| value.whole.len())), expected) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{label}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{label}: {error}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn contents() {
        for (label, tag, good, bad) in [
            ("boolean", BOOLEAN, &[&[1][..]][..], &[&[][..], &[1, 1]][..]),
            ("integer", INTEGER, &[&[0], &[0, 0x80], &[0xff, 0]], &[&[], &[0, 1], &[0xff, 0x80]]),
            ("bits", BIT_STRING, &[&[0], &[7, 0x80]], &[&[], &[1], &[8, 1]]),
            ("null", NULL, &[&[]], &[&[0]]),
            ("name", OBJECT_IDENTIFIER, &[&[0x55], &[0x2a, 0x86, 0x48]], &[&[], &[0x2a, 0x80, 1], &[0x2a, 0x86]]),
            ("UTF-8", UTF8_STRING, &[&[], b"\xc3\xa4"], &[b"\xc3"]),
            ("two bytes", BMP_STRING, &[&[], &[0, b'a']], &[&[0], &[0xd8, 0]]),
            ("four bytes", UNIVERSAL_STRING, &[&[0, 0, 0, b'a']], &[&[0, 0, 0], &[0, 0x11, 0, 0]]),
            ("octets", OCTET_STRING, &[&[], &[0xff]], &[]),
            ("sequence of no values", SEQUENCE & !CONSTRUCTED, &[], &[&[]]),
            ("not universal", 0x81, &[&[], &[0xff]], &[]),
        ] {
            for (contents, expected) in [(good, true), (bad, false)] {
                for content in contents {
                    let got = Value { tag, content, whole: content }.check();
                    assert_eq!(got.is_ok(), expected, "{label}: {content:x?}");
                }
            }
        }
    }
}
