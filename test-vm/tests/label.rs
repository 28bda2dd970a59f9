// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Labels of a disk's files, which only root may set.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use rustix::io::Errno;
use test_vm::label_tree;
use testkit::programs::needs;
use testkit::suite::{Case, Suite};

const NAME: &str = "security.selinux";

fn main() -> ExitCode {
    let case = Case::new("what_has_no_label_gets_that_of_its_directory", unlabelled);
    Suite::new("label", || needs(&[])).run(vec![case])
}

/// Returns the type in a path's label.
fn kind(path: &Path) -> Result<Option<String>> {
    let mut buffer = [0; 256];
    let length = match lgetxattr(path, NAME, &mut buffer) {
        Err(Errno::NODATA) => return Ok(None),
        length => length.with_context(|| format!("reading the label of {}", path.display()))?,
    };
    let text = String::from_utf8(buffer[..length].to_vec())?;
    Ok(Some(text.split(':').nth(2).context("a label without a type")?.to_owned()))
}

fn unlabelled() -> Result<()> {
    // Not /tmp: a tmpfs may have no such attributes.
    let dir = tempfile::tempdir_in("/var/tmp")?;
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("inner/deep"))?;
    for name in ["plain", "inner/deep/file", "inner/kept", "one.file", "first"] {
        fs::write(top.join(name), "")?;
    }
    symlink("nowhere", top.join("link"))?;
    fs::hard_link(top.join("first"), top.join("second"))?;
    for (name, kind) in [("inner/kept", "kept_t"), ("inner", "inner_t")] {
        let label = format!("system_u:object_r:{kind}:s0\0");
        lsetxattr(top.join(name), NAME, label.as_bytes(), XattrFlags::empty()).context("labelling")?;
    }
    label_tree(&top, "top_t")?;
    for (name, expected) in [
        ("", Some("top_t")),
        ("plain", Some("top_t")),
        ("link", Some("top_t")),
        ("inner", Some("inner_t")),
        ("inner/deep", Some("inner_t")),
        ("inner/deep/file", Some("inner_t")),
        ("inner/kept", Some("kept_t")),
        ("one.file", None),
        ("first", None),
        ("second", None),
    ] {
        let found = kind(&top.join(name))?;
        ensure!(found.as_deref() == expected, "{name} has {found:?}");
    }
    Ok(())
}
