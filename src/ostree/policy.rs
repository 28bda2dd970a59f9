// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels from the policy in a commit.

use std::ptr::null_mut;

use anyhow::{Context, Result};
use ostree_sys as sys;

use super::raw::{Object, c_string, checked, copied, owned, returned};
use super::repo::Repo;
use crate::oci::Digest;

/// The policy that a commit carries in `/usr/etc/selinux`.
#[derive(Debug)]
pub struct SePolicy(Object<sys::OstreeSePolicy>);

impl SePolicy {
    /// Load the policy of `commit`; `None` if it has none.
    pub fn of_commit(repo: &Repo, commit: &Digest) -> Result<Option<Self>> {
        let checksum = c_string(commit.hex())?;
        let policy = returned(|error| {
            // SAFETY: live object and string; libostree unpacks the policy to a directory that lives as long as the
            // returned object, which is ours.
            Object::take(unsafe {
                sys::ostree_sepolicy_new_from_commit(repo.as_ptr(), checksum.as_ptr(), null_mut(), error)
            })
        })
        .with_context(|| format!("loading the SELinux policy of {}", commit.hex()))?;
        // SAFETY: a live object; the name is a string that it keeps, null without a policy.
        let name = copied(unsafe { sys::ostree_sepolicy_get_name(policy.as_ptr()) });
        Ok(name.map(|_| Self(policy)))
    }

    /// The label of an absolute path with this mode; `None` if the policy has none for it.
    pub fn label(&self, path: &str, mode: u32) -> Result<Option<String>> {
        // libselinux has no default label for /proc: libostree's own commit code asks for this path instead.
        let asked = if path == "/proc" { "/mnt" } else { path };
        let asked = c_string(asked)?;
        let mut label = null_mut();
        checked(|error| {
            // SAFETY: live object and string; the label is ours, null if there is none.
            unsafe {
                sys::ostree_sepolicy_get_label(self.0.as_ptr(), asked.as_ptr(), mode, &mut label, null_mut(), error)
                    != 0
            }
        })
        .with_context(|| format!("looking up the SELinux label of {path}"))?;
        Ok(owned(label))
    }
}
