// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The documentation says what the program does: keys, commands and options, the status file, links, units.
//!
//! With `SLIPSTREAM_UPDATE_DOCS=1` the tables of keys are written anew instead of compared.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod house;
mod programs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use argh::FromArgs;
use contract::handoff::{
    BootLoaderUpdate, Bootimage, Ending, Endpoint, Facts, Foreseen, Leftover, Mco, NodeImage, Signature, Stage,
    StageName, Status, Try, Way,
};
use contract::report::{MESSAGE_ID, Record};
use contract::request::ignition::Ignition;
use contract::request::{KEYS, Settings};
use initrd::cli::Initrd;
use serde_json::{Value, json};
use testkit::schema::strict;

const USAGE: &str = "docs/usage.md";
const MAN: &str = "docs/man/slipstream.8";
const UNITS_MAN: &str = "docs/man/slipstream.service.8";
const SCHEMA: &str = "docs/status.schema.json";

fn at(path: &str) -> PathBuf {
    // This package is two levels below the root of the repository.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a directory whose names end with `end`, by their paths from the root of the repository.
fn files(dir: &str, end: &str) -> Vec<String> {
    let entries = fs::read_dir(at(dir)).unwrap_or_else(|error| panic!("{dir}: {error}"));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> = names.filter(|name| name.ends_with(end)).map(|name| format!("{dir}/{name}")).collect();
    found.sort();
    assert!(!found.is_empty(), "{dir} has no *{end}");
    found
}

/// Compare what is between the two markers with `wanted`, or put it there.
fn generated(path: &str, begin: &str, end: &str, wanted: &str) {
    let text = read(path);
    let (head, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{path} has no {begin}"));
    let (found, tail) = rest.split_once(end).unwrap_or_else(|| panic!("{path} has no {end}"));
    if std::env::var_os("SLIPSTREAM_UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::write(at(path), [head, begin, wanted, end, tail].concat()).unwrap();
        return;
    }
    assert_eq!(found, wanted, "{path} differs from request::KEYS; run with SLIPSTREAM_UPDATE_DOCS=1");
}

#[test]
fn tables_of_keys_are_those_of_the_code() {
    let mut table = "\n| key | values | meaning |\n| --- | --- | --- |\n".to_owned();
    let mut list = "\n".to_owned();
    for (_, name, values, meaning) in KEYS {
        table += &format!("| `{name}` | {values} | {meaning} |\n");
        list += &format!(".TP\n.B {}\n{}.br\n{}", name.replace('-', "\\-"), roff(&format!("{values}.")), roff(meaning));
    }
    generated(USAGE, "<!-- keys: begin -->", "<!-- keys: end -->", &table);
    generated(MAN, ".\\\" keys: begin", ".\\\" keys: end", &list);
}

/// Text with `code` in it as lines of roff, a line for each sentence, none longer than 80.
fn roff(text: &str) -> String {
    let mut words = String::new();
    for (n, part) in text.replace('\\', "\\e").replace('…', "\\[u2026]").split('`').enumerate() {
        words += &if n % 2 == 1 { format!("\\fB{}\\fP", part.replace('-', "\\-")) } else { part.to_owned() };
    }
    let mut out = String::new();
    let mut width = 0;
    for word in words.split(' ') {
        if width > 0 && width + word.len() < 80 {
            out.push(' ');
        } else if width > 0 {
            out.push('\n');
            width = 0;
        }
        out += word;
        width += word.len() + 1;
        if word.ends_with('.') {
            out.push('\n');
            width = 0;
        }
    }
    if width > 0 { out + "\n" } else { out }
}

/// Returns what the program's `--help` lists below a title.
fn help(program: &str, command: &[&str], title: &str) -> BTreeSet<String> {
    let output = Command::new(program).args(command).arg("--help").output().unwrap();
    assert!(output.status.success(), "{program} {command:?} --help: {}", output.status);
    listed(&String::from_utf8(output.stdout).unwrap(), title)
}

/// Returns the first word of each line that is indented by two, below a title.
fn listed(text: &str, title: &str) -> BTreeSet<String> {
    let lines = text.lines().skip_while(|line| *line != title).skip(1).take_while(|line| !line.is_empty());
    let entries = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let words = entries.filter_map(|line| line.split([' ', ',']).next());
    words.filter(|word| *word != "--help").map(str::to_owned).collect()
}

/// The sections of a text whose titles start with `title`, up to the next title of any kind: name and content.
fn sections<'a>(text: &'a str, title: &str, ends: &[&str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(title) {
            found.push((name, Vec::new()));
            inside = true;
        } else if ends.iter().any(|end| line.starts_with(end)) {
            inside = false;
        } else if let (true, Some((_, lines))) = (inside, found.last_mut()) {
            lines.push(line);
        }
    }
    found
}

/// Everything in the lines that looks like a long option.
fn options(lines: &[&str]) -> BTreeSet<String> {
    let words = lines.iter().flat_map(|line| line.split(|c: char| !c.is_ascii_lowercase() && c != '-'));
    words.filter(|word| word.len() > 2 && word.starts_with("--") && *word != "---").map(str::to_owned).collect()
}

#[test]
fn every_command_and_option_is_documented() {
    let program = env!("CARGO_BIN_EXE_slipstream");
    let commands = help(program, &[], "Commands:");
    assert!(commands.contains("boot"), "the help names no commands: {commands:?}");
    let man = read(MAN).replace("\\-", "-");
    let usage = read(USAGE);
    for (path, found) in
        [(MAN, sections(&man, ".SS ", &[".SH "])), (USAGE, sections(&usage, "### slipstream ", &["### ", "## "]))]
    {
        let names: BTreeSet<_> = found.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names, commands, "the commands in {path}");
        for (command, lines) in found {
            // Lines of a Markdown table that are made of dashes are no options.
            let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("| ---")).collect();
            assert_eq!(options(&lines), help(program, &[command], "Options:"), "{path}: the options of {command}");
        }
    }
    let man = read(UNITS_MAN).replace("\\-", "-");
    // The other program belongs to another package, so that cargo does not name its binary here.
    let initrd = Initrd::from_args(&["slipstream-initrd"], &["--help"]).unwrap_err();
    for command in listed(&initrd.output, "Commands:") {
        assert!(man.contains(&format!("slipstream-initrd {command}")), "{UNITS_MAN} lacks {command}");
    }
    for (path, text) in [(MAN, read(MAN)), (USAGE, usage)] {
        assert!(text.contains(MESSAGE_ID), "{path} has another MESSAGE_ID");
    }
    assert!(
        read("systemd/slipstream.catalog").contains(&format!("-- {MESSAGE_ID}\n")),
        "the catalog has another MESSAGE_ID"
    );
}

/// Returns facts with every key and every field.
fn full_facts() -> Facts {
    let root = tempfile::tempdir().unwrap();
    let mut cmdline = String::new();
    for (key, name, ..) in KEYS {
        match name {
            "kernel" => {
                fs::create_dir_all(root.path().join("usr/lib")).unwrap();
                fs::write(root.path().join("usr/lib/slipstream.conf"), "[slipstream]\nkernel = keep\n").unwrap();
            }
            "source" => {
                fs::create_dir_all(root.path().join("etc")).unwrap();
                let text = "[slipstream]\nsource = oci:/a\nsource = oci:/b\n";
                fs::write(root.path().join("etc/slipstream.conf"), text).unwrap();
            }
            "mco-reboot" => {}
            _ => cmdline += &format!("slipstream.{key}=x "),
        }
    }
    let path = root.path().join("cmdline");
    fs::write(&path, cmdline).unwrap();
    let ignition = r#"{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/slipstream.conf",
        "contents": {"source": "data:,%5Bslipstream%5D%0Amco-reboot=pull"}}]}}"#;
    let ignition = Ignition::parse(ignition.as_bytes()).unwrap();
    let (commit, digest) = ("a".repeat(64), format!("sha256:{}", "b".repeat(64)));
    let deployment = format!("ostree/deploy/os/deploy/{commit}.0");
    Facts {
        request: Settings::load(&path, root.path(), &ignition).unwrap().requested(),
        bootimage: Some(Bootimage {
            deployment: deployment.clone(),
            commit: commit.clone(),
            version: Some("1".to_owned()),
            kernel: "6.1".to_owned(),
        }),
        node_image: Some(NodeImage {
            image: format!("example.com/os/node@{digest}"),
            signatures: vec![Signature {
                requirement: "sigstoreSigned by keyData".to_owned(),
                key: Some("0".repeat(64)),
                identity: "quay.io/example/node:4.22".to_owned(),
                digest: digest.clone(),
                endpoint: "quay.io/example/node".to_owned(),
            }],
            manifest_digest: Some(digest),
            commit: Some(commit),
            version: Some("2".to_owned()),
            kernel: Some("6.2".to_owned()),
            kargs: vec!["quiet".to_owned()],
            boot_loader_update: Some(BootLoaderUpdate::Unit),
            deployment: Some(deployment),
            etc_merged: Some(false),
        }),
        stages: StageName::ALL.iter().map(|name| Stage::new(*name, Duration::from_millis(1), Some(1))).collect(),
        endpoints: vec![Endpoint { source: "oci:/a".to_owned(), error: Some("no".to_owned()) }],
        foreseen: Foreseen {
            mco: Mco::Reboots,
            reasons: vec!["another image".to_owned()],
            deferred_kargs: vec!["psi=0".to_owned()],
        },
        tries: vec![Try { reason: "no network".to_owned() }],
        leftovers: vec![Leftover::mount("/usr/lib/modules")],
        warnings: vec!["a warning".to_owned()],
    }
}

/// Returns a document of every ending, with these facts.
fn every_ending(facts: &Facts) -> Vec<Value> {
    let reason = || "a reason".to_owned();
    let endings = [
        Ending::Swapped(Way::BootLink),
        Ending::AlreadyBooted(reason()),
        Ending::Skipped(reason()),
        Ending::Failed(reason()),
    ];
    endings.map(|ending| written(&Status::new(facts.clone(), ending))).into()
}

/// Returns the document as it is in its file, from which it can be read back.
fn written(status: &Status) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let record = Record::new(directory.path());
    record.write(status).unwrap();
    assert_eq!(record.read().unwrap().as_ref(), Some(status));
    serde_json::from_str(&record.text().unwrap()).unwrap()
}

/// Returns what is wrong with a document, by a schema.
fn checker(schema: Value) -> impl Fn(&Value) -> Result<(), String> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("urn:slipstream:status:1", schema).unwrap();
    let index = compiler.compile("urn:slipstream:status:1", &mut schemas).unwrap();
    move |value| schemas.validate(value, index).map_err(|error| format!("{error:#}"))
}

/// Call `visit` with the JSON pointer of every value below `value`.
fn walk(value: &Value, pointer: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(pointer, value);
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in inner {
        walk(value, &format!("{pointer}/{key}"), visit);
    }
}

/// A field that is missing is an error; a further one only to our own tests.
#[test]
fn a_status_validates_and_nothing_else_does() {
    let schema: Value = serde_json::from_str(&read(SCHEMA)).unwrap();
    let (published, strict) = (checker(schema.clone()), checker(strict(schema)));
    for document in every_ending(&full_facts()).into_iter().chain(every_ending(&Facts::default())) {
        strict(&document).unwrap_or_else(|error| panic!("{error}\n{document:#}"));
        published(&document).unwrap_or_else(|error| panic!("{error}\n{document:#}"));
    }
    for full in every_ending(&full_facts()) {
        // Either of the two, depending on the outcome.
        let empty = if full["outcome"] == "swapped" { "/reason" } else { "/way" };
        walk(&full, "", &mut |pointer, value| {
            // After a failure it is not known which image runs.
            let unknown = full["outcome"] == "failed" && pointer == "/kernel/differs";
            let filled = !value.is_null() && *value != json!([]);
            assert!(filled || unknown || pointer == empty, "{pointer} is not filled");
            let Some(map) = value.as_object() else { return };
            let object = |edit: &dyn Fn(&mut serde_json::Map<String, Value>)| {
                let mut changed = full.clone();
                edit(changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap());
                changed
            };
            let further = object(&|map| drop(map.insert("surprise".to_owned(), json!({}))));
            assert!(strict(&further).is_err(), "{pointer} may have any field");
            published(&further).unwrap_or_else(|error| panic!("{pointer} may not have a further field: {error}"));
            // No key has to be set.
            for key in map.keys().filter(|_| pointer != "/request") {
                let changed = object(&|map| drop(map.remove(key)));
                assert!(strict(&changed).is_err() && published(&changed).is_err(), "{pointer} may lack {key}");
            }
        });
    }
}

#[test]
fn every_field_of_the_schema_is_described() {
    let schema: Value = serde_json::from_str(&read(SCHEMA)).unwrap();
    let mut described = 0;
    walk(&schema, "", &mut |pointer, value| {
        for (name, field) in value["properties"].as_object().into_iter().flatten() {
            assert!(field["description"].is_string(), "{pointer}/properties/{name} has no description");
            described += 1;
        }
        for word in ["additionalProperties", "unevaluatedProperties"] {
            assert!(value.get(word).is_none(), "{pointer} has {word}: a further field must not be an error");
        }
    });
    assert!(described > 30, "only {described} fields were found");
}

/// The part of a page that is not in a code block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let mut pages = files("docs", ".md");
    let map = read("docs/index.md");
    for page in pages.iter().filter_map(|page| page.strip_prefix("docs/")).filter(|page| *page != "index.md") {
        assert!(map.contains(&format!("({page})")), "docs/index.md lacks {page}");
    }
    pages.push("README.md".to_owned());
    let mut count = 0;
    for page in pages {
        let text = read(&page);
        let targets = prose(&text).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            // with_file_name takes a relative path as well.
            let path = if file.is_empty() { at(&page) } else { at(&page).with_file_name(file) };
            assert!(path.exists(), "{page}: {target} leads to no file");
            let found = place.is_empty() || {
                let text = fs::read_to_string(&path).unwrap();
                prose(&text).any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == place)
            };
            assert!(found, "{page}: {target} leads to no heading");
            count += 1;
        }
    }
    assert!(count > 20, "only {count} links were found");
}

#[test]
fn units_are_ordered_confined_and_documented() {
    for unit in files("dracut/50slipstream", ".service") {
        let text = read(&unit);
        let has = |start: &str| text.lines().any(|line| line.starts_with(start));
        assert!(has("Before="), "{unit} has no Before=: it would race with switch-root");
        assert!(has("ConditionPathExists=/etc/initrd-release"), "{unit} may run in the real root");
        let pages = text.lines().filter_map(|line| line.strip_prefix("Documentation="));
        let pages: Vec<_> = pages.flat_map(str::split_whitespace).collect();
        assert!(!pages.is_empty(), "{unit} has no Documentation=");
        for page in pages {
            let page = page.strip_prefix("man:").and_then(|page| page.strip_suffix("(8)"));
            let page = page.unwrap_or_else(|| panic!("{unit}: Documentation= names no page of section 8"));
            assert!(at(&format!("docs/man/{page}.8")).exists(), "{unit}: there is no page {page}(8)");
        }
        let name = Path::new(&unit).file_name().unwrap().to_str().unwrap();
        assert!(at(&format!("docs/man/{name}.8")).exists(), "there is no page {name}(8)");
    }
}
