// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing to disk while the processors work.
//!
//! The kernel would keep what an import writes in memory until a tenth of that is dirty: most of an image, on most
//! machines. All of it would then go to disk at the end, while the processors wait.
//!
//! Tested by `src/slipstream/tests/interrupt/`, `test-vm/src/powercut/`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle, park_timeout};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::fs::{self, Mode, OFlags};

use crate::store::Store;

/// So much is worth a sync: the disk is busy for longer than one takes to begin.
const ENOUGH: u64 = 64 << 20;
/// How often it is looked at how much there is.
const POLL: Duration = Duration::from_millis(100);

/// A thread that syncs now and then.
#[derive(Debug)]
pub struct Writeback<'scope> {
    thread: ScopedJoinHandle<'scope, Result<()>>,
    done: &'scope AtomicBool,
}

impl<'scope> Writeback<'scope> {
    /// Start it. `done` is false.
    pub fn start(scope: &'scope Scope<'scope, '_>, store: &'scope Store, done: &'scope AtomicBool) -> Self {
        Self { thread: scope.spawn(move || run(store, done)), done }
    }

    /// Stop it.
    pub fn stop(self) -> Result<()> {
        self.done.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().map_err(|_| anyhow!("the thread that syncs has panicked"))?
    }
}

fn run(store: &Store, done: &AtomicBool) -> Result<()> {
    // An error of the disk is told once to each open file: one of its own leaves it to the sync before publishing too.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let file_system = fs::openat(&store.objects, ".", flags, Mode::empty()).context("opening objects")?;
    let mut synced = store.room_left();
    while !done.load(Ordering::Relaxed) {
        park_timeout(POLL);
        let left = store.room_left();
        if synced.saturating_sub(left) >= ENOUGH {
            synced = left;
            fs::syncfs(&file_system).context("syncing the repository")?;
        }
    }
    Ok(())
}
