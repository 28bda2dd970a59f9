// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What kola fails a test for when it sees it on the console, whatever the test itself says: `consoleChecks` in
//! coreos-assembler's `mantle/kola/harness.go`.

/// A description, and pieces of text that stand in this order on one line.
const SIGNS: &[(&str, &[&str])] = &[
    ("emergency shell", &["Press Enter for emergency shell"]),
    ("emergency shell", &["Starting Emergency Shell"]),
    ("emergency shell", &["You are in emergency mode"]),
    ("dracut fatal", &["dracut: Refusing to continue"]),
    ("kernel panic", &["Kernel panic - not syncing: "]),
    ("kernel oops", &["Oops:"]),
    ("kernel warning", &["WARNING: CPU: ", " PID: ", " at "]),
    ("failure of disk under I/O", &["rejecting I/O to offline device"]),
    ("ext4 delayed allocation failure", &["EXT4-fs (", "): Delayed block allocation failed for inode "]),
    ("GRUB memory corruption", &["alloc magic", "broken"]),
    ("GRUB memory corruption", &["free magic", "broken"]),
    ("Ignition fetch cancellation race", &["ignition[", "]: failed to fetch config: context canceled"]),
    (
        "initrd-cleanup.service terminated",
        &["initrd-cleanup.service: Main process exited, code=killed, status=15/TERM"],
    ),
    ("Go panic", &["panic: "]),
    ("segfault", &["SIGSEGV"]),
    ("segfault", &["=11/SEGV"]),
    ("core dump", &["Core dump"]),
    ("core dump", &["core dump"]),
    ("systemd ordering cycle", &["Ordering cycle found"]),
    ("oom killer", &["invoked oom-killer"]),
    ("systemd generator failure", &["/system-generators/", " failed with exit status"]),
    ("systemd generator failure", &["/system-generators/", " terminated by signal"]),
    ("systemd generator failure", &["/system-generators/", " failed due to unknown reason"]),
];

/// Every bad line, with what it is a sign of.
pub fn bad_lines(console: &str) -> Vec<String> {
    let mut bad = Vec::new();
    for line in console.lines() {
        for (description, pieces) in SIGNS {
            if in_order(line, pieces) {
                bad.push(format!("{description}: {}", line.trim()));
            }
        }
    }
    bad
}

fn in_order(line: &str, pieces: &[&str]) -> bool {
    let mut rest = line;
    pieces.iter().all(|piece| match rest.split_once(piece) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::bad_lines;

    #[test]
    fn signs() {
        let table = [
            ("a panic", "[ 1.0] Kernel panic - not syncing: VFS: x\r", Some("kernel panic: [ 1.0] Kernel")),
            ("a shell", "Starting Emergency Shell...", Some("emergency shell: ")),
            ("a warning", "[ 1.0] WARNING: CPU: 0 PID: 12 at fs/x.c:1 y", Some("kernel warning: ")),
            ("the same pieces, otherwise", "PID: 12 at x WARNING: CPU: 0", None),
            ("over two lines", "WARNING: CPU: 0\n PID: 12 at x", None),
            ("a core dump", "systemd-coredump: Core dump of x", Some("core dump: ")),
            (
                "a generator",
                "/usr/lib/systemd/system-generators/x failed with exit status 1.",
                Some("systemd generator"),
            ),
            ("nothing", "slipstream[200]: error: sha256 mismatch", None),
        ];
        for (label, console, expected) in table {
            let bad = bad_lines(console);
            match expected {
                Some(expected) => assert!(bad.iter().any(|line| line.starts_with(expected)), "{label}: {bad:?}"),
                None => assert!(bad.is_empty(), "{label}: {bad:?}"),
            }
        }
    }
}
