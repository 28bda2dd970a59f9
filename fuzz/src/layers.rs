// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tar, and the readers below it.

use std::io::{Read, copy, sink};

use contract::names::Digest;
use image::oci::{Descriptor, Layer};
use image::stream::{LargeWindows, LayerStream, Skip, TarReader};

/// Most entries to read: a tar of empty ones is 512 bytes each.
const ENTRIES: usize = 4096;

/// Most bytes to read of an entry: a sparse file may have a hole of any size, which no file system has room for.
const CONTENT: u64 = 1 << 20;

fn read<R: Skip>(tar: &mut TarReader<R>) -> anyhow::Result<()> {
    for n in 0..ENTRIES {
        let Some(entry) = tar.next_entry()? else { break };
        // Some content is read, some is skipped.
        if n % 2 == 0 {
            copy(&mut tar.by_ref().take(CONTENT), &mut sink())?;
        }
        assert!(entry.mode <= 0o7777);
    }
    Ok(())
}

/// A tar.
pub fn tar(data: &[u8]) {
    let mut tar = TarReader::new(data);
    if read(&mut tar).is_ok() {
        assert!(tar.position() <= data.len() as u64, "read more than there is");
    }
}

/// A blob; the first byte says how it is packed. Its digest is right: what is behind that is to be tested.
pub fn layer_stream(data: &[u8]) {
    let Some((how, blob)) = data.split_first() else { return };
    let kind = ["", "+gzip", "+zstd"][usize::from(how % 3)];
    let descriptor = Descriptor {
        media_type: format!("application/vnd.oci.image.layer.v1.tar{kind}"),
        digest: Digest::of(blob),
        size: blob.len() as u64,
    };
    let diff_id = if kind.is_empty() { Digest::of(blob) } else { Digest::of(b"") };
    let layer = Layer { descriptor, diff_id, number: 1 };
    let windows = LargeWindows::default();
    let result = std::thread::scope(|scope| {
        let mut stream = LayerStream::start(scope, blob, &layer, &windows)?;
        let result = read(stream.tar());
        stream.finish(result)
    });
    if let Ok(((), size)) = result {
        assert!(kind.is_empty() && size == blob.len() as u64 || size == 0, "a wrong diffID passed");
    }
}
