// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What extends a tar header: PAX records, and numbers that do not fit in octal.

use anyhow::{Context, Result, bail, ensure};

/// Prefix of the PAX key for an extended attribute, from star; GNU tar, libarchive and Go use it as well.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// Most extended attributes of one entry.
const MAX_XATTRS: usize = 256;
/// All of them together, in bytes. Upstream's limit for a file.
const MAX_XATTR_BYTES: usize = 1 << 20;

/// What they say about a sparse file.
#[derive(Debug, Default)]
pub(super) struct SparseKeys {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    major: Option<u64>,
    minor: Option<u64>,
    older: bool,
}

impl SparseKeys {
    pub(super) fn is_empty(&self) -> bool {
        let Self { name, size, major, minor, older } = self;
        name.is_none() && size.is_none() && major.is_none() && minor.is_none() && !older
    }

    /// Whether it is in the one version that is read.
    pub(super) fn is_1_0(&self) -> bool {
        (self.major, self.minor, self.older) == (Some(1), Some(0), false)
    }
}

/// What the extension headers before an entry say about it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseKeys,
    xattr_bytes: usize,
    any: bool,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        !self.any && self.path.is_none() && self.link.is_none()
    }

    /// Read `LENGTH KEY=VALUE\n` records.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<()> {
        self.any = true;
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').context("record without a length")?;
            let length = decimal(&records[..space]).context("reading the length of a record")? as usize;
            ensure!(length > space + 1 && length <= records.len(), "record length {length} does not fit");
            let (record, rest) = records.split_at(length);
            let record = record[space + 1..].strip_suffix(b"\n").context("record without a line feed")?;
            let equals = record.iter().position(|byte| *byte == b'=').context("record without a value")?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value).context("reading size")?),
            b"uid" => self.uid = Some(signed_decimal(value).context("reading uid")?),
            b"gid" => self.gid = Some(signed_decimal(value).context("reading gid")?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" => self.sparse.size = Some(decimal(value).context("reading realsize")?),
            b"GNU.sparse.major" => self.sparse.major = Some(decimal(value).context("reading major")?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(decimal(value).context("reading minor")?),
            _ if key.starts_with(b"GNU.sparse.") => self.sparse.older = true,
            _ => {
                let Some(name) = key.strip_prefix(XATTR) else { return Ok(()) };
                ensure!(!name.is_empty() && !name.contains(&0), "bad name of an extended attribute");
                ensure!(self.xattrs.len() < MAX_XATTRS, "more than {MAX_XATTRS} extended attributes");
                self.xattr_bytes += name.len() + value.len();
                ensure!(
                    self.xattr_bytes <= MAX_XATTR_BYTES,
                    "extended attributes are over the limit of {MAX_XATTR_BYTES} bytes"
                );
                self.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
        Ok(())
    }
}

fn decimal(text: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(text).context("number is not text")?;
    ensure!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?} is not a number");
    text.parse().with_context(|| format!("{text:?} is not a number"))
}

fn signed_decimal(text: &[u8]) -> Result<i64> {
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    let value = i64::try_from(decimal(digits)?).context("number is too large")?;
    Ok(if negative { -value } else { value })
}

/// Whether a numeric field is not octal text but a binary number, which is GNU's way to write what does not fit.
fn is_base_256(field: &[u8]) -> bool {
    field[0] & 0x80 != 0
}

/// A numeric field of a header: octal text, or GNU's base 256.
pub(super) fn number(field: &[u8]) -> Result<u64> {
    if is_base_256(field) {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            ensure!(value >> 56 == 0, "number is too large");
            value = value << 8 | u64::from(*byte);
        }
        return Ok(value);
    }
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    let mut value: u64 = 0;
    for digit in text {
        match digit {
            b'0'..=b'7' if value >> 61 == 0 => value = value << 3 | u64::from(digit - b'0'),
            _ => bail!("{:?} is not an octal number", text.escape_ascii().to_string()),
        }
    }
    Ok(value)
}

/// The field of an owner or a group. In base 256 it may be negative: Unix has written `nobody` as -2.
pub(super) fn signed_number(field: [u8; 8]) -> Result<i64> {
    if !is_base_256(&field) {
        return i64::try_from(number(&field)?).context("number is too large");
    }
    // The first bit is the mark, the second the sign.
    Ok((i64::from_be_bytes(field) << 1) >> 1)
}

/// The field of a time, as the crate tar reads it for ostree-ext: of a number in base 256 the last eight bytes, so that a
/// time before 1970 is far in the future. No ostree tree has times, so what is no number at all is 0 and not an error.
pub(super) fn time(field: &[u8; 12]) -> u64 {
    match field {
        [first, _, _, _, last @ ..] if first & 0x80 != 0 => u64::from_be_bytes(*last),
        text => number(text).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (label, field, expected) in [
            ("octal", &b"0000644\0"[..], Some(0o644)),
            ("spaces", b"   644 \0", Some(0o644)),
            ("empty", b"\0\0\0\0\0\0\0\0", Some(0)),
            ("base 256", b"\x80\0\0\0\0\0\0\0\0\x02\0\0", Some(0x20000)),
            ("not octal", b"0000648\0", None),
            ("negative base 256", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field).ok(), expected, "{label}");
        }
    }

    #[test]
    fn owners() {
        for (label, field, expected) in [
            ("octal", b"0000644\0", Some(0o644)),
            ("base 256", b"\x80\0\0\0\xff\xff\xff\xfe", Some(4_294_967_294)),
            ("nobody of old", b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            ("lowest", b"\xc0\0\0\0\0\0\0\0", Some(i64::MIN / 2)),
            ("highest", b"\xbf\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX / 2)),
            ("not octal", b"-000002\0", None),
        ] {
            assert_eq!(signed_number(*field).ok(), expected, "{label}");
        }
        for (text, expected) in [
            (&b"12"[..], Some(12)),
            (b"-2", Some(-2)),
            (b"9223372036854775808", None),
            (b"--2", None),
            (b"+2", None),
            (b"", None),
        ] {
            assert_eq!(signed_decimal(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn times() {
        for (label, field, expected) in [
            ("octal", b"14526472000\0", 0o14_526_472_000),
            ("1960, as GNU tar has it", b"\xff\xff\xff\xff\xff\xff\xff\xff\xed\x31\x6a\x00", 0xffff_ffff_ed31_6a00),
            ("far from now", b"\x80\0\0\x01\0\0\0\0\0\0\0\x02", 2),
            ("no number", b"not a number", 0),
            ("empty", b"\0\0\0\0\0\0\0\0\0\0\0\0", 0),
        ] {
            assert_eq!(time(field), expected, "{label}");
        }
    }

    #[test]
    fn records() {
        for (label, input, expected) in [
            ("path", &b"12 path=a/b\n"[..], None),
            ("value with a line feed and an equals sign", b"28 SCHILY.xattr.user.a=x\n=y\n", None),
            ("length too long", b"99 path=a/b\n", Some("record length 99 does not fit")),
            ("length too short", b"3 path=a/b\n", Some("record without a line feed")),
            ("length zero", b"0 path=a/b\n", Some("record length 0 does not fit")),
            ("no length", b"path=a/b\n", Some("record without a length")),
            ("no value", b"7 path\n\n", Some("record without a value")),
            ("bad size", b"10 size=x\n", Some("reading size")),
        ] {
            let result = Extensions::default().read(input);
            assert_eq!(result.as_ref().err().map(ToString::to_string).as_deref(), expected, "{label}");
        }
        let mut extensions = Extensions::default();
        extensions.read(b"28 SCHILY.xattr.user.a=x\n=y\n").unwrap();
        assert_eq!(extensions.xattrs, [(b"user.a".to_vec(), b"x\n=y".to_vec())]);
    }
}
