// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn key(value: Values, from: &str) -> RequestedKey {
    RequestedKey { value, from: from.to_owned() }
}

/// Returns facts of a node image with another kernel, whose MachineConfig has an argument for the next boot.
fn facts(mco: Mco, reasons: &[&str]) -> Facts {
    let text = |text: &str| Some(text.to_owned());
    Facts {
        request: Requested::from([
            ("image".to_owned(), key(Values::One("auto".to_owned()), "ignition")),
            ("source".to_owned(), key(Values::Many(vec!["oci:/a".to_owned(), "registry".to_owned()]), "karg")),
        ]),
        bootimage: Some(Bootimage { kernel: "6.1".to_owned(), ..Bootimage::default() }),
        node_image: Some(NodeImage {
            image: "node".to_owned(),
            kernel: text("6.2"),
            deployment: text("ostree/deploy/os/deploy/x.0"),
            etc_merged: Some(true),
            ..NodeImage::default()
        }),
        stages: vec![Stage::new(StageName::Import, Duration::from_micros(1_234_567), Some(7))],
        endpoints: vec![Endpoint { source: "oci:/a".to_owned(), error: text("no such directory") }],
        foreseen: Foreseen {
            mco,
            reasons: reasons.iter().map(ToString::to_string).collect(),
            deferred_kargs: vec!["psi=0".to_owned()],
        },
        tries: vec![Try { reason: "no network".to_owned() }],
        leftovers: vec![Leftover::mount("/usr/lib/modules")],
        warnings: vec!["a warning".to_owned()],
    }
}

fn endings() -> [Ending; 4] {
    let reason = || "a reason".to_owned();
    [
        Ending::Swapped(Way::BootLink),
        Ending::AlreadyBooted(reason()),
        Ending::Skipped(reason()),
        Ending::Failed(reason()),
    ]
}

#[test]
fn what_is_read_is_what_was_written() {
    for ending in endings() {
        for facts in [Facts::default(), facts(Mco::Reboots, &["another image"]), facts(Mco::NothingToDo, &[])] {
            let status = Status::new(facts, ending.clone());
            let text = status.to_text().unwrap();
            assert!(text.starts_with("{\n  \"version\": 1,\n") && text.ends_with("}\n"), "{text}");
            assert_eq!(Status::parse(&text).unwrap(), status, "{ending:?}");
        }
    }
}

#[test]
fn the_document_has_words_and_values() {
    let status = Status::new(facts(Mco::NothingToDo, &[]), Ending::Swapped(Way::BootLink));
    let value: Value = serde_json::from_str(&status.to_text().unwrap()).unwrap();
    assert_eq!((&value["outcome"], &value["way"]), (&json!("swapped"), &json!("boot-link")));
    assert_eq!(value["request"]["image"], json!({"value": "auto", "from": "ignition"}));
    assert_eq!(value["request"]["source"], json!({"value": ["oci:/a", "registry"], "from": "karg"}));
    assert_eq!(value["kernel"], json!({"running": "6.1", "node_image": "6.2", "differs": true}));
    assert_eq!(value["stages"], json!([{"name": "import", "seconds": 1.235, "bytes": 7}]));
    assert_eq!(value["leftovers"], json!([{"kind": "mount", "path": "/usr/lib/modules", "until": "reboot"}]));
    assert_eq!(value["reboot"]["mco"], "nothing-to-do");
}

/// Puts a field of another version of the program into every object.
fn extend(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(extend);
            map.insert("a-further-field".to_owned(), json!({"value": [1.5, null], "from": "there"}));
        }
        Value::Array(list) => list.iter_mut().for_each(extend),
        _ => {}
    }
}

#[test]
fn further_fields_are_passed_over() {
    for ending in endings() {
        let status = Status::new(facts(Mco::Reboots, &["another image"]), ending);
        let mut value: Value = serde_json::from_str(&status.to_text().unwrap()).unwrap();
        // A key of the request is known by its name alone, so a further one is one more key.
        let request = value["request"].take();
        extend(&mut value);
        value["request"] = request;
        extend(&mut value["request"]["image"]);
        assert_eq!(Status::parse(&value.to_string()).unwrap(), status);
    }
}

#[test]
fn what_is_not_a_status() {
    let status = Status::new(facts(Mco::NothingToDo, &[]), Ending::Swapped(Way::BootLink));
    let text = status.to_text().unwrap();
    for (label, text, expected) in [
        ("cut", text[..100].to_owned(), "parsing it: EOF"),
        ("another version", text.replace("\"version\": 1,", "\"version\": 2,"), "it has version 2, not 1"),
        ("another form", r#"{"version": 3, "outcome": 7}"#.to_owned(), "it has version 3, not 1"),
        ("no version", "{}".to_owned(), "it has version 0, not 1"),
        ("no outcome", r#"{"version": 1}"#.to_owned(), "missing field"),
        ("another word", text.replace("boot-link", "kexec"), "\"kexec\" is not a word that is known here"),
        ("another value", text.replace("\"auto\"", "7"), "the value of a key is 7"),
        ("another type", text.replace("\"6.1\"", "6.1"), "expected a string"),
    ] {
        let error = format!("{:#}", Status::parse(&text).unwrap_err());
        assert!(error.contains(expected), "{label}: {error}");
    }
}

#[test]
fn what_follows_from_the_facts() {
    let [swapped, booted, skipped, failed] = endings();
    for (label, ending, mco, reasons, avoided, differs, expected) in [
        ("swapped", swapped.clone(), Mco::NothingToDo, vec![], true, Some(true), vec![]),
        ("not a node", swapped.clone(), Mco::Unknown, vec![], true, Some(true), vec![]),
        ("pull", swapped, Mco::Reboots, vec!["fips"], false, Some(true), vec!["fips"]),
        ("booted", booted, Mco::Unknown, vec![], false, Some(false), vec!["a reason"]),
        ("a policy", skipped.clone(), Mco::Unknown, vec![], false, Some(false), vec!["a reason"]),
        ("the MCO", skipped, Mco::Reboots, vec!["fips", "kernel"], false, Some(false), vec!["fips", "kernel"]),
        ("failed", failed.clone(), Mco::NothingToDo, vec![], false, None, vec!["a reason"]),
        ("pull that failed", failed, Mco::Reboots, vec!["fips"], false, None, vec!["a reason", "fips"]),
    ] {
        let status = Status::new(facts(mco, &reasons), ending.clone());
        assert_eq!((status.reboot().avoided, status.kernel().differs), (avoided, differs), "{label}");
        assert_eq!(status.reboot().reasons, expected, "{label}");
        assert_eq!(status.reboot().deferred_kargs, ["psi=0"], "{label}");
        assert_eq!(status.way().is_some(), status.outcome() == Outcome::Swapped, "{label}");
        // Without a deployment there is no entry that the arguments could be in.
        let early = Facts { node_image: None, ..facts(mco, &reasons) };
        assert!(Status::new(early, ending).reboot().deferred_kargs.is_empty(), "{label}");
    }
}

#[test]
fn a_swap_is_settled_or_not() {
    let swapped = |mco, reasons: &[&str]| Status::new(facts(mco, reasons), Ending::Swapped(Way::BootLink));
    let stage = Stage::new(StageName::Settle, Duration::from_secs(1), None);
    let settled = swapped(Mco::NothingToDo, &[]).settled(stage.clone(), vec![Leftover::file("/run/slipstream")]);
    assert_eq!((settled.outcome(), settled.stages().last()), (Outcome::Swapped, Some(&stage)));
    assert_eq!(settled.leftovers().len(), 2);
    for (mco, reasons) in [(Mco::NothingToDo, vec![]), (Mco::Reboots, vec!["fips"])] {
        let failed = swapped(mco, &reasons).settling_failed("no memory");
        let Facts { node_image, stages, leftovers, .. } = facts(mco, &reasons);
        assert_eq!((failed.outcome(), failed.way()), (Outcome::Failed, None));
        assert_eq!(failed.reason(), Some("settling the root: no memory"));
        assert!(!failed.reboot().avoided && failed.kernel().differs.is_none(), "not known");
        assert_eq!(failed.reboot().reasons, [vec!["settling the root: no memory"], reasons].concat());
        assert_eq!((failed.reboot().mco, failed.reboot().deferred_kargs.len()), (mco, 1));
        assert_eq!((failed.node_image(), failed.stages()), (node_image.as_ref(), stages.as_slice()));
        assert_eq!(failed.leftovers(), leftovers);
    }
    let more = Leftover { kind: LeftoverKind::File, path: "/x".to_owned(), until: Until::NextRequest };
    assert_eq!(settled.with_leftover(more.clone()).leftovers().last(), Some(&more));
}

#[test]
fn long_texts_are_cut_once() {
    let long = "é".repeat(10_000);
    let mut facts = facts(Mco::Reboots, &[&long]);
    facts.endpoints[0].error = Some(long.clone());
    let status = Status::new(facts, Ending::Failed(long));
    let error = status.endpoints()[0].error.as_deref().unwrap_or_default();
    let texts = [status.reason().unwrap_or_default(), error, &status.reboot().reasons[0], &status.reboot().reasons[1]];
    assert!(texts.iter().all(|text| text.len() < 2010 && text.contains(" … ")), "{texts:?}");
}
