// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is wanted. The same keys everywhere: kernel argument `slipstream.KEY=VALUE`, or `KEY = VALUE` in the section
//! `[slipstream]` of a keyfile. A kernel argument wins over `/etc`, `/etc` over `/usr/lib`.
//!
//! An unknown key or a bad value is a failure of the request, treated by its `on-failure`.

mod base64;
pub mod files;
pub mod ignition;
pub mod kargs;
mod keyfile;
mod keys;
pub mod mco;
mod policy;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub use keys::{KEYS, Key};
pub use policy::{KernelPolicy, OnFailure};

use crate::oci::ImageReference;
use crate::source::SourceSpec;

/// Prefix of our kernel arguments.
pub const KARG_PREFIX: &str = "slipstream.";
/// The keyfiles, from the weakest to the strongest, relative to the root that is searched.
const KEYFILES: [&str; 2] = ["usr/lib/slipstream.conf", "etc/slipstream.conf"];
/// Largest keyfile, in bytes.
const MAX_KEYFILE: u64 = 64 << 10;
/// `deadline` when nothing is said.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);

/// The values of a key and where they came from: `karg`, or the path of a keyfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The values as they were written, in order. Only `source` may have several.
    pub values: Vec<String>,
    /// Where they were written.
    pub from: String,
}

/// A request, read but not yet understood: what the status reports even if a value is bad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<Key, Setting>);

impl Settings {
    /// Read the kernel command line in the file `cmdline`, and the keyfiles below `root`.
    pub fn load(cmdline: &Path, root: &Path) -> Result<Self> {
        let mut settings = Self::default();
        for name in KEYFILES {
            let path = root.join(name);
            let Some(text) = read_optional(&path)? else { continue };
            let shown = format!("/{name}");
            settings.overlay(keyfile::parse(&text), &shown).with_context(|| format!("reading {shown}"))?;
        }
        let text = fs::read_to_string(cmdline).with_context(|| format!("reading {}", cmdline.display()))?;
        settings.overlay(kargs::requested(&text), "karg").context("reading kernel arguments")?;
        Ok(settings)
    }

    /// Put a stronger origin's settings over what is there: the strongest one that names a key decides it whole.
    fn overlay(&mut self, pairs: Result<Vec<(String, String)>>, from: &str) -> Result<()> {
        let mut found: BTreeMap<Key, Setting> = BTreeMap::new();
        for (name, value) in pairs? {
            let key = Key::parse(&name)?;
            let setting = found.entry(key).or_insert_with(|| Setting { values: Vec::new(), from: from.to_owned() });
            ensure!(setting.values.is_empty() || key.repeatable(), "{key} is given twice");
            setting.values.push(value);
        }
        self.0.extend(found);
        Ok(())
    }

    /// Every key that is set.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Setting)> {
        self.0.iter().map(|(key, setting)| (*key, setting))
    }

    fn one(&self, key: Key) -> Option<&str> {
        self.0.get(&key).and_then(|setting| setting.values.first()).map(String::as_str)
    }

    /// What to do on a failure. It is asked for on its own: a request whose other keys are bad still has it.
    pub fn on_failure(&self) -> Result<OnFailure> {
        self.one(Key::OnFailure).map(OnFailure::parse).transpose().map(Option::unwrap_or_default)
    }

    /// Understand the values. `Ok(None)`: no image is wanted.
    pub fn request(&self) -> Result<Option<Request>> {
        let on_failure = self.on_failure()?;
        let kernel = self.one(Key::Kernel).map(KernelPolicy::parse).transpose()?.unwrap_or_default();
        let deadline = self.one(Key::Deadline).map(policy::parse_time_span).transpose()?.unwrap_or(DEFAULT_DEADLINE);
        let debug = self.debug()?;
        let sources = self.0.get(&Key::Source).map(|setting| setting.values.as_slice()).unwrap_or_default();
        let sources = sources.iter().map(|text| SourceSpec::parse(text)).collect::<Result<Vec<_>>>()?;
        let image = match self.one(Key::Image) {
            None | Some("none") => return Ok(None),
            Some("auto") => bail!("image=auto is not supported by this version: name the image by digest"),
            Some(text) => ImageReference::parse(text)?,
        };
        ensure!(!sources.is_empty(), "no source is given for {image}: set {KARG_PREFIX}source=oci:[DEV:]/dir");
        Ok(Some(Request { image, sources, kernel, on_failure, deadline, debug }))
    }

    /// Whether to say more.
    pub fn debug(&self) -> Result<bool> {
        match self.one(Key::Debug) {
            None | Some("0" | "no" | "false") => Ok(false),
            Some("" | "1" | "yes" | "true") => Ok(true),
            Some(other) => bail!("debug={other} is neither yes nor no"),
        }
    }
}

/// A request that makes sense.
#[derive(Clone, Debug)]
pub struct Request {
    /// The node image.
    pub image: ImageReference,
    /// Where its bytes may be, in the order in which to try.
    pub sources: Vec<SourceSpec>,
    /// What to do when the node image has another kernel.
    pub kernel: KernelPolicy,
    /// What to do on a failure.
    pub on_failure: OnFailure,
    /// Time for the whole of our work.
    pub deadline: Duration,
    /// Say more.
    pub debug: bool,
}

fn read_optional(path: &Path) -> Result<Option<String>> {
    use std::io::Read;
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    let mut text = String::new();
    file.take(MAX_KEYFILE + 1).read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
    ensure!(text.len() as u64 <= MAX_KEYFILE, "{} is larger than {MAX_KEYFILE} bytes", path.display());
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "quay.io/os/node@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn load(cmdline: &str, etc: Option<&str>, usr: Option<&str>) -> Result<Settings> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in [("etc", etc), ("usr/lib", usr)] {
            fs::create_dir_all(root.path().join(name)).unwrap();
            if let Some(text) = text {
                fs::write(root.path().join(name).join("slipstream.conf"), text).unwrap();
            }
        }
        let path = root.path().join("cmdline");
        fs::write(&path, cmdline).unwrap();
        Settings::load(&path, root.path())
    }

    #[test]
    fn the_strongest_origin_decides_a_key() {
        let usr = format!("[slipstream]\nimage = {IMAGE}\nsource = oci:/usr\nsource = oci:/usr2\ndeadline = 5min\n");
        let etc = "[slipstream]\nsource=oci:/etc\ndeadline=1h 30min\n";
        let settings = load("quiet slipstream.deadline=90s slipstream.debug", Some(etc), Some(&usr)).unwrap();
        let request = settings.request().unwrap().unwrap();
        assert_eq!(request.image.as_str(), IMAGE);
        assert_eq!(request.sources.iter().map(ToString::to_string).collect::<Vec<_>>(), ["oci:/etc"]);
        assert_eq!(request.deadline, Duration::from_secs(90));
        assert!(request.debug);
        let from: Vec<_> = settings.iter().map(|(key, setting)| (key.name(), setting.from.as_str())).collect();
        assert_eq!(
            from,
            [
                ("image", "/usr/lib/slipstream.conf"),
                ("source", "/etc/slipstream.conf"),
                ("deadline", "karg"),
                ("debug", "karg")
            ]
        );
    }

    #[test]
    fn no_image_is_no_request() {
        for cmdline in ["", "quiet", "slipstream.image=none", "slipstream.source=oci:/x"] {
            assert!(load(cmdline, None, None).unwrap().request().unwrap().is_none(), "{cmdline}");
        }
    }

    #[test]
    fn bad_requests() {
        let with = |rest: &str| format!("slipstream.image={IMAGE} slipstream.source=oci:/x {rest}");
        for (label, cmdline, expected) in [
            ("tag", "slipstream.image=quay.io/os/node:latest".to_owned(), "is not given by digest"),
            ("no source", format!("slipstream.image={IMAGE}"), "no source is given"),
            ("unknown key", with("slipstream.sauce=x"), "unknown key \"sauce\""),
            ("twice", with(&format!("slipstream.image={IMAGE}")), "image is given twice"),
            ("bad source", with("slipstream.source=ftp://x"), "source \"ftp://x\" is not supported"),
            ("bad deadline", with("slipstream.deadline=soon"), "\"soon\" is not a time span"),
            ("bad policy", with("slipstream.on-failure=panic"), "on-failure=panic is not supported"),
            ("bad kernel", with("slipstream.kernel=kexec"), "kernel=kexec is not supported"),
            ("bad debug", with("slipstream.debug=maybe"), "debug=maybe is neither yes nor no"),
        ] {
            let result = load(&cmdline, None, None).and_then(|settings| settings.request());
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.contains(expected), "{label}: {error}");
        }
    }
}
