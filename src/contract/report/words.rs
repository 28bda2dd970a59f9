// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The account for people: what `slipstream status` prints. The first line says it all; the emergency shell shows that one.

use crate::handoff::{Endpoint, Leftover, Mco, Outcome, Status, Until};

/// Describes a boot in words; without a status it is one that nothing was asked of.
pub fn describe(status: Option<&Status>) -> String {
    let Some(status) = status else {
        return "slipstream did not run on this boot: no node image was requested.\n".to_owned();
    };
    let mut lines = vec![headline(status)];
    for (title, items) in [
        ("request", request(status)),
        ("bootimage", bootimage(status)),
        ("node image", node_image(status)),
        ("OpenShift", openshift(status)),
        ("stages", stages(status)),
        ("sources", status.endpoints().iter().map(endpoint).collect()),
        ("earlier tries", status.tries().iter().map(|earlier| earlier.reason.clone()).collect()),
        ("warnings", status.warnings().to_vec()),
        ("leftovers", status.leftovers().iter().map(leftover).collect()),
    ] {
        if !items.is_empty() {
            lines.push(format!("{title}:"));
            lines.extend(items.iter().map(|item| format!("  {item}")));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Describes a boot in one line, for the log.
pub fn summary(status: &Status) -> String {
    if status.outcome() != Outcome::Swapped {
        return ending(status);
    }
    let total: f64 = status.stages().iter().map(|stage| stage.seconds).sum();
    let image = status.node_image().map(|node| node.image.as_str()).unwrap_or_default();
    let reboot = if status.reboot().avoided { "without a reboot" } else { "but the MCO will reboot" };
    let each: Vec<_> = status.stages().iter().map(|stage| format!("{} {:.1}", stage.name, stage.seconds)).collect();
    format!("this boot runs {image}, {reboot}, after {total:.1} s of work ({})", each.join(", "))
}

fn headline(status: &Status) -> String {
    match status.outcome() {
        Outcome::Swapped if status.reboot().avoided => {
            "swapped: this boot runs the node image, one reboot was avoided".to_owned()
        }
        Outcome::Swapped => "swapped: this boot runs the node image, but the MCO will reboot".to_owned(),
        Outcome::AlreadyBooted | Outcome::Skipped | Outcome::Failed => ending(status),
    }
}

fn ending(status: &Status) -> String {
    match status.reason() {
        Some(reason) => format!("{}: {reason}", status.outcome()),
        None => status.outcome().to_string(),
    }
}

/// Sets a name before what there is to say about it.
fn row(name: &str, value: &str) -> String {
    format!("{name:<12}{value}")
}

/// Lists every key, its values, and where they were written.
fn request(status: &Status) -> Vec<String> {
    let mut rows = Vec::new();
    for (key, requested) in status.request() {
        let from = &requested.from;
        let values = requested.value.as_slice();
        rows.extend(values.iter().map(|value| row(key, format!("{value} ({from})").trim_start())));
    }
    rows
}

fn bootimage(status: &Status) -> Vec<String> {
    let Some(image) = status.bootimage() else { return Vec::new() };
    let running = if status.kernel().differs == Some(true) { " (running)" } else { "" };
    let mut rows: Vec<_> = image.version.iter().map(|version| row("version", version)).collect();
    rows.push(row("kernel", &format!("{}{running}", image.kernel)));
    rows.push(row("commit", &image.commit));
    rows.push(row("deployment", &image.deployment));
    rows
}

fn node_image(status: &Status) -> Vec<String> {
    let Some(image) = status.node_image() else { return Vec::new() };
    let later = if status.kernel().differs == Some(true) { " (after the next reboot)" } else { "" };
    let mut rows = vec![row("image", &image.image)];
    rows.extend(image.version.iter().map(|version| row("version", version)));
    rows.extend(image.kernel.iter().map(|kernel| row("kernel", &format!("{kernel}{later}"))));
    rows.extend(image.commit.iter().map(|commit| row("commit", commit)));
    rows.extend(image.deployment.iter().map(|deployment| row("deployment", deployment)));
    if image.etc_merged == Some(true) {
        rows.push(row("/etc", "local changes of the bootimage's are merged"));
    }
    rows
}

fn openshift(status: &Status) -> Vec<String> {
    let reboot = status.reboot();
    let mut rows: Vec<_> = match reboot.mco {
        Mco::Unknown => return Vec::new(),
        Mco::NothingToDo => vec!["the MCO has no reason to reboot".to_owned()],
        Mco::Reboots => {
            let reasons = reboot.reasons.iter().filter(|reason| Some(reason.as_str()) != status.reason());
            reasons.map(|reason| format!("the MCO reboots: {reason}")).collect()
        }
    };
    rows.extend(reboot.deferred_kargs.iter().map(|karg| format!("kernel argument for the next boot: {karg}")));
    rows
}

fn stages(status: &Status) -> Vec<String> {
    let line = |name: &str, seconds: f64, bytes: Option<u64>| {
        let bytes = bytes.map(|bytes| format!("{:>9.1} MB", bytes as f64 / 1e6));
        format!("{name:<12}{seconds:>8.3} s{}", bytes.unwrap_or_default())
    };
    let list = status.stages();
    let mut rows: Vec<_> = list.iter().map(|stage| line(stage.name.name(), stage.seconds, stage.bytes)).collect();
    if rows.len() > 1 {
        rows.push(line("in all", list.iter().map(|stage| stage.seconds).sum(), None));
    }
    rows
}

fn endpoint(endpoint: &Endpoint) -> String {
    format!("{}: {}", endpoint.source, endpoint.error.as_deref().unwrap_or("used"))
}

fn leftover(leftover: &Leftover) -> String {
    let until = match leftover.until {
        Until::Reboot => "until the reboot",
        Until::OstreeCleanup => "until libostree cleans up",
        Until::NextRequest => "until the next boot with slipstream",
    };
    format!("{} {}, {until}", leftover.kind, leftover.path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::handoff::{Bootimage, Ending, Facts, LeftoverKind, NodeImage, Stage, StageName, Try, Way};

    fn assert_lines(words: &str, lines: &[&str]) {
        for line in lines {
            assert!(words.lines().any(|found| found == *line), "{line:?} is not in\n{words}");
        }
    }

    fn stage(name: StageName, millis: u64, bytes: Option<u64>) -> Stage {
        Stage::new(name, Duration::from_millis(millis), bytes)
    }

    #[test]
    fn no_request() {
        assert!(describe(None).starts_with("slipstream did not run"));
    }

    #[test]
    fn a_failure() {
        let reason = "device LABEL=x did not appear within 30 s";
        let facts = Facts {
            stages: vec![stage(StageName::Source, 1500, Some(2_000_000))],
            endpoints: vec![Endpoint { source: "oci:LABEL=x:/node".to_owned(), error: Some(reason.to_owned()) }],
            tries: vec![Try { reason: "no network".to_owned() }],
            ..Facts::default()
        };
        let status = Status::new(facts, Ending::Failed(reason.to_owned()));
        let words = describe(Some(&status));
        assert_eq!(words.lines().next(), Some("failed: device LABEL=x did not appear within 30 s"));
        assert_eq!(summary(&status), "failed: device LABEL=x did not appear within 30 s");
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
        let leftover = Leftover { kind: LeftoverKind::File, path: "/x".to_owned(), until: Until::NextRequest };
        let words = describe(Some(&status.with_leftover(leftover)));
        assert_lines(&words, &["leftovers:", "  file /x, until the next boot with slipstream"]);
    }

    #[test]
    fn a_swap_says_which_kernel_runs() {
        let swap = |running: &str| {
            let facts = Facts {
                bootimage: Some(Bootimage { kernel: running.to_owned(), ..Default::default() }),
                node_image: Some(NodeImage {
                    image: "node".to_owned(),
                    kernel: Some("6.14".to_owned()),
                    etc_merged: Some(true),
                    ..Default::default()
                }),
                stages: vec![stage(StageName::Import, 20_000, Some(1)), stage(StageName::Swap, 5, None)],
                ..Facts::default()
            };
            Status::new(facts, Ending::Swapped(Way::BootLink))
        };
        let line = "this boot runs node, without a reboot, after 20.0 s of work (import 20.0, swap 0.0)";
        assert_eq!(summary(&swap("6.12")), line);
        assert_lines(
            &describe(Some(&swap("6.12"))),
            &[
                "swapped: this boot runs the node image, one reboot was avoided",
                "  kernel      6.12 (running)",
                "  kernel      6.14 (after the next reboot)",
                "  /etc        local changes of the bootimage's are merged",
                "  in all        20.005 s",
            ],
        );
        let words = describe(Some(&swap("6.14")));
        assert!(!words.contains("(running)") && !words.contains("(after"), "{words}");
    }
}
