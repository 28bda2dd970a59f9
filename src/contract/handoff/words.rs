// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The account for people: what `slipstream status` prints. The first line says it all; the emergency shell shows that one.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::handoff::status::{Outcome, read_status};

/// The status file in words.
pub fn describe(run_dir: &Path) -> Result<String> {
    let Some(status) = read_status(run_dir)? else {
        return Ok("slipstream did not run on this boot: no node image was requested.\n".to_owned());
    };
    let mut lines = vec![headline(&status)];
    for (title, items) in [
        ("request", request(&status)),
        ("bootimage", image(&status, "bootimage")),
        ("node image", image(&status, "node_image")),
        ("OpenShift", openshift(&status)),
        ("stages", stages(&status)),
        ("sources", items(&status, "endpoints", source)),
        ("earlier tries", items(&status, "tries", |item| text(&item["reason"]))),
        ("leftovers", items(&status, "leftovers", leftover)),
    ] {
        if !items.is_empty() {
            lines.push(format!("{title}:"));
            lines.extend(items.iter().map(|item| format!("  {item}")));
        }
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn headline(status: &Value) -> String {
    let outcome = text(&status["outcome"]);
    match Outcome::parse(&outcome) {
        Some(Outcome::Swapped) if status["reboot"]["avoided"] == true => {
            "swapped: this boot runs the node image, one reboot was avoided".to_owned()
        }
        Some(Outcome::Swapped) => "swapped: this boot runs the node image, but the MCO will reboot".to_owned(),
        _ => format!("{outcome}: {}", text(&status["reason"])),
    }
}

/// A name, and what there is to say about it.
fn row(name: &str, value: &str) -> String {
    format!("{name:<12}{value}")
}

fn items(status: &Value, field: &str, words: fn(&Value) -> String) -> Vec<String> {
    status[field].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(words).collect()
}

/// Every key, its values, and where they were written.
fn request(status: &Value) -> Vec<String> {
    let mut rows = Vec::new();
    for (key, setting) in status["request"].as_object().into_iter().flatten() {
        let values = match setting["value"].as_array() {
            Some(values) => values.iter().map(text).collect(),
            None => vec![text(&setting["value"])],
        };
        let from = text(&setting["from"]);
        rows.extend(values.iter().map(|value| row(key, format!("{value} ({from})").trim_start())));
    }
    rows
}

fn image(status: &Value, name: &str) -> Vec<String> {
    let image = &status[name];
    let mut rows = Vec::new();
    for field in ["image", "version", "kernel", "commit", "deployment"] {
        let Some(value) = image[field].as_str() else { continue };
        rows.push(row(field, &format!("{value}{}", if field == "kernel" { runs(status, name) } else { "" })));
    }
    if image["etc_merged"] == true {
        rows.push(row("/etc", "local changes of the bootimage's are merged"));
    }
    rows
}

/// Which of two kernels runs, where that could be mistaken.
fn runs(status: &Value, name: &str) -> &'static str {
    let differ = status["bootimage"]["kernel"] != status["node_image"]["kernel"];
    match name {
        _ if !differ || status["outcome"] != Outcome::Swapped.name() => "",
        "bootimage" => " (running)",
        _ => " (after the next reboot)",
    }
}

fn openshift(status: &Value) -> Vec<String> {
    let reboot = &status["reboot"];
    let mut rows = match reboot["mco"].as_str() {
        Some("nothing-to-do") => vec!["the MCO has no reason to reboot".to_owned()],
        Some("reboots") => items(reboot, "reasons", |reason| format!("the MCO reboots: {}", text(reason))),
        _ => return Vec::new(),
    };
    rows.extend(items(reboot, "deferred_kargs", |karg| format!("kernel argument for the next boot: {}", text(karg))));
    rows
}

fn stages(status: &Value) -> Vec<String> {
    let seconds = |stage: &Value| stage["seconds"].as_f64().unwrap_or_default();
    let line = |name: &str, seconds: f64, bytes: Option<u64>| {
        let bytes = bytes.map(|bytes| format!("{:>9.1} MB", bytes as f64 / 1e6));
        format!("{name:<12}{seconds:>8.3} s{}", bytes.unwrap_or_default())
    };
    let list = status["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rows: Vec<_> =
        list.iter().map(|stage| line(&text(&stage["name"]), seconds(stage), stage["bytes"].as_u64())).collect();
    if rows.len() > 1 {
        rows.push(line("in all", list.iter().map(seconds).sum(), None));
    }
    rows
}

fn source(item: &Value) -> String {
    format!("{}: {}", text(&item["source"]), item["error"].as_str().unwrap_or("used"))
}

fn leftover(item: &Value) -> String {
    let until = match item["until"].as_str() {
        Some("reboot") => "until the reboot",
        Some("ostree-cleanup") => "until libostree cleans up",
        Some("next-request") => "until the next boot with slipstream",
        _ => "-",
    };
    format!("{} {}, {until}", text(&item["kind"]), text(&item["path"]))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::handoff::{BootimageReport, Leftover, NodeImageReport, Status, Try, append_leftover};
    use crate::names::Digest;

    fn told(status: &Status) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        assert!(describe(directory.path()).unwrap().starts_with("slipstream did not run"));
        status.write(directory.path()).unwrap();
        let told = describe(directory.path()).unwrap();
        (directory, told)
    }

    fn assert_lines(told: &str, lines: &[&str]) {
        for line in lines {
            assert!(told.lines().any(|found| found == *line), "{line:?} is not in\n{told}");
        }
    }

    #[test]
    fn a_failure() {
        let mut status = Status::new(Outcome::Failed);
        status.reason = Some("device LABEL=x did not appear within 30 s".to_owned());
        status.stages.push(("source", Duration::from_millis(1500), Some(2_000_000)));
        status.endpoints.push(("oci:LABEL=x:/node".to_owned(), status.reason.clone()));
        status.tries.push(Try { request: Digest::of(b""), reason: "no network".to_owned() });
        let (directory, words) = told(&status);
        assert_eq!(words.lines().next(), Some("failed: device LABEL=x did not appear within 30 s"));
        assert_lines(
            &words,
            &[
                "  source         1.500 s      2.0 MB",
                "  oci:LABEL=x:/node: device LABEL=x did not appear within 30 s",
                "earlier tries:",
                "  no network",
            ],
        );
        assert!(!words.contains("leftovers") && !words.contains("OpenShift"), "{words}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "the status and its metrics, no temporary file");
        let leftover = Leftover { kind: "file", path: "/x".to_owned(), until: "next-request" };
        append_leftover(directory.path(), &leftover).unwrap();
        let words = describe(directory.path()).unwrap();
        assert_lines(&words, &["leftovers:", "  file /x, until the next boot with slipstream"]);
    }

    #[test]
    fn a_swap_says_which_kernel_runs() {
        let mut status = Status::new(Outcome::Swapped);
        let mut bootimage = BootimageReport { kernel: "6.12".to_owned(), ..Default::default() };
        let node = NodeImageReport { kernel: Some("6.14".to_owned()), etc_merged: Some(true), ..Default::default() };
        (status.bootimage, status.node_image) = (Some(bootimage.clone()), Some(node));
        status.stages = vec![("import", Duration::from_secs(20), Some(1)), ("swap", Duration::from_millis(5), None)];
        let (_directory, words) = told(&status);
        assert_lines(
            &words,
            &[
                "swapped: this boot runs the node image, one reboot was avoided",
                "  kernel      6.12 (running)",
                "  kernel      6.14 (after the next reboot)",
                "  /etc        local changes of the bootimage's are merged",
                "  in all        20.005 s",
            ],
        );
        bootimage.kernel = "6.14".to_owned();
        status.bootimage = Some(bootimage);
        let (_directory, words) = told(&status);
        assert!(!words.contains("(running)") && !words.contains("(after"), "{words}");
    }
}
