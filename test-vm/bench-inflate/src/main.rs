// SPDX-License-Identifier: Apache-2.0 OR MIT
//! usage: bench-inflate BLOB...
//! Inflates gzip blobs from memory with each library that was built in, in turns; prints for each the library and the
//! output in MB/s of each blob, the best of some runs, separated by tabs.

use std::time::{Duration, Instant};

const RUNS: usize = 5;

type Inflate = fn(&[u8]) -> u64;

const LIBRARIES: &[(&str, Inflate)] = &[
    #[cfg(feature = "zlib-rs")]
    ("zlib-rs", streaming::through_flate2),
    #[cfg(feature = "zlib-ng")]
    ("zlib-ng", streaming::through_flate2),
    #[cfg(feature = "zlib")]
    ("zlib", streaming::through_flate2),
    #[cfg(feature = "isal")]
    ("ISA-L", streaming::through_isal),
    #[cfg(feature = "libdeflate")]
    ("libdeflate", through_libdeflate),
];

fn main() {
    let blobs: Vec<Vec<u8>> = std::env::args_os()
        .skip(1)
        .map(|path| std::fs::read(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display())))
        .collect();
    let mut best = vec![vec![Duration::MAX; blobs.len()]; LIBRARIES.len()];
    let mut sizes = vec![0; blobs.len()];
    for _ in 0..RUNS {
        for (at, blob) in blobs.iter().enumerate() {
            for (library, (name, inflate)) in LIBRARIES.iter().enumerate() {
                let start = Instant::now();
                let size = inflate(blob);
                best[library][at] = best[library][at].min(start.elapsed());
                assert!(sizes[at] == 0 || sizes[at] == size, "{name} makes {size} bytes of {}", sizes[at]);
                sizes[at] = size;
            }
        }
    }
    for ((name, _), times) in LIBRARIES.iter().zip(&best) {
        let rates: Vec<String> = times
            .iter()
            .zip(&sizes)
            .map(|(time, size)| format!("{:.0}", *size as f64 / 1e6 / time.as_secs_f64()))
            .collect();
        println!("{name}\t{}", rates.join("\t"));
    }
}

#[cfg(any(feature = "zlib-rs", feature = "zlib-ng", feature = "zlib", feature = "isal"))]
mod streaming {
    use std::io::{BufReader, Read};

    /// Blocks that a streaming reader takes and gives, as slipstream's: 128 KiB in, 256 KiB out.
    const IN: usize = 128 << 10;
    const OUT: usize = 256 << 10;

    /// Reads to the end, block by block.
    fn drain(mut reader: impl Read) -> u64 {
        let mut block = vec![0; OUT];
        let mut size = 0;
        loop {
            match reader.read(&mut block).expect("a good blob") {
                0 => return size,
                n => size += n as u64,
            }
        }
    }

    #[cfg(any(feature = "zlib-rs", feature = "zlib-ng", feature = "zlib"))]
    pub fn through_flate2(blob: &[u8]) -> u64 {
        drain(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(IN, blob)))
    }

    #[cfg(feature = "isal")]
    pub fn through_isal(blob: &[u8]) -> u64 {
        drain(isal::read::GzipDecoder::new(BufReader::with_capacity(IN, blob)))
    }
}

/// The library has no streaming: the whole output is one buffer. Its length stands at the end of the blob.
#[cfg(feature = "libdeflate")]
fn through_libdeflate(blob: &[u8]) -> u64 {
    let length = u32::from_le_bytes(blob[blob.len() - 4..].try_into().expect("four bytes"));
    let mut out = vec![0; length as usize];
    libdeflater::Decompressor::new().gzip_decompress(blob, &mut out).expect("a good blob") as u64
}
