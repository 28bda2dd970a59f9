// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What people write: kernel arguments, keyfiles, the boot link, Ignition configs and MachineConfigs.

use contract::boot_link::BootLink;
use contract::files::MAX_FILE;
use contract::names::SourceSpec;
use contract::request::ignition::Ignition;
use contract::request::{kargs as command_line, keyfile as keyfile_source};
use contract::request::mco::{MACHINE_CONFIG, MachineConfig, Node, decide};

/// A kernel command line.
pub fn kargs(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let arguments: Vec<_> = command_line::split(text).collect();
    assert!(arguments.iter().all(|argument| !argument.is_empty()), "an empty argument");
    // Joined again they are the same arguments, unless a quote was left open.
    if text.matches('"').count() % 2 == 0 {
        let joined = arguments.join(" ");
        assert_eq!(command_line::split(&joined).collect::<Vec<_>>(), arguments);
    }
    drop(command_line::value(text, "ostree"));
    for (key, value) in command_line::requested(text).unwrap_or_default() {
        assert!(!key.contains('='), "{key:?} has a value in it");
        if key == "source" {
            source(&value);
        }
    }
}

fn source(text: &str) {
    let Ok(spec) = SourceSpec::parse(text) else { return };
    if let SourceSpec::Layout { path, .. } | SourceSpec::Archive { path, .. } = &spec {
        assert!(path.is_absolute(), "{spec} is not absolute");
    }
    let again = SourceSpec::parse(&spec.to_string()).expect("what is printed can be parsed");
    assert_eq!(spec, again);
}

/// A keyfile.
pub fn keyfile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for (key, value) in keyfile_source::parse(text).unwrap_or_default() {
        assert!(!key.contains(['\n', '=']) && !value.contains('\n'), "{key:?} or {value:?} is more than a line");
    }
}

/// The value of `ostree=`.
pub fn boot_link(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if BootLink::parse(text).is_ok() {
        assert!(text.starts_with('/') && !text.split('/').any(|part| part == ".."), "{text:?} leads elsewhere");
    }
}

/// An Ignition config with a file `/f`, which may be packed in any way, and perhaps a MachineConfig.
pub fn ignition(data: &[u8]) {
    let Ok(config) = Ignition::parse(data) else { return };
    for path in ["/f", MACHINE_CONFIG] {
        if let Ok(Some(bytes)) = config.file(path) {
            assert!(bytes.len() as u64 <= MAX_FILE && config.has_file(path), "{path} has {} bytes", bytes.len());
        }
    }
    drop(MachineConfig::of(&config));
    drop(config.kargs(vec!["rw".to_owned()]));
}

/// A MachineConfig, and behind a NUL the options of a boot loader entry.
pub fn machine_config(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(machine) = MachineConfig::parse(&data[..at]) else { return };
    let cmdline = String::from_utf8_lossy(data.get(at + 1..).unwrap_or_default());
    let entry: Vec<_> = command_line::split(&cmdline).map(str::to_owned).collect();
    let fips = Node::is_fips(&cmdline);
    let node = Node { image: &machine.image, entry: &entry, cmdline: &cmdline, fips, force: false };
    let decision = decide(&machine, &node);
    assert_eq!(decision.reboot, !decision.reasons.is_empty(), "a reboot has a reason");
    if !decision.reboot {
        // The MCO's comparison.
        let found: Vec<_> = decision.kargs.iter().filter(|karg| machine.kargs.contains(karg)).collect();
        assert!(found.iter().copied().eq(&machine.kargs), "the MCO finds {found:?}, and wants {:?}", machine.kargs);
    }
}
