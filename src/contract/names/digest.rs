// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A content digest. Only sha256: what registries, ostree and the MCO use.

use std::fmt;

use anyhow::{Result, ensure};

/// A sha256 digest, written `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Parse `sha256:…`. Any other algorithm, upper case or another length is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let Some(hex) = text.strip_prefix("sha256:") else {
            anyhow::bail!("digest {text:?} is not sha256:…, the only kind supported");
        };
        Self::from_hex(hex)
    }

    /// Parse 64 lower-case hex digits, the form that ostree uses.
    pub fn from_hex(hex: &str) -> Result<Self> {
        ensure!(hex.len() == 64, "digest {hex:?} has {} hex digits instead of 64", hex.len());
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
                anyhow::bail!("digest {hex:?} is not lower-case hex");
            };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// From the 32 bytes that a hash function returns.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits, without `sha256:`.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_only_sha256() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Digest::parse(&good).unwrap().to_string(), good);
        for (label, input) in [
            ("no algorithm", "0a".repeat(32)),
            ("other algorithm", format!("sha512:{}", "0a".repeat(64))),
            ("short", format!("sha256:{}", "0a".repeat(31))),
            ("long", format!("sha256:{}", "0a".repeat(33))),
            ("upper case", format!("sha256:{}", "0A".repeat(32))),
            ("not hex", format!("sha256:{}", "0g".repeat(32))),
            ("not ascii", format!("sha256:{}", "é".repeat(32))),
            ("empty", String::new()),
        ] {
            assert!(Digest::parse(&input).is_err(), "{label}");
        }
    }

    #[test]
    fn digest_of_nothing() {
        assert_eq!(Digest::of(b"").hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
