// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels from the policy in a directory.
//!
//! Tested by `src/ostree/tests/selinux_messages.rs`, `src/slipstream/tests/label/`,
//! `src/slipstream/tests/differential/corpus/selinux.rs`.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use ostree_sys as sys;
use rustix::fs::{Mode, OFlags, open};

use crate::raw::{Object, c_string, checked, copied, owned, returned};

/// A loaded policy. Threads take turns: libselinux compiles the expressions of a policy when it first needs them.
#[derive(Debug)]
pub struct SePolicy(Mutex<Turn>);

#[derive(Debug)]
struct Turn {
    // Dropped first.
    policy: Object<sys::OstreeSePolicy>,
    // libostree keeps its number, and has libselinux open what is below it, whenever that is.
    _directory: OwnedFd,
}

// SAFETY: neither libostree's object nor libselinux's handle in it belongs to a thread; the mutex gives them to one at a
// time.
unsafe impl Send for Turn {}

impl SePolicy {
    /// Load the policy in `etc/selinux` below `root`, else that in `usr/etc/selinux`; `None` if there is none.
    pub fn at(root: &Path) -> Result<Option<Self>> {
        let directory = open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("opening {}", root.display()))?;
        let policy = returned(|error| {
            // SAFETY: an open directory, no cancellable; the result is a new object of ours.
            Object::take(unsafe { sys::ostree_sepolicy_new_at(directory.as_raw_fd(), null_mut(), error) })
        })?;
        // SAFETY: a live object; the name is a string that it keeps, null without a policy.
        let name = copied(unsafe { sys::ostree_sepolicy_get_name(policy.as_ptr()) });
        Ok(name.map(|_| Self(Mutex::new(Turn { policy, _directory: directory }))))
    }

    /// The label of an absolute path with this mode; `None` if the policy has none for it.
    pub fn label(&self, path: &str, mode: u32) -> Result<Option<String>> {
        // libselinux has no default label for /proc: libostree's own commit code asks for this path instead.
        let asked = if path == "/proc" { "/mnt" } else { path };
        let asked = c_string(asked)?;
        let mut label = null_mut();
        let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checked(|error| {
            // SAFETY: live object and string; the label is ours, null if there is none.
            unsafe {
                sys::ostree_sepolicy_get_label(
                    turn.policy.as_ptr(),
                    asked.as_ptr(),
                    mode,
                    &mut label,
                    null_mut(),
                    error,
                ) != 0
            }
        })
        .with_context(|| format!("looking up the SELinux label of {path}"))?;
        Ok(owned(label))
    }
}
