// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What people write: kernel arguments, keyfiles, the boot link.

use slipstream::request::kargs as command_line;
use slipstream::root::swap::BootLink;
use slipstream::source::SourceSpec;

/// What `kargs.rs` expects beside it.
const KARG_PREFIX: &str = slipstream::request::KARG_PREFIX;

// Private in slipstream.
#[allow(dead_code)]
#[path = "../../src/request/kargs.rs"]
mod kargs_source;
#[path = "../../src/request/keyfile.rs"]
mod keyfile_source;

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
    for (key, value) in kargs_source::requested(text).unwrap_or_default() {
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
