// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Ignition config of this boot, as Ignition's fetch stage leaves it in `/run/ignition.json`: merged, rendered to
//! one of the versions 3.x. We run before Ignition writes its files, so what it is about to write is read from here.
//!
//! The pull secret is in it: nothing of the content is ever shown, and nothing of it is written anywhere.

mod data_url;
mod links;
mod overlay;
mod resource;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use overlay::IgnitionFiles;

use crate::files::MAX_FILE;
use crate::shape;
use crate::shape::Shape;
use resource::{RESOURCE, Resource, take_text};

/// Where Ignition leaves the config (`-config-cache`, in its `internal/main.go`).
pub const IGNITION_JSON: &str = "/run/ignition.json";
/// Largest config, in bytes. Those of an OpenShift node have half a MiB; each file in it may have [`MAX_FILE`].
const MAX_CONFIG: u64 = 32 << 20;

const NAMES: Shape = Shape::List(&Shape::Text);
const FILE: Shape = Shape::Object(&[
    ("path", Shape::Text, true),
    ("contents", RESOURCE, false),
    ("append", Shape::List(&RESOURCE), false),
]);
const DIRECTORY: Shape = Shape::Object(&[("path", Shape::Text, true)]);
const LINK: Shape =
    Shape::Object(&[("path", Shape::Text, true), ("target", Shape::Text, false), ("hard", Shape::Flag, false)]);
const FILESYSTEM: Shape = Shape::Object(&[("label", Shape::Text, false), ("wipeFilesystem", Shape::Flag, false)]);
const STORAGE: Shape = Shape::Object(&[
    ("filesystems", Shape::List(&FILESYSTEM), false),
    ("directories", Shape::List(&DIRECTORY), false),
    ("files", Shape::List(&FILE), false),
    ("links", Shape::List(&LINK), false),
]);
const CONFIG: Shape = Shape::Object(&[
    ("ignition", Shape::Object(&[("version", Shape::Text, true)]), true),
    ("storage", STORAGE, false),
    ("kernelArguments", Shape::Object(&[("shouldExist", NAMES, false), ("shouldNotExist", NAMES, false)]), false),
]);

/// A config; the default is that of a boot without Ignition: empty.
#[derive(Default)]
pub struct Ignition {
    directories: BTreeSet<String>,
    files: BTreeMap<String, Written>,
    /// What each link leads to. A hard link is as good as a symbolic one here: both have the target's content.
    links: BTreeMap<String, String>,
    should_exist: Vec<String>,
    should_not_exist: Vec<String>,
    /// Labels of the file systems that are made anew.
    wiped: BTreeSet<String>,
}

/// A file that Ignition is about to write.
struct Written {
    contents: Resource,
    append: Vec<Resource>,
}

impl fmt::Debug for Ignition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ignition").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Ignition {
    /// Read a config. None there is the same as an empty one: Ignition runs on the first boot only.
    pub fn load(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        let mut bytes = Vec::new();
        file.take(MAX_CONFIG + 1).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
        ensure!(bytes.len() as u64 <= MAX_CONFIG, "{} is larger than {MAX_CONFIG} bytes", path.display());
        Self::parse(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    /// Parse the bytes of a config.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut config = shape::parse(bytes, CONFIG, "Ignition config")?;
        let version = config["ignition"]["version"].as_str().unwrap_or_default();
        ensure!(version.starts_with("3."), "Ignition config has version {version:?}, not 3.x");
        let mut ignition = Self::default();
        for file in take_list(&mut config["storage"]["files"]) {
            ignition.add_file(file)?;
        }
        for mut directory in take_list(&mut config["storage"]["directories"]) {
            ignition.directories.insert(take_path(&mut directory));
        }
        for mut link in take_list(&mut config["storage"]["links"]) {
            let (path, target) = (take_path(&mut link), take_text(&mut link["target"]).unwrap_or_default());
            // The target of a hard link is a path below the root, with or without the slash.
            let hard = link["hard"].as_bool().unwrap_or_default();
            ignition.links.insert(path, if hard { clean(&target) } else { target });
        }
        for mut filesystem in take_list(&mut config["storage"]["filesystems"]) {
            let wiped = filesystem["wipeFilesystem"].as_bool().unwrap_or_default();
            ignition.wiped.extend(take_text(&mut filesystem["label"]).filter(|_| wiped));
        }
        ignition.should_exist = take_texts(&mut config["kernelArguments"]["shouldExist"]);
        ignition.should_not_exist = take_texts(&mut config["kernelArguments"]["shouldNotExist"]);
        Ok(ignition)
    }

    fn add_file(&mut self, mut file: Value) -> Result<()> {
        let path = take_path(&mut file);
        let contents = Resource::from_json(&mut file["contents"]);
        let append = take_list(&mut file["append"]).iter_mut().map(Resource::from_json).collect();
        let before = self.files.insert(path.clone(), Written { contents, append });
        ensure!(before.is_none(), "file {path} is in the config twice");
        Ok(())
    }

    /// What will be in the file at `path`, a path of the config, when Ignition has run; `before` is what is there without
    /// it.
    fn apply(&self, path: &str, before: impl FnOnce() -> Result<Option<Vec<u8>>>) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.files.get(path) else { return before() };
        let context = || format!("reading file {path} of the Ignition config");
        let mut bytes = if file.contents.has_source() {
            file.contents.bytes().with_context(context)?
        } else {
            before()?.unwrap_or_default()
        };
        for resource in &file.append {
            bytes.extend(resource.bytes().with_context(context)?);
            ensure!(
                bytes.len() as u64 <= MAX_FILE,
                "file {path} of the Ignition config is larger than {MAX_FILE} bytes"
            );
        }
        Ok(Some(bytes))
    }

    /// The file at `path` if the config has one. What it only appends to is taken as empty.
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let at = links::resolve(path, |path| Ok(self.links.get(path).cloned()))?;
        let known = at == clean(path) || self.files.contains_key(&at);
        ensure!(known, "the Ignition config makes {path} a link to {at}, and has no file there: write it as a file");
        self.apply(&at, || Ok(None))
    }

    /// Whether the config writes a file at `path`, or makes a link there.
    pub fn has_file(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.links.contains_key(path)
    }

    /// Whether the config makes the file system with this label anew, as CoreOS's transposefs asks it.
    pub fn makes_anew(&self, label: &str) -> bool {
        self.wiped.contains(label)
    }

    /// The paths of all that the config makes.
    fn paths(&self) -> impl Iterator<Item = &String> {
        self.files.keys().chain(self.links.keys()).chain(&self.directories)
    }

    /// A kernel command line as it is after Ignition's `kernelArguments` stage, for a boot loader entry that has not
    /// seen it yet. The stage removes and appends what it names, once.
    pub fn kargs(&self, mut kargs: Vec<String>) -> Vec<String> {
        kargs.retain(|karg| !self.should_not_exist.contains(karg));
        for karg in &self.should_exist {
            if !kargs.contains(karg) {
                kargs.push(karg.clone());
            }
        }
        kargs
    }
}

/// A path in its shortest form. Ignition takes `/etc//x` and `/etc/./x`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().fold(String::new(), |path, part| path + "/" + part)
}

fn take_path(item: &mut Value) -> String {
    clean(&take_text(&mut item["path"]).unwrap_or_default())
}

fn take_list(value: &mut Value) -> Vec<Value> {
    match value.take() {
        Value::Array(list) => list,
        _ => Vec::new(),
    }
}

fn take_texts(value: &mut Value) -> Vec<String> {
    take_list(value).iter_mut().filter_map(take_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_config_is() {
        for (label, text, expected) in [
            ("empty", r#"{"ignition": {"version": "3.0.0"}}"#, Ok(0)),
            ("experimental", r#"{"ignition": {"version": "3.7.0-experimental"}, "passwd": {"users": [1]}}"#, Ok(0)),
            ("null", r#"{"ignition": {"version": "3.2.0"}, "storage": {"files": null}}"#, Ok(0)),
            (
                "files",
                r#"{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/a"}, {"path": "/b"}]}}"#,
                Ok(2),
            ),
            (
                "twice",
                r#"{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/a"}, {"path": "//a"}]}}"#,
                Err("file /a is in the config twice"),
            ),
            (
                "version 2",
                r#"{"ignition": {"version": "2.2.0"}}"#,
                Err("Ignition config has version \"2.2.0\", not 3.x"),
            ),
            ("no version", r#"{"ignition": {}}"#, Err("ignition has no version")),
            ("nothing", "{}", Err("Ignition config has no ignition")),
            ("no JSON", "", Err("parsing Ignition config: EOF")),
            ("no path", r#"{"ignition": {"version": "3.4.0"}, "storage": {"files": [{}]}}"#, Err("files has no path")),
        ] {
            match (Ignition::parse(text.as_bytes()), expected) {
                (Ok(config), Ok(count)) => assert_eq!(config.files.len(), count, "{label}"),
                (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
        assert_eq!(clean("/etc//./a/../b/"), "/etc/b");
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let text = r#"{"ignition": {"version": "3.4.0"}, "storage": {"files": [
            {"path": "/secret", "contents": {"source": "data:,hunter2"}},
            {"path": "/remote", "contents": {"source": "https://hunter2@example.com/hunter2"}},
            {"path": "/bad", "contents": {"source": "data:;base64,hunter2"}}]}}"#;
        let config = Ignition::parse(text.as_bytes()).unwrap();
        assert_eq!(config.file("/secret").unwrap().as_deref(), Some(&b"hunter2"[..]));
        let shown =
            format!("{config:?} {:#} {:#}", config.file("/remote").unwrap_err(), config.file("/bad").unwrap_err());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(
            shown.contains("reading file /remote of the Ignition config: it has a remote source (https)"),
            "{shown}"
        );
    }

    #[test]
    fn a_link_is_followed_to_a_file_of_the_config_only() {
        let text = r#"{"ignition": {"version": "3.4.0"}, "storage": {
            "links": [{"path": "/etc/a", "target": "real"}, {"path": "/etc/b", "target": "/usr/share/b"}],
            "files": [{"path": "/etc/real", "contents": {"source": "data:,text"}}]}}"#;
        let config = Ignition::parse(text.as_bytes()).unwrap();
        assert_eq!(config.file("/etc/a").unwrap().as_deref(), Some(&b"text"[..]));
        let error = config.file("/etc/b").unwrap_err().to_string();
        assert!(error.contains("makes /etc/b a link to /usr/share/b, and has no file there"), "{error}");
        assert!(config.has_file("/etc/b") && !config.has_file("/etc/c"));
    }

    #[test]
    fn kargs_as_the_stage_leaves_them() {
        let text = r#"{"ignition": {"version": "3.3.0"},
            "kernelArguments": {"shouldExist": ["a", "b=1"], "shouldNotExist": ["quiet"]}}"#;
        let config = Ignition::parse(text.as_bytes()).unwrap();
        let kargs = config.kargs(["rw", "quiet", "a"].map(str::to_owned).into());
        assert_eq!(kargs, ["rw", "a", "b=1"]);
    }
}
