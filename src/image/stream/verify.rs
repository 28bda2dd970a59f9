// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Length and sha256 of what passes through.

use std::io::{self, Read};

use anyhow::{Context, Result};
use contract::names::Digest;
use sha2::{Digest as _, Sha256};

use crate::oci::Descriptor;

/// What came is not what was asked for. A server may do better the next time, so it has a type.
#[derive(Debug)]
pub struct Mismatch(String);

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

fn ensure(good: bool, text: impl FnOnce() -> String) -> Result<(), Mismatch> {
    if good { Ok(()) } else { Err(Mismatch(text())) }
}

/// Counts and hashes the bytes of `inner`. It never hands on more than the expected size.
pub struct VerifyReader<R> {
    inner: R,
    hash: Sha256,
    seen: u64,
    size: Option<u64>,
    digest: Digest,
}

impl<R> std::fmt::Debug for VerifyReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyReader").field("digest", &self.digest).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<R: Read> VerifyReader<R> {
    /// Expect `digest`, and exactly `size` bytes if given.
    pub fn new(inner: R, digest: Digest, size: Option<u64>) -> Self {
        Self { inner, hash: Sha256::new(), seen: 0, size, digest }
    }

    /// Bytes that have passed through.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Read what is left and give the verdict.
    pub fn finish(mut self) -> Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        if let Some(size) = self.size {
            ensure(self.seen == size, || format!("size mismatch: expected {size} bytes, got {}", self.seen))?;
        }
        let got = Digest::from_bytes(self.hash.finalize().into());
        let text = || format!("sha256 mismatch: expected {}, got {got} after {} bytes", self.digest, self.seen);
        Ok(ensure(got == self.digest, text)?)
    }
}

impl<R: Read> Read for VerifyReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.seen += n as u64;
        if self.size.is_some_and(|size| self.seen > size) {
            let size = self.size.unwrap_or_default();
            return Err(io::Error::other(format!("size mismatch: expected {size} bytes, got more")));
        }
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

/// Read a small blob whole (a manifest, a config): at most `limit` bytes, which must have the descriptor's digest.
/// `size` is `None` for the first manifest, of which only the digest is known.
pub fn read_verified(reader: impl Read, digest: Digest, size: Option<u64>, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("reading {digest}"))?;
    ensure(bytes.len() as u64 <= limit, || format!("{digest} is larger than the limit of {limit} bytes"))?;
    VerifyReader::new(&bytes[..], digest, size).finish().with_context(|| format!("verifying {digest}"))?;
    Ok(bytes)
}

impl Descriptor {
    /// A reader that verifies against this descriptor.
    pub fn verify<R: Read>(&self, inner: R) -> VerifyReader<R> {
        VerifyReader::new(inner, self.digest, Some(self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns one byte at a time.
    struct Drip<'a>(&'a [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn good_short_long_flipped() {
        let good = b"hello world".as_slice();
        let digest = Digest::of(good);
        for (label, input, expected) in [
            ("good", good, None),
            ("one byte short", &good[..10], Some("size mismatch: expected 11 bytes, got 10")),
            ("one byte extra", b"hello world!".as_slice(), Some("size mismatch: expected 11 bytes, got more")),
            ("bit flip", b"hello worle".as_slice(), Some("sha256 mismatch: expected sha256:b94d27b9")),
        ] {
            let result = VerifyReader::new(Drip(input), digest, Some(11)).finish();
            match (result, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => assert!(error.to_string().contains(text), "{label}: {error}"),
                (result, _) => panic!("{label}: {result:?}"),
            }
        }
    }

    #[test]
    fn small_blobs_are_limited() {
        let digest = Digest::of(b"12345");
        assert_eq!(read_verified(&b"12345"[..], digest, None, 5).unwrap(), b"12345");
        let error = read_verified(&b"123456"[..], digest, None, 5).unwrap_err();
        assert!(error.to_string().ends_with("is larger than the limit of 5 bytes"), "{error}");
        assert!(read_verified(io::repeat(0), digest, None, 5).is_err(), "endless");
    }
}
