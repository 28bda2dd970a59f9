// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DER, as far as it is needed beside libcrypto: the extensions of a certificate, which the crate openssl does not give out,
//! and whether something follows an encoding, which libcrypto's decoders do not say.

use anyhow::{Context, Result, ensure};

const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
/// The tag of an OID.
pub(crate) const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
/// Of a certificate, its fourth optional part.
const EXTENSIONS: u8 = 0xa3;

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

    /// Reads the next element, whose tag has to be this one.
    fn expect(&mut self, tag: u8) -> Result<&'a [u8]> {
        expect(self.next()?, tag)
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

fn expect((got, content): (u8, &[u8]), tag: u8) -> Result<&[u8]> {
    ensure!(got == tag, "reading DER: it has the tag {got:#04x} instead of {tag:#04x}");
    Ok(content)
}

/// Returns the content of each element of a sequence, all of one tag.
pub(crate) fn list(der: &[u8], tag: u8) -> Result<Vec<&[u8]>> {
    let mut elements = Elements(expect(only(der)?, SEQUENCE)?);
    let mut list = Vec::new();
    while !elements.is_empty() {
        list.push(elements.expect(tag)?);
    }
    Ok(list)
}

/// Returns whether a sequence begins with TRUE, as the constraints of a CA do. False is not written.
pub(crate) fn begins_with_true(der: &[u8]) -> Result<bool> {
    let mut elements = Elements(expect(only(der)?, SEQUENCE)?);
    Ok(!elements.is_empty() && elements.next()? == (BOOLEAN, &[0xff]))
}

/// Returns the bytes of a string.
pub(crate) fn string(der: &[u8]) -> Result<&[u8]> {
    let (tag, content) = only(der)?;
    ensure!(
        [UTF8, PRINTABLE, IA5].contains(&tag),
        "reading DER: it has the tag {tag:#04x}, which is not one of a string"
    );
    Ok(content)
}

/// The extensions of a certificate: OID and value of each.
#[derive(Debug)]
pub(crate) struct Extensions<'c>(Vec<(&'c [u8], &'c [u8])>);

impl<'c> Extensions<'c> {
    /// Reads the extensions of a certificate that libcrypto has parsed.
    pub(crate) fn of(certificate: &'c [u8]) -> Result<Self> {
        let mut fields = Elements(Elements(expect(only(certificate)?, SEQUENCE)?).expect(SEQUENCE)?);
        let mut extensions: Vec<(&[u8], &[u8])> = Vec::new();
        while !fields.is_empty() {
            let (tag, content) = fields.next()?;
            if tag != EXTENSIONS {
                continue;
            }
            for extension in list(content, SEQUENCE)? {
                let mut parts = Elements(extension);
                let id = parts.expect(OID)?;
                let value = match parts.next()? {
                    (BOOLEAN, _) => parts.expect(OCTETS)?,
                    element => expect(element, OCTETS)?,
                };
                // Two readers could take different ones.
                ensure!(extensions.iter().all(|(other, _)| *other != id), "the certificate has an extension twice");
                extensions.push((id, value));
            }
        }
        Ok(Self(extensions))
    }

    /// Returns the value of an extension.
    pub(crate) fn get(&self, id: &[u8]) -> Option<&'c [u8]> {
        self.0.iter().find(|(other, _)| *other == id).map(|(_, value)| *value)
    }
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

    #[test]
    fn extensions_of_a_certificate() {
        let element = |tag: u8, parts: &[Vec<u8>]| {
            let content = parts.concat();
            [&[tag, u8::try_from(content.len()).unwrap()][..], &content].concat()
        };
        let extension = |id: u8, critical: bool| {
            let flag = if critical { element(BOOLEAN, &[vec![0xff]]) } else { vec![] };
            element(SEQUENCE, &[element(OID, &[vec![0x55, id]]), flag, element(OCTETS, &[vec![id, id]])])
        };
        let certificate = |extensions: &[Vec<u8>]| {
            let list = element(EXTENSIONS, &[element(SEQUENCE, extensions)]);
            element(SEQUENCE, &[element(SEQUENCE, &[element(0xa0, &[]), list]), element(SEQUENCE, &[])])
        };
        let der = certificate(&[extension(1, true), extension(2, false)]);
        let found = Extensions::of(&der).unwrap();
        assert_eq!(found.get(&[0x55, 1]), Some(&[1, 1][..]));
        assert_eq!(found.get(&[0x55, 2]), Some(&[2, 2][..]));
        assert_eq!(found.get(&[0x55, 3]), None);
        let twice = Extensions::of(&certificate(&[extension(1, true), extension(1, false)])).map(drop).unwrap_err();
        assert_eq!(twice.to_string(), "the certificate has an extension twice");
        for end in 0..der.len() {
            assert!(Extensions::of(&der[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn values_have_their_types() {
        assert_eq!(list(&[0x30, 5, 6, 1, 7, 6, 0], OID).unwrap(), [&[7][..], &[]]);
        assert_eq!(string(&[0x0c, 1, b'a']).unwrap(), b"a");
        for (der, expected) in [
            (&[0x30, 3, 1, 1, 0xff][..], Some(true)),
            (&[0x30, 6, 1, 1, 0xff, 2, 1, 0], Some(true)),
            (&[0x30, 3, 1, 1, 0], Some(false)),
            (&[0x30, 3, 2, 1, 0xff], Some(false)),
            (&[0x30, 0], Some(false)),
            (&[0x31, 0], None),
            (&[0x30, 1, 1], None),
        ] {
            assert_eq!(begins_with_true(der).ok(), expected, "{der:?}");
        }
        for (label, result, expected) in [
            ("list", list(&[0x31, 0], OID).map(drop), "reading DER: it has the tag 0x31 instead of 0x30"),
            ("item", list(&[0x30, 2, 2, 0], OID).map(drop), "reading DER: it has the tag 0x02 instead of 0x06"),
            ("string", string(&[0x04, 0]).map(drop), "reading DER: it has the tag 0x04, which is not one of a string"),
        ] {
            assert_eq!(result.unwrap_err().to_string(), expected, "{label}");
        }
    }
}
