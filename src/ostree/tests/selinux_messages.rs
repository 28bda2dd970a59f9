// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages of libselinux go to the debug log, and nowhere else.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use ostree::{SePolicy, log_selinux_messages};

/// Set for the process that looks up a label: the root with the policy.
const CHILD: &str = "SLIPSTREAM_TEST_POLICY";

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("{}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// A root whose compiled file of labels is of another version than libselinux can read.
fn write_policy(root: &Path) {
    let etc = root.join("usr/etc/selinux");
    for directory in ["test/contexts/files", "test/policy"] {
        fs::create_dir_all(etc.join(directory)).unwrap();
    }
    fs::write(etc.join("config"), "SELINUX=enforcing\nSELINUXTYPE=test\n").unwrap();
    fs::write(etc.join("test/policy/policy.33"), "").unwrap();
    let contexts = etc.join("test/contexts/files/file_contexts");
    fs::write(&contexts, "/.*\tsystem_u:object_r:default_t:s0\n").unwrap();
    let old = fs::File::options().write(true).open(&contexts).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    fs::write(contexts.with_extension("bin"), b"\xff\xff\xff\xff not what it should be\n").unwrap();
}

#[test]
fn goes_to_the_debug_log() {
    if let Some(root) = std::env::var_os(CHILD) {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
        log_selinux_messages();
        let policy = SePolicy::at(Path::new(&root)).unwrap().unwrap();
        let label = policy.label("/usr/bin/x", 0o100_755).unwrap();
        assert_eq!(label.as_deref(), Some("system_u:object_r:default_t:s0"));
        return;
    }
    let root = tempfile::tempdir().unwrap();
    write_policy(root.path());
    let own = std::env::current_exe().unwrap();
    let output =
        Command::new(own).args(["--nocapture", "--exact", "goes_to_the_debug_log"]).env(CHILD, root.path()).output();
    let output = output.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("DEBUG: libselinux: ") && out.contains("file_contexts.bin"), "{out}");
    assert!(!err.contains("file_contexts"), "{err}");
}
