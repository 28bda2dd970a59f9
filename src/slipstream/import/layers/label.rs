// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An SELinux label as an extended attribute among others.
//!
//! Tested by `src/slipstream/tests/differential/corpus/selinux.rs`.

use anyhow::Result;
use ostree::SePolicy;

/// The extended attribute that holds a label.
const SELINUX: &[u8] = b"security.selinux";

/// Puts the label that `policy` has for `path` into `list`, in place of another. Without a policy, or without a label
/// in it, the list stays. Returns whether the list was changed.
pub fn apply(policy: Option<&SePolicy>, path: &str, mode: u32, list: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Result<bool> {
    let Some(label) = policy.map(|policy| policy.label(path, mode)).transpose()?.flatten() else {
        return Ok(false);
    };
    // On disk the value ends with a NUL.
    let value = [label.as_bytes(), &[0]].concat();
    if list.iter().any(|(name, old)| name == SELINUX && *old == value) {
        return Ok(false);
    }
    list.retain(|(name, _)| name != SELINUX);
    list.push((SELINUX.to_vec(), value));
    Ok(true)
}
