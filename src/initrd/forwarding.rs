// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether the journal of the initramfs is shown on the console anyway: CoreOS has journald forward it to the kernel's log. Then
//! lines that we have journald print there as well would come twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use contract::request::kargs;

/// journald.conf(5): the file, and the directories of drop-ins, from the weakest to the strongest.
const FILES: [&str; 2] = ["etc/systemd/journald.conf", "usr/lib/systemd/journald.conf"];
const DROP_INS: [&str; 4] = [
    "usr/lib/systemd/journald.conf.d",
    "usr/local/lib/systemd/journald.conf.d",
    "run/systemd/journald.conf.d",
    "etc/systemd/journald.conf.d",
];
const SECTION: &str = "[Journal]";
const KEY: &str = "ForwardToKMsg";
const KARG: &str = "systemd.journald.forward_to_kmsg";
/// The kernel's console level comes first in it: lower levels are printed.
pub const PRINTK: &str = "/proc/sys/kernel/printk";
/// The level of our lines, but for warnings and errors.
const INFO: u8 = 6;
/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Returns whether journald forwards to the kernel's log, below this root and with this command line.
pub fn is_forwarded(root: &Path, cmdline: &str) -> bool {
    if let Some(argument) = kargs::split(cmdline).filter(|karg| karg.split('=').next() == Some(KARG)).last() {
        return argument.split_once('=').is_none_or(|(_, value)| truth(value));
    }
    let main = FILES.iter().map(|name| root.join(name)).find(|path| path.exists());
    // Of one name the strongest directory's counts, and all are read in the order of their names.
    let mut drop_ins = BTreeMap::new();
    for dir in DROP_INS {
        for entry in fs::read_dir(root.join(dir)).into_iter().flatten().flatten() {
            drop_ins.insert(entry.file_name(), entry.path());
        }
    }
    let drop_ins = drop_ins.into_values().filter(|path| path.extension().is_some_and(|extension| extension == "conf"));
    main.into_iter().chain(drop_ins).rev().find_map(|path| value(&path)).unwrap_or_default()
}

/// Whether messages of our level that are in the kernel's log go to the console: not on a boot that is `quiet`.
pub fn is_printed(printk: &Path) -> bool {
    let text = fs::read_to_string(printk).unwrap_or_default();
    text.split_whitespace().next().and_then(|level| level.parse().ok()).is_some_and(|level: u8| level > INFO)
}

fn value(path: &Path) -> Option<bool> {
    if fs::metadata(path).ok()?.len() > MAX_FILE {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let mut in_section = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_section = line == SECTION;
        } else if let Some((key, value)) = line.split_once('=')
            && in_section
            && key.trim() == KEY
        {
            found = Some(truth(value.trim()));
        }
    }
    found
}

/// As systemd reads it.
fn truth(text: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let yes = "[Journal]\nForwardToKMsg=yes\nMaxLevelKMsg=info\n";
        let no = "[Journal]\nForwardToKMsg = no\n";
        let etc = "etc/systemd/journald.conf.d/00-journal-log-forwarding.conf";
        let usr = "usr/lib/systemd/journald.conf.d/00-journal-log-forwarding.conf";
        for (label, cmdline, files, expected) in [
            ("nothing", "quiet", vec![], false),
            ("CoreOS", "quiet", vec![(etc, yes)], true),
            ("in the vendor's", "quiet", vec![("usr/lib/systemd/journald.conf", yes)], true),
            ("the administrator's of the same name", "quiet", vec![(usr, yes), (etc, no)], false),
            ("a later name", "quiet", vec![(etc, yes), ("usr/lib/systemd/journald.conf.d/50-x.conf", no)], false),
            ("no drop-in", "quiet", vec![("etc/systemd/journald.conf.d/x.bak", yes)], false),
            ("another section", "quiet", vec![(etc, "[Upload]\nForwardToKMsg=yes\n")], false),
            ("an argument", "systemd.journald.forward_to_kmsg", vec![(etc, no)], true),
            ("an argument that says no", "systemd.journald.forward_to_kmsg=0", vec![(etc, yes)], false),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = root.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(is_forwarded(root.path(), cmdline), expected, "{label}");
        }
    }
}
