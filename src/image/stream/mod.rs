// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes made safe: readers stacked on readers. Hostile input ends here.
//!
//! A layer goes through, from the outside in: length and digest of the blob ([`VerifyReader`]), decompression
//! (`Inflate`), digest of the tar (against the diffID), tar ([`TarReader`]). The verdict is asked for explicitly with
//! [`LayerStream::finish`]; until then nothing that came out may be reachable.

mod inflate;
mod layer_reader;
mod pax;
mod sparse;
mod tar;
mod verify;
mod windows;

use inflate::Inflate;
pub use layer_reader::{Blocks, LayerStream};
pub use tar::{Entry, Kind, Skip, TarReader};
pub use verify::{Mismatch, VerifyReader, read_verified};
pub use windows::LargeWindows;
