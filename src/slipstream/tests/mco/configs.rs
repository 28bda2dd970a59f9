// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Each Ignition config: its files, the request in it, and the decision by its annotations.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use contract::request::Settings;
use contract::request::mco::{MachineConfig, Node, decide};
use testkit::suite::{Case, module};

use crate::corpus::{IMAGE, ignition, split};

/// A result, or a part of the error.
type Expected<T> = std::result::Result<T, &'static str>;

pub fn cases() -> Vec<Case> {
    let files = FILES.map(|(name, config, path, expected)| Case::new(name, move || reads(config, path, expected)));
    let requests =
        REQUESTS.map(|(name, config, cmdline, expected)| Case::new(name, move || requests(config, cmdline, expected)));
    let annotated = ANNOTATED.map(|(name, config, expected)| Case::new(name, move || annotated(config, expected)));
    [
        module("file", files),
        module("request", requests),
        module("annotations", annotated),
        vec![Case::new("adds_and_removes_kernel_arguments", kernel_arguments)],
    ]
    .into_iter()
    .flatten()
    .collect()
}

const PACKED: &str = "packed text\n";

/// Name, config, path, and the file's text.
const FILES: [(&str, &str, &str, Expected<&str>); 12] = [
    (
        "is_decoded_from_percents",
        "3.0-percent",
        "/etc/containers/registries.conf",
        Ok("unqualified-search-registries = [\"registry.example.com\"]\n"),
    ),
    ("is_decoded_in_lines", "3.0-percent", "/etc/slipstream.conf", Ok("[slipstream]\nimage = auto\n")),
    ("is_decoded_from_base64", "3.1-base64-gzip", "/etc/plain", Ok("plain text\n")),
    ("is_unpacked", "3.1-base64-gzip", "/etc/packed", Ok(PACKED)),
    (
        "has_to_have_its_hash",
        "3.1-base64-gzip",
        "/etc/packed-wrong",
        Err("/etc/packed-wrong of the Ignition config: sha512 mismatch"),
    ),
    ("is_appended_to", "3.4-append", "/etc/hosts.d/list", Ok("first\nsecond\nthird\n")),
    ("may_be_appended_only", "3.4-append", "/etc/only-appended", Ok("more\nand more\n")),
    ("may_not_come_from_https", "3.5-remote", "/etc/slipstream.conf", Err("it has a remote source (https)")),
    ("may_not_come_from_s3", "3.5-remote", "/var/lib/kubelet/config.json", Err("it has a remote source (s3)")),
    (
        "may_not_come_from_http",
        "3.5-remote",
        "/etc/ignition-machine-config-encapsulated.json",
        Err("it has a remote source (http)"),
    ),
    ("may_be_empty", "3.6-experimental", "/etc/empty", Ok("")),
    ("is_not_of_version_2", "2.2", "/etc/x", Err("Ignition config has version \"2.2.0\", not 3.x")),
];

fn reads(name: &str, path: &str, expected: Expected<&str>) -> Result<()> {
    match (ignition(name).and_then(|config| config.file(path)), expected) {
        (Ok(Some(bytes)), Ok(text)) => {
            let text = if text == PACKED { text.repeat(100) } else { text.to_owned() };
            ensure!(String::from_utf8_lossy(&bytes) == text, "{:?}", String::from_utf8_lossy(&bytes));
        }
        (Err(error), Err(text)) => {
            let error = format!("{error:#}");
            ensure!(error.contains(text) && !error.contains("hunter2"), "{error}");
        }
        (got, _) => bail!("{got:?}"),
    }
    Ok(())
}

const AUTO: &str = "slipstream.image=auto slipstream.source=oci:/x";

/// Name, config, command line, and the image that is asked for.
const REQUESTS: [(&str, &str, &str, Expected<Option<&str>>); 7] = [
    ("is_that_of_the_machine_config_server", "3.2-machine-config-server", "", Ok(Some(IMAGE))),
    ("is_taken_back_by_an_argument", "3.2-machine-config-server", "slipstream.image=none", Ok(None)),
    ("is_not_made_by_a_machine_config_alone", "3.3-kernel-arguments", "", Ok(None)),
    ("is_made_by_an_argument", "3.3-kernel-arguments", AUTO, Ok(Some(IMAGE))),
    ("is_not_for_the_image_of_the_annotations", "3.5-other-annotation", AUTO, Ok(Some(IMAGE))),
    // It wants image=auto, and is not a node of OpenShift.
    ("is_for_nothing_without_a_machine_config", "3.0-percent", "", Ok(None)),
    ("fails_with_a_remote_file", "3.5-remote", "", Err("reading file /etc/slipstream.conf of the Ignition config")),
];

fn requests(name: &str, cmdline: &str, expected: Expected<Option<&str>>) -> Result<()> {
    let config = ignition(name)?;
    let request = Settings::read(&format!("ignition.firstboot {cmdline}"), Path::new("/nonexistent"), &config)
        .and_then(|settings| settings.request(&config))
        .map(|request| request.map(|request| request.image.to_string()));
    match (request, expected) {
        (Ok(image), Ok(expected)) => ensure!(image.as_deref() == expected, "{image:?}"),
        (Err(error), Err(text)) => ensure!(format!("{error:#}").contains(text), "{error:#}"),
        (got, _) => bail!("{got:?}"),
    }
    Ok(())
}

/// Name, config, and the reason for a reboot if there is one.
const ANNOTATED: [(&str, &str, Option<&str>); 3] = [
    ("are_of_no_concern_if_there_are_none", "3.2-machine-config-server", None),
    ("with_the_same_image_need_no_reboot", "3.3-kernel-arguments", None),
    (
        "with_another_image_are_another_reboot",
        "3.5-other-annotation",
        Some("the node's annotations have image \"image-registry."),
    ),
];

fn annotated(name: &str, expected: Option<&str>) -> Result<()> {
    let machine = MachineConfig::of(&ignition(name)?)?.context("there is no MachineConfig")?;
    ensure!(machine.name == "rendered-worker-5c0ffee5c0ffee5c0ffee5c0ffee5c0f", "{}", machine.name);
    let decision = decide(&machine, &Node { image: IMAGE, entry: &[], cmdline: "", fips: false, force: false });
    ensure!(decision.reboot == expected.is_some(), "{decision:?}");
    let first = decision.reasons.first().map(String::as_str).unwrap_or_default();
    ensure!(first.contains(expected.unwrap_or_default()), "{first}");
    Ok(())
}

fn kernel_arguments() -> Result<()> {
    let kargs = ignition("3.3-kernel-arguments")?.kargs(split("rw quiet"));
    ensure!(kargs == ["rw", "mitigations=auto,nosmt"], "{kargs:?}");
    Ok(())
}
