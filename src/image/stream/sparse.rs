// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sparse files in version 1.0 of GNU tar's PAX format: the content begins with a map, numbers in lines, that says where
//! in the file the bytes behind it belong (<https://www.gnu.org/software/tar/manual/html_node/PAX-1.html>).

use std::collections::VecDeque;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

const BLOCK: usize = 512;
/// Most pieces of a file. A map of more would be half a MiB in memory.
const MAX_PIECES: u64 = 32_768;
/// Most digits of a number.
const MAX_DIGITS: usize = 20;

/// What comes next, and for how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Zeros that are not in the archive.
    Hole(u64),
    /// Bytes of the archive.
    Data(u64),
}

/// Where the bytes of a file are that were not read yet.
#[derive(Debug)]
pub(super) struct Sparse {
    /// Offset and length of each piece of data.
    pieces: VecDeque<(u64, u64)>,
    at: u64,
    size: u64,
}

impl Sparse {
    /// Read the map at the start of `content`, which has `stored` bytes with it, of a file of `size` bytes. Returns also
    /// how long the map is.
    pub(super) fn read(content: &mut impl Read, stored: u64, size: u64) -> Result<(Self, u64)> {
        let mut map = Map { content, block: [0; BLOCK], at: BLOCK, read: 0, stored };
        let count = map.number()?;
        ensure!(count <= MAX_PIECES, "{count} pieces are over the limit of {MAX_PIECES}");
        let (mut pieces, mut end, mut data) = (VecDeque::new(), 0_u64, 0_u64);
        for _ in 0..count {
            let (offset, length) = (map.number()?, map.number()?);
            ensure!(offset >= end, "a piece at {offset} begins before the end of another at {end}");
            end = offset.checked_add(length).context("a piece has no end")?;
            ensure!(end <= size, "a piece ends at {end}, and the file at {size}");
            data += length;
            if length > 0 {
                pieces.push_back((offset, length));
            }
        }
        let there = stored - map.read;
        ensure!(data == there, "the pieces have {data} bytes, and the archive {there}");
        let read = map.read;
        Ok((Self { pieces, at: 0, size }, read))
    }

    /// What comes next; `None` at the end of the file.
    pub(super) fn next(&self) -> Option<Piece> {
        match self.pieces.front() {
            Some((offset, _)) if *offset > self.at => Some(Piece::Hole(offset - self.at)),
            Some((offset, length)) => Some(Piece::Data(offset + length - self.at)),
            None if self.at < self.size => Some(Piece::Hole(self.size - self.at)),
            None => None,
        }
    }

    /// So much of it was read, and no more than one piece had.
    pub(super) fn advance(&mut self, n: u64) {
        self.at += n;
        if self.pieces.front().is_some_and(|(offset, length)| offset + length <= self.at) {
            self.pieces.pop_front();
        }
    }
}

struct Map<'r, R> {
    content: &'r mut R,
    block: [u8; BLOCK],
    at: usize,
    read: u64,
    stored: u64,
}

impl<R: Read> Map<'_, R> {
    /// The number of a line.
    fn number(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for digits in 0..=MAX_DIGITS {
            match self.byte()? {
                b'\n' if digits > 0 => return Ok(value),
                digit @ b'0'..=b'9' => {
                    let next = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')));
                    value = next.context("a number is too large")?;
                }
                other => bail!("{:?} where a number should be", char::from(other)),
            }
        }
        bail!("a number of more than {MAX_DIGITS} digits")
    }

    fn byte(&mut self) -> Result<u8> {
        if self.at == BLOCK {
            ensure!(self.stored - self.read >= BLOCK as u64, "the map ends early");
            self.content.read_exact(&mut self.block).context("reading the map")?;
            (self.at, self.read) = (0, self.read + BLOCK as u64);
        }
        let byte = self.block.get(self.at).copied().context("reading the map")?;
        self.at += 1;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(map: &str, data: u64, size: u64) -> Result<(Sparse, u64)> {
        let mut bytes = map.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        let stored = bytes.len() as u64 + data;
        Sparse::read(&mut &bytes[..], stored, size)
    }

    #[test]
    fn pieces_in_turn() {
        let (mut sparse, map) = read("3\n0\n5\n100\n10\n200\n0\n", 15, 200).unwrap();
        assert_eq!(map, 512);
        let mut seen = Vec::new();
        while let Some(piece) = sparse.next() {
            seen.push(piece);
            // A reader may take less than there is.
            let (Piece::Hole(n) | Piece::Data(n)) = piece;
            sparse.advance(n.min(60));
        }
        let expected =
            [Piece::Data(5), Piece::Hole(95), Piece::Hole(35), Piece::Data(10), Piece::Hole(90), Piece::Hole(30)];
        assert_eq!(seen, expected);
        assert_eq!(read("0\n", 0, 0).unwrap().0.next(), None, "an empty file");
        assert_eq!(read("0\n", 0, 7).unwrap().0.next(), Some(Piece::Hole(7)), "nothing but a hole");
        let many = format!("300\n{}", (0..300).map(|n| format!("{}\n1\n", 2 * n)).collect::<String>());
        assert_eq!(read(&many, 300, 600).unwrap().1, 2048, "a map of several blocks");
    }

    #[test]
    fn maps_that_lie() {
        for (label, map, data, size, expected) in [
            ("overlap", "2\n0\n5\n4\n5\n", 10, 100, "a piece at 4 begins before the end of another at 5"),
            ("backwards", "2\n50\n5\n0\n5\n", 10, 100, "a piece at 0 begins before the end of another at 55"),
            ("too long", "1\n0\n101\n", 101, 100, "a piece ends at 101, and the file at 100"),
            ("no end", "1\n18446744073709551615\n1\n", 1, u64::MAX, "a piece has no end"),
            ("less data", "1\n0\n5\n", 4, 100, "the pieces have 5 bytes, and the archive 4"),
            ("more data", "1\n0\n5\n", 6, 100, "the pieces have 5 bytes, and the archive 6"),
            ("many", "32769\n", 0, 100, "32769 pieces are over the limit of 32768"),
            ("no number", "x\n", 0, 100, "'x' where a number should be"),
            ("empty line", "\n", 0, 100, "where a number should be"),
            ("large", "99999999999999999999\n", 0, 100, "a number is too large"),
            ("digits", "000000000000000000001\n", 0, 100, "a number of more than 20 digits"),
            ("cut", "2\n0\n5\n", 5, 100, "where a number should be"),
        ] {
            let error = format!("{:#}", read(map, data, size).unwrap_err());
            assert!(error.contains(expected), "{label}: {error}");
        }
        let error = Sparse::read(&mut &b"1\n"[..], 2, 5).unwrap_err().to_string();
        assert_eq!(error, "the map ends early");
    }
}
