// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Named steps, for tests that cut the power right after one of them. They do nothing without the cargo feature
//! `failpoints`, with which no image is built.
//!
//! With it, `SLIPSTREAM_FAILPOINT=STEP` has the process die when STEP is done, and `SLIPSTREAM_MARKS=FILE` has every
//! step write its name to the start of FILE: a part of the disk that nothing else uses. It is written past the page
//! cache and not flushed, so that a log of the disk's writes shows when the step was done, and nothing else in it
//! changes.
//!
//! Tested by `src/slipstream/tests/boot/failpoints.rs`, `test-vm/src/powercut/`.

/// What a mark starts with; the step's name follows.
#[cfg(feature = "failpoints")]
const MARK: &str = "slipstream-step ";

/// Set for both programs of a boot.
#[cfg(feature = "failpoints")]
pub const VARIABLES: [&str; 2] = ["SLIPSTREAM_FAILPOINT", "SLIPSTREAM_MARKS"];

/// The step `name` is done.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reached(_name: &str) {}

/// The step `name` is done.
#[cfg(feature = "failpoints")]
pub fn reached(name: &str) {
    if let Some(file) = std::env::var_os("SLIPSTREAM_MARKS")
        && let Err(error) = mark(std::path::Path::new(&file), name)
    {
        log::warn!("marking {name}: {error}");
    }
    if std::env::var_os("SLIPSTREAM_FAILPOINT").is_some_and(|wanted| wanted == name) {
        log::warn!("failpoint {name}");
        // Nothing is flushed and nothing cleaned up.
        std::process::abort();
    }
}

#[cfg(feature = "failpoints")]
fn mark(file: &std::path::Path, name: &str) -> std::io::Result<()> {
    use std::os::unix::fs::{FileExt, OpenOptionsExt};

    /// What the page cache is passed with has to be aligned.
    #[repr(align(4096))]
    struct Sector([u8; 512]);
    let mut sector = Sector([0; 512]);
    for (to, from) in sector.0.iter_mut().zip(MARK.bytes().chain(name.bytes())) {
        *to = from;
    }
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).map_err(std::io::Error::other)?;
    std::fs::OpenOptions::new().write(true).custom_flags(direct).open(file)?.write_all_at(&sector.0, 0)
}
