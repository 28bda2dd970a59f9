// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Decompression of a layer.

use std::io::{self, BufRead, BufReader, Read};

use anyhow::{Context, Result};
use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::oci::Compression;
use crate::stream::BUFFER;

/// Largest window that a zstd frame may ask for, as a power of two: 8 MiB. It is the limit that RFC 8878 names for
/// decoders, and what every level of the zstd tool up to 19 stays below; more would let the input choose our memory.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A decoder over a buffered reader.
pub enum Inflate<R: Read> {
    /// A plain tar.
    Plain(BufReader<R>),
    /// gzip with any number of members.
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    /// zstd with any number of frames.
    Zstd(Box<ZstdDecoder<'static, BufReader<R>>>),
}

impl<R: Read> std::fmt::Debug for Inflate<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl<R: Read> Inflate<R> {
    /// Decode `inner` as `compression` says.
    pub fn new(inner: R, compression: Compression) -> Result<Self> {
        let inner = BufReader::with_capacity(BUFFER, inner);
        Ok(match compression {
            Compression::None => Self::Plain(inner),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(inner))),
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(inner).context("starting zstd")?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).context("starting zstd")?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// The compressed reader.
    pub fn get_ref(&self) -> &R {
        match self {
            Self::Plain(reader) => reader.get_ref(),
            Self::Gzip(decoder) => decoder.get_ref().get_ref(),
            Self::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// The compressed reader. What the decoder has buffered but not used is dropped, after it passed `inner`.
    pub fn into_inner(self) -> R {
        match self {
            Self::Plain(reader) => reader.into_inner(),
            Self::Gzip(decoder) => decoder.into_inner().into_inner(),
            Self::Zstd(decoder) => decoder.finish().into_inner(),
        }
    }
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => {
                let available = reader.fill_buf()?;
                let n = available.len().min(buffer.len());
                buffer[..n].copy_from_slice(&available[..n]);
                reader.consume(n);
                Ok(n)
            }
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(data: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Inflate::new(data, compression).unwrap().read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn members_and_frames() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let frame = |data: &[u8]| zstd::encode_all(data, 3).unwrap();
        for (label, compression, input) in [
            ("plain", Compression::None, b"one two".to_vec()),
            ("gzip", Compression::Gzip, gzip(b"one two")),
            ("gzip members", Compression::Gzip, [gzip(b"one "), gzip(b"two")].concat()),
            ("zstd", Compression::Zstd, frame(b"one two")),
            ("zstd frames", Compression::Zstd, [frame(b"one "), frame(b"two")].concat()),
            ("zstd skippable", Compression::Zstd, [&skippable[..], &frame(b"one two")[..], &skippable[..]].concat()),
        ] {
            assert_eq!(inflate(&input, compression).unwrap(), b"one two", "{label}");
            if compression != Compression::None {
                assert!(inflate(&input[..input.len() - 1], compression).is_err(), "{label}: one byte short");
            }
        }
    }

    #[test]
    fn zstd_window_is_limited() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&vec![7; 1 << 20]).unwrap();
        let error = inflate(&encoder.finish().unwrap(), Compression::Zstd).unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
    }
}
