// SPDX-License-Identifier: Apache-2.0 OR MIT
//! For operators: that the node image runs on another kernel than its own. A file that node labels can be made from, and a
//! message of the day. Both are below `/run`, so that they are gone when the node image's own kernel runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use contract::handoff::{Leftover, Status};
use contract::report::replace;

/// Name of the file with node features in the run directory.
pub const FEATURES_FILE: &str = "node-features";
/// Below `/run`: files here are shown by pam_motd(8), and by CoreOS's login messages.
const MOTD_DIR: &str = "motd.d";
const MOTD_FILE: &str = "50-slipstream";
/// Prefix of what Node Feature Discovery may set; a kubelet may set it, too.
const NAMESPACE: &str = "feature.node.kubernetes.io/slipstream.";
/// Longest value of a label, in bytes (Kubernetes, `LabelValueMaxLength`).
const MAX_LABEL: usize = 63;
/// Longest kernel version in the message, in bytes. Linux's own has at most 64.
const MAX_SHOWN: usize = 64;

/// Shows operators the kernels of a boot that was swapped. `run` is `/run`. Returns what is not in `run_dir`. What cannot be
/// written is a warning: the root is as it should be.
pub fn publish_kernel(run: &Path, run_dir: &Path, status: &Status) -> Option<Leftover> {
    let warned = |result: Result<()>| match result {
        Ok(()) => true,
        Err(error) => {
            log::warn!("showing operators the kernel: {error:#}");
            false
        }
    };
    warned(replace(run_dir, FEATURES_FILE, &features(status)));
    let written = warned(write_message(&run.join(MOTD_DIR), &message(status)?));
    written.then(|| Leftover::file(format!("/run/{MOTD_DIR}/{MOTD_FILE}")))
}

fn write_message(dir: &Path, message: &str) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    replace(dir, MOTD_FILE, message)
}

/// Returns lines `label=value`, as the local source of Node Feature Discovery reads them.
fn features(status: &Status) -> String {
    let kernel = status.kernel();
    let value = |kernel: &Option<String>| label_value(kernel.as_deref().unwrap_or_default());
    [
        ("swapped", "true".to_owned()),
        ("kernel-differs", kernel.differs.map_or("unknown".to_owned(), |differs| differs.to_string())),
        ("kernel-running", value(&kernel.running)),
        ("kernel-node-image", value(&kernel.node_image)),
    ]
    .map(|(name, value)| format!("{NAMESPACE}{name}={value}\n"))
    .concat()
}

/// Returns a text as the value of a label: letters, digits, `-`, `_`, `.`, the first and last a letter or digit. Others become `_`,
/// as in Node Feature Discovery's own label `kernel-version.full`, so that the two can be compared.
fn label_value(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let value: String = text.chars().map(legal).skip_while(|c| !c.is_ascii_alphanumeric()).take(MAX_LABEL).collect();
    value.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// Returns the message of the day; `None` if the kernels are the same.
fn message(status: &Status) -> Option<String> {
    let kernel = status.kernel();
    if kernel.differs != Some(true) {
        return None;
    }
    // The name of a directory of the image, on a terminal.
    let shown = |kernel: &Option<String>| -> String {
        let text = kernel.as_deref().unwrap_or_default().chars();
        text.map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(MAX_SHOWN).collect()
    };
    Some(format!(
        "This boot runs the node image on the bootimage's kernel {}.\nIts own kernel {} runs after the next reboot.\n\
         What it means: slipstream(8). What else happened: slipstream status.\n",
        shown(&kernel.running),
        shown(&kernel.node_image)
    ))
}

#[cfg(test)]
mod tests {
    use contract::handoff::{Bootimage, Ending, Facts, LeftoverKind, NodeImage, Way};

    use super::*;

    fn status(running: &str, node_image: &str) -> Status {
        let facts = Facts {
            bootimage: Some(Bootimage { kernel: running.to_owned(), ..Default::default() }),
            node_image: Some(NodeImage { kernel: Some(node_image.to_owned()), ..Default::default() }),
            ..Facts::default()
        };
        Status::new(facts, Ending::Swapped(Way::BootLink))
    }

    #[test]
    fn label_values_are_legal() {
        for (label, text, expected) in [
            ("RHEL", "5.14.0-570.12.1.el9_6.x86_64", "5.14.0-570.12.1.el9_6.x86_64"),
            ("64k pages", "5.14.0-570.12.1.el9_6.aarch64+64k", "5.14.0-570.12.1.el9_6.aarch64_64k"),
            ("a local build", "6.12.0+", "6.12.0"),
            ("Debian", "6.12.1+deb13-amd64", "6.12.1_deb13-amd64"),
            ("no letter first", "+-.6.1", "6.1"),
            ("not ASCII", "6.1-ä\n", "6.1"),
            ("nothing legal", "+++", ""),
            ("empty", "", ""),
            ("too long", &"a".repeat(70), &"a".repeat(63)),
            ("cut at a sign", &format!("{}+b", "a".repeat(62)), &"a".repeat(62)),
        ] {
            assert_eq!(label_value(text), expected, "{label}");
        }
    }

    #[test]
    fn two_kernels_are_shown() {
        let run = tempfile::tempdir().unwrap();
        let run_dir = run.path().join("slipstream");
        fs::create_dir(&run_dir).unwrap();
        let leftover = publish_kernel(run.path(), &run_dir, &status("6.1.0+rt", "6.2\x1b[2J")).unwrap();
        assert_eq!((leftover.kind, leftover.path.as_str()), (LeftoverKind::File, "/run/motd.d/50-slipstream"));
        let features = fs::read_to_string(run_dir.join(FEATURES_FILE)).unwrap();
        let prefix = "feature.node.kubernetes.io/slipstream.";
        let expected = ["swapped=true", "kernel-differs=true", "kernel-running=6.1.0_rt", "kernel-node-image=6.2__2J"];
        assert_eq!(features.lines().collect::<Vec<_>>(), expected.map(|line| format!("{prefix}{line}")));
        let motd = fs::read_to_string(run.path().join("motd.d/50-slipstream")).unwrap();
        assert!(motd.contains("kernel 6.1.0+rt.\n") && motd.contains("kernel 6.2_[2J runs"), "{motd}");
        assert!(motd.lines().count() <= 3 && motd.lines().all(|line| line.len() <= 120), "{motd}");
    }

    #[test]
    fn one_kernel_is_no_news() {
        let run = tempfile::tempdir().unwrap();
        assert!(publish_kernel(run.path(), run.path(), &status("6.1", "6.1")).is_none());
        let features = fs::read_to_string(run.path().join(FEATURES_FILE)).unwrap();
        assert!(features.contains("slipstream.kernel-differs=false\n"), "{features}");
        assert!(!run.path().join("motd.d").exists());
    }

    #[test]
    fn one_file_does_not_depend_on_the_other() {
        for (blocked, written) in [("features", "motd.d/50-slipstream"), ("motd", "node-features")] {
            let run = tempfile::tempdir().unwrap();
            match blocked {
                "motd" => fs::write(run.path().join(MOTD_DIR), "a file").unwrap(),
                _ => fs::create_dir(run.path().join(FEATURES_FILE)).unwrap(),
            }
            let leftover = publish_kernel(run.path(), run.path(), &status("6.1", "6.2"));
            assert_eq!(leftover.is_some(), blocked != "motd", "{blocked}");
            assert!(run.path().join(written).is_file(), "{blocked}");
        }
    }
}
