// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How much memory a zstd frame wants, known before it gets it.
//!
//! A frame says in its header how far it refers back; a decoder needs a buffer of that size. Go's encoder, which writes the
//! layers of podman and buildah, says 8 MiB up to level 5 and up to 32 MiB above; the zstd tool says up to 128 MiB at its
//! highest levels. Layers are decoded side by side, so those that want much take turns.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer, WriteBuf};

/// The window, as a power of two, that every decoder may have: 8 MiB, which RFC 8878 recommends to support.
const COMMON: u32 = 23;
/// The largest window that is accepted: 128 MiB, libzstd's own limit, and so that of ostree-ext.
const LARGEST: u32 = 27;

const FRAME: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// What layers with large windows take turns on: one of them is decoded at a time.
#[derive(Debug, Default)]
pub struct LargeWindows {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// The right to a large window, until it is dropped.
#[derive(Debug)]
struct Turn<'w>(&'w LargeWindows);

impl LargeWindows {
    /// Waits until nobody has it. Who has it needs nobody that waits.
    fn take(&self) -> Turn<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.freed.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner);
        *taken = true;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_one();
    }
}

/// A zstd decoder that takes a turn before it lets a frame have a large window.
pub(super) struct Frames<'w> {
    decoder: Decoder<'static>,
    windows: &'w LargeWindows,
    turn: Option<Turn<'w>>,
    /// The start of the current frame, as much as tells its window, and how much of it the decoder has.
    head: Vec<u8>,
    given: usize,
    /// That is all of it.
    known: bool,
}

impl<'w> Frames<'w> {
    pub(super) fn new(windows: &'w LargeWindows) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(COMMON))?;
        Ok(Self { decoder, windows, turn: None, head: Vec::new(), given: 0, known: false })
    }

    /// Takes from the input what tells the window of the frame that begins. Returns whether it is known.
    fn read_head(&mut self, input: &mut InBuffer<'_>) -> io::Result<bool> {
        let window = loop {
            if let Some(window) = window(&self.head) {
                break window;
            }
            let Some(byte) = input.src.get(input.pos) else { return Ok(false) };
            self.head.push(*byte);
            input.pos += 1;
        };
        // The turn is kept, as the decoder keeps its buffer. What wants too much gets an error of the decoder's.
        if self.turn.is_none() && (1 << COMMON) < window && window <= 1 << LARGEST {
            self.turn = Some(self.windows.take());
            self.decoder.set_parameter(DParameter::WindowLogMax(LARGEST))?;
        }
        Ok(true)
    }
}

/// Returns the window of the frame that begins so, in bytes; 0 if it has none. `None`: more of it is needed.
fn window(head: &[u8]) -> Option<u64> {
    if head.get(..4)? != FRAME {
        // To be skipped, or no frame: the decoder knows.
        return Some(0);
    }
    let descriptor = head.get(4)?;
    if descriptor & 0x20 == 0 {
        let byte = u64::from(*head.get(5)?);
        let base = 1 << (10 + (byte >> 3));
        return Some(base + base / 8 * (byte & 7));
    }
    // A single segment: the window is the content, whose size comes after the number of the dictionary.
    let start = 5 + [0, 1, 2, 4][usize::from(descriptor & 3)];
    let (length, more) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
    let mut size = [0; 8];
    size[..length].copy_from_slice(head.get(start..start + length)?);
    Some(u64::from_le_bytes(size).saturating_add(more))
}

impl Operation for Frames<'_> {
    fn run<C: WriteBuf + ?Sized>(
        &mut self,
        input: &mut InBuffer<'_>,
        output: &mut OutBuffer<'_, C>,
    ) -> io::Result<usize> {
        if !self.known {
            self.known = self.read_head(input)?;
        }
        if !self.known {
            // Anything but 0, which is the end of a frame.
            return Ok(1);
        }
        if self.given < self.head.len() {
            let mut head = InBuffer { src: &self.head, pos: self.given };
            let hint = self.decoder.run(&mut head, output)?;
            self.given = head.pos;
            return Ok(hint);
        }
        let hint = self.decoder.run(input, output)?;
        if hint == 0 {
            self.head.clear();
            (self.given, self.known) = (0, false);
        }
        Ok(hint)
    }

    fn reinit(&mut self) -> io::Result<()> {
        self.decoder.reinit()
    }

    fn finish<C: WriteBuf + ?Sized>(
        &mut self,
        output: &mut OutBuffer<'_, C>,
        finished_frame: bool,
    ) -> io::Result<usize> {
        self.decoder.finish(output, finished_frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_headers() {
        let head = |rest: &[u8]| [&FRAME[..], rest].concat();
        for (label, head, expected) in [
            ("1 KiB", head(&[0, 0]), Some(1 << 10)),
            ("8 MiB", head(&[0, 13 << 3]), Some(1 << 23)),
            ("an eighth more", head(&[0, 13 << 3 | 1]), Some((1 << 23) + (1 << 20))),
            ("128 MiB", head(&[0, 17 << 3]), Some(1 << 27)),
            ("the largest", head(&[0, 0xff]), Some((1 << 41) + 7 * (1 << 38))),
            ("content of 1 byte", head(&[0x20, 200]), Some(200)),
            ("content of 2 bytes", head(&[0x60, 1, 1]), Some(513)),
            ("content of 4 bytes", head(&[0xa0, 0, 0, 0, 2]), Some(1 << 25)),
            (
                "content of 8 bytes behind a dictionary",
                head(&[0xe3, 1, 2, 3, 4, 0, 0, 0, 0, 1, 0, 0, 0]),
                Some(1 << 32),
            ),
            ("content of the most", head(&[0xe0, 255, 255, 255, 255, 255, 255, 255, 255]), Some(u64::MAX)),
            ("skippable", 0x184D_2A5F_u32.to_le_bytes().to_vec(), Some(0)),
            ("garbage", b"garbage".to_vec(), Some(0)),
        ] {
            assert_eq!(window(&head), expected, "{label}");
            assert!(window(&head[..3]).is_none(), "{label}: too short");
            if expected != Some(0) {
                assert!(window(&head[..head.len() - 1]).is_none(), "{label}: one byte short");
            }
        }
    }

    #[test]
    fn what_an_encoder_writes_is_known() {
        for log in [10, 17, 23, 24, 27] {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            io::Write::write_all(&mut encoder, b"of an unknown length").unwrap();
            assert_eq!(window(&encoder.finish().unwrap()), Some(1 << log), "{log}");
        }
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_pledged_src_size(Some(300)).unwrap();
        io::Write::write_all(&mut encoder, &[7; 300]).unwrap();
        assert_eq!(window(&encoder.finish().unwrap()), Some(300));
    }
}
