// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DER, as far as it is needed beside libcrypto, whose decoders do not say that something follows what they decode.

use anyhow::{Context, Result, ensure};

/// Elements one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// Reads the next element: its tag and its content.
    pub(crate) fn next(&mut self) -> Result<(u8, &'a [u8])> {
        let cut = "reading DER: it is cut short";
        let (tag, rest) = self.0.split_first().context(cut)?;
        ensure!(tag & 0x1f != 0x1f, "reading DER: it has a tag of more than one byte");
        let (first, rest) = rest.split_first().context(cut)?;
        // DER has one way to write a length: the shortest.
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f)).context(cut)?;
                let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                let shortest = length > 0x7f && bytes.first() != Some(&0);
                ensure!(shortest, "reading DER: it has a length that is not the shortest");
                (length, rest)
            }
            _ => anyhow::bail!("reading DER: it has a length of no or too many bytes"),
        };
        let (content, rest) = rest.split_at_checked(length).context(cut)?;
        self.0 = rest;
        Ok((*tag, content))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Fails unless `der` is one element and nothing follows it.
pub(crate) fn ensure_whole(der: &[u8]) -> Result<()> {
    only(der).map(drop)
}

/// Returns the tag and the content of the only element.
pub(crate) fn only(der: &[u8]) -> Result<(u8, &[u8])> {
    let mut elements = Elements(der);
    let element = elements.next()?;
    ensure!(elements.is_empty(), "reading DER: something follows");
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_shortest() {
        let long = |head: &[u8], length: usize| [head, &vec![7; length][..]].concat();
        for (label, der, expected) in [
            ("empty", vec![0x30, 0], Ok(0)),
            ("short", long(&[0x30, 127], 127), Ok(127)),
            ("one byte", long(&[0x30, 0x81, 128], 128), Ok(128)),
            ("two bytes", long(&[0x30, 0x82, 1, 0], 256), Ok(256)),
            ("three bytes", long(&[0x30, 0x83, 1, 0, 0], 65_536), Ok(65_536)),
            ("nothing", vec![], Err("it is cut short")),
            ("no length", vec![0x30], Err("it is cut short")),
            ("half a length", vec![0x30, 0x82, 1], Err("it is cut short")),
            ("cut", vec![0x30, 2, 0], Err("it is cut short")),
            ("longer than it is", vec![0x30, 0x83, 0xff, 0xff, 0xff], Err("it is cut short")),
            ("indefinite", vec![0x30, 0x80, 0, 0], Err("it has a length of no or too many bytes")),
            ("four bytes", vec![0x30, 0x84, 0, 0, 0, 0], Err("it has a length of no or too many bytes")),
            ("one byte too many", long(&[0x30, 0x81, 127], 127), Err("it has a length that is not the shortest")),
            ("a zero in front", long(&[0x30, 0x82, 0, 200], 200), Err("it has a length that is not the shortest")),
            ("long tag", vec![0x3f, 0x81, 0x01, 0], Err("it has a tag of more than one byte")),
            ("more", vec![0x30, 0, 0], Err("something follows")),
        ] {
            match (only(&der), expected) {
                (Ok((tag, content)), Ok(length)) => assert_eq!((tag, content.len()), (0x30, length), "{label}"),
                (Err(error), Err(text)) => assert_eq!(error.to_string(), format!("reading DER: {text}"), "{label}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }
}
