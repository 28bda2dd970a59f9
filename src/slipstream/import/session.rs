// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The locks of an import: one import at a time, and nobody prunes meanwhile.
//!
//! Two imports at a time would plan with each other's layers and then collect them; the second one has more of it when
//! the first one is done. Its lock is a `flock` on the repository's `tmp`: nothing has to be made for it, libostree
//! does not use it, and it goes with the process. libostree's own lock is held as its transactions hold it, shared: it
//! keeps `ostree prune` out, and lets commits and pulls in.
//!
//! Tested by `src/slipstream/tests/concurrency/`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use ostree::{Repo, RepoLock};
use repo::lock::{LOCK_TIME, wait_for_lock};
use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// libostree's lock file (`ostree-repo.c`), and the mode in which it makes it.
const LOCK_FILE: &str = ".lock";
const LOCK_MODE: Mode = Mode::from_raw_mode(0o660);

/// What an image is imported for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To boot it. If that comes to nothing, its ref goes again.
    Boot,
    /// To have it in the repository.
    Pull,
}

/// A repository in which nobody else imports or prunes. Planning and importing need it.
#[derive(Debug)]
pub struct Session<'a> {
    pub(crate) repo: &'a Repo,
    pub(crate) path: PathBuf,
    pub(crate) purpose: Purpose,
    // Given back in this order.
    _shared: RepoLock<'a>,
    _import: OwnedFd,
}

impl<'a> Session<'a> {
    /// Wait for the locks of `repo`, which is at `path`, until `deadline` at most.
    pub fn open(repo: &'a Repo, path: &Path, purpose: Purpose, deadline: Instant) -> Result<Self> {
        // First the one that may take long: who waits for it must not keep a prune waiting.
        let import = lock_imports(path, deadline).context("locking the repository for an import")?;
        let shared = lock_shared(repo, path, deadline.min(Instant::now() + LOCK_TIME));
        let shared = shared.context("locking the repository")?;
        Ok(Self { repo, path: path.to_owned(), purpose, _shared: shared, _import: import })
    }
}

fn lock_imports(path: &Path, deadline: Instant) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::open(path.join("tmp"), flags, Mode::empty()).context("opening tmp of the repository")?;
    wait_for_lock("another import into this repository is running", deadline, || {
        acquired(fs::flock(&directory, FlockOperation::NonBlockingLockExclusive))
    })?;
    Ok(directory)
}

/// libostree waits as long as the repository's configuration says, whatever our deadline, and says no more than
/// "Resource temporarily unavailable". So its lock is waited for here, with a lock of the other kind (of the process, not
/// of the open file; they exclude each other), and then is there to be had.
fn lock_shared<'a>(repo: &'a Repo, path: &Path, until: Instant) -> Result<RepoLock<'a>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = fs::open(path.join(LOCK_FILE), flags, LOCK_MODE).with_context(|| format!("opening {LOCK_FILE}"))?;
    wait_for_lock("another process (ostree, rpm-ostree or bootc) has locked the repository", until, || {
        acquired(fs::fcntl_lock(&file, FlockOperation::NonBlockingLockShared))
    })?;
    repo.lock_shared()
}

fn acquired(locked: rustix::io::Result<()>) -> Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        // The second one is what POSIX lets fcntl say.
        Err(Errno::AGAIN | Errno::ACCESS | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
