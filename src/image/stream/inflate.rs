// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Decompression of a layer.

use std::io::{self, BufRead, BufReader, Read};

use anyhow::{Context, Result};
use flate2::bufread::MultiGzDecoder;
use zstd::stream::zio;

use crate::oci::Compression;
use crate::stream::windows::{Frames, LargeWindows};

/// Size of the buffer before a decoder, in bytes.
const BUFFER: usize = 128 << 10;

type ZstdReader<'w, R> = zio::Reader<BufReader<R>, Frames<'w>>;

/// A decoder over a buffered reader.
pub(super) enum Inflate<'w, R: Read> {
    /// A plain tar.
    Plain(BufReader<R>),
    /// gzip with any number of members.
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    /// zstd with any number of frames.
    Zstd(Box<ZstdReader<'w, R>>),
}

impl<R: Read> std::fmt::Debug for Inflate<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl<'w, R: Read> Inflate<'w, R> {
    /// Decodes `inner` as `compression` says. Reading waits for a turn before a window is large.
    pub(super) fn new(inner: R, compression: Compression, windows: &'w LargeWindows) -> Result<Self> {
        let inner = BufReader::with_capacity(BUFFER, inner);
        Ok(match compression {
            Compression::None => Self::Plain(inner),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(inner))),
            Compression::Zstd => {
                Self::Zstd(Box::new(zio::Reader::new(inner, Frames::new(windows).context("starting zstd")?)))
            }
        })
    }

    /// The compressed reader.
    pub(super) fn get_ref(&self) -> &R {
        match self {
            Self::Plain(reader) => reader.get_ref(),
            Self::Gzip(decoder) => decoder.get_ref().get_ref(),
            Self::Zstd(decoder) => decoder.reader().get_ref(),
        }
    }

    /// The compressed reader. What the decoder has buffered but not used is dropped, after it passed `inner`.
    pub(super) fn into_inner(self) -> R {
        match self {
            Self::Plain(reader) => reader.into_inner(),
            Self::Gzip(decoder) => decoder.into_inner().into_inner(),
            Self::Zstd(decoder) => decoder.into_inner().into_inner(),
        }
    }
}

impl<R: Read> Read for Inflate<'_, R> {
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

    fn inflate(data: impl Read, compression: Compression) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Inflate::new(data, compression, &LargeWindows::default()).unwrap().read_to_end(&mut out).map(|_| out)
    }

    /// A reader that returns one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1).min(buffer.len());
            self.0.read(&mut buffer[..n])
        }
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
            assert_eq!(inflate(&input[..], compression).unwrap(), b"one two", "{label}");
            assert_eq!(inflate(Drip(&input), compression).unwrap(), b"one two", "{label}: byte by byte");
            if compression != Compression::None {
                assert!(inflate(&input[..input.len() - 1], compression).is_err(), "{label}: one byte short");
                assert!(inflate(&input[..3], compression).is_err(), "{label}: three bytes");
            }
        }
    }

    /// A frame with a window of its own size.
    fn frame(window_log: u32, data: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(data).unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(u32::from(frame[5]), (window_log - 10) << 3, "the descriptor of the window is the sixth byte");
        frame
    }

    #[test]
    fn zstd_windows_up_to_the_limit() {
        for log in [23, 24, 27] {
            let input = [frame(10, b"one "), frame(log, b"two "), frame(log, b"three")].concat();
            for (label, got) in
                [("", inflate(&input[..], Compression::Zstd)), (" dripped", inflate(Drip(&input), Compression::Zstd))]
            {
                assert_eq!(got.unwrap(), b"one two three", "{log}{label}");
            }
        }
        // The smallest one that is more than the limit.
        let mut input = frame(27, b"one");
        input[5] |= 1;
        let error = inflate(&input[..], Compression::Zstd).unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
        let error = inflate(&frame(28, b"one")[..], Compression::Zstd).unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
    }
}
