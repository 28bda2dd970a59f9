// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is wanted. The same keys everywhere: kernel argument `slipstream.KEY=VALUE`, or `KEY = VALUE` in the section
//! `[slipstream]` of a keyfile. A kernel argument wins over `/etc/slipstream.conf` of the Ignition config, that over the
//! initramfs's, and `/etc` over `/usr/lib`.
//!
//! An unknown key or a bad value is a failure of the request, treated by its `on-failure`.

mod choices;
pub mod ignition;
pub mod kargs;
pub mod keyfile;
mod keys;
pub mod mco;
mod occasion;
mod skew;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub use choices::{KernelPolicy, McoReboot, OnFailure, parse_time_span};
pub use kargs::KARG_PREFIX;
pub use keys::{KEYS, Key};
pub use occasion::{FIRST_BOOT, When, is_first_boot};
pub use skew::{MIN_BOOTIMAGE, SkewPolicy};

use self::ignition::Ignition;
use self::mco::MachineConfig;
use crate::handoff::{Requested, RequestedKey, Values};
use crate::names::{Digest, ImageReference, SourceSpec};

/// The keyfiles, from the weakest to the strongest, relative to the root that is searched.
const KEYFILES: [&str; 2] = ["usr/lib/slipstream.conf", "etc/slipstream.conf"];
/// The keyfile that an Ignition config may carry.
const IGNITION_KEYFILE: &str = "/etc/slipstream.conf";
/// Largest keyfile, in bytes.
const MAX_KEYFILE: u64 = 64 << 10;
/// `deadline` when nothing is said.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);

/// The values of a key and where they came from: `karg`, `ignition`, or the path of a keyfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The values as they were written, in order. Only `source` may have several.
    pub values: Vec<String>,
    /// Where they were written.
    pub from: String,
}

/// A request, read but not yet understood: what the status reports even if a value is bad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    first_boot: bool,
    keys: BTreeMap<Key, Setting>,
}

impl Settings {
    /// Read the kernel command line in the file `cmdline`, the keyfile in `ignition`, and those below `root`.
    pub fn load(cmdline: &Path, root: &Path, ignition: &Ignition) -> Result<Self> {
        let text = fs::read_to_string(cmdline).with_context(|| format!("reading {}", cmdline.display()))?;
        Self::read(&text, root, ignition)
    }

    /// The same with the text of a kernel command line.
    pub fn read(cmdline: &str, root: &Path, ignition: &Ignition) -> Result<Self> {
        let mut settings = Self { first_boot: is_first_boot(cmdline), ..Self::default() };
        for name in KEYFILES {
            let path = root.join(name);
            let Some(text) = read_optional(&path)? else { continue };
            let shown = format!("/{name}");
            settings.overlay(keyfile::parse(&text), &shown).with_context(|| format!("reading {shown}"))?;
        }
        if let Some(bytes) = ignition.file(IGNITION_KEYFILE)? {
            let context = || format!("reading {IGNITION_KEYFILE} of the Ignition config");
            let text = String::from_utf8(bytes).context("it is not UTF-8").with_context(context)?;
            ensure!(text.len() as u64 <= MAX_KEYFILE, "{IGNITION_KEYFILE} is larger than {MAX_KEYFILE} bytes");
            settings.overlay(keyfile::parse(&text), "ignition").with_context(context)?;
        }
        settings.overlay(kargs::requested(cmdline), "karg").context("reading kernel arguments")?;
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
        self.keys.extend(found);
        Ok(())
    }

    /// Every key that is set.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Setting)> {
        self.keys.iter().map(|(key, setting)| (*key, setting))
    }

    /// Returns every key that is set as the status reports it.
    pub fn requested(&self) -> Requested {
        let reported = |setting: &Setting, key: Key| match setting.values.first() {
            Some(value) if !key.repeatable() => Values::One(value.clone()),
            _ => Values::Many(setting.values.clone()),
        };
        let keys = self.iter().map(|(key, setting)| {
            (key.name().to_owned(), RequestedKey { value: reported(setting, key), from: setting.from.clone() })
        });
        keys.collect()
    }

    fn one(&self, key: Key) -> Option<&str> {
        self.keys.get(&key).and_then(|setting| setting.values.first()).map(String::as_str)
    }

    /// What to do on a failure. It is asked for on its own: a request whose other keys are bad still has it.
    pub fn on_failure(&self) -> Result<OnFailure> {
        self.one(Key::OnFailure).map(OnFailure::parse).transpose().map(Option::unwrap_or_default)
    }

    /// Returns whether this boot is one on which a request counts. Elsewhere a mistake in it is none.
    pub fn counts(&self) -> bool {
        self.first_boot || matches!(self.when(), Ok(When::Once))
    }

    fn when(&self) -> Result<When> {
        self.one(Key::When).map(When::parse).transpose().map(Option::unwrap_or_default)
    }

    /// Understand the values. `Ok(None)`: no image is wanted on this boot.
    pub fn request(&self, ignition: &Ignition) -> Result<Option<Request>> {
        if !self.counts() {
            return Ok(None);
        }
        let when = self.when()?;
        let on_failure = self.on_failure()?;
        let kernel = self.one(Key::Kernel).map(KernelPolicy::parse).transpose()?.unwrap_or_default();
        let skew = self.one(Key::Skew).map(SkewPolicy::parse).transpose()?.unwrap_or_default();
        let mco_reboot = self.one(Key::McoReboot).map(McoReboot::parse).transpose()?.unwrap_or_default();
        let deadline = self.one(Key::Deadline).map(choices::parse_time_span).transpose()?.unwrap_or(DEFAULT_DEADLINE);
        let debug = self.debug()?;
        let sources = self.keys.get(&Key::Source).map(|setting| setting.values.as_slice()).unwrap_or_default();
        let sources = sources.iter().map(|text| SourceSpec::parse(text)).collect::<Result<Vec<_>>>()?;
        let text = match self.one(Key::Image) {
            None | Some("none") => return Ok(None),
            Some(text) => text,
        };
        let machine = MachineConfig::of(ignition)?;
        let image = match (text, &machine) {
            // Not a node of OpenShift, or not its first boot: then there is nothing to do.
            ("auto", None) => return Ok(None),
            ("auto", Some(machine)) => ImageReference::parse(&machine.image)
                .with_context(|| format!("reading osImageURL of MachineConfig {}", machine.name))?,
            (text, _) => ImageReference::parse(text)?,
        };
        let sources = if sources.is_empty() { vec![SourceSpec::Registry] } else { sources };
        Ok(Some(Request { image, sources, kernel, skew, mco_reboot, machine, when, on_failure, deadline, debug }))
    }

    /// Why there is no request, in words.
    pub fn why_no_request(&self) -> &'static str {
        match self.one(Key::Image) {
            _ if !self.counts() => "this is not a first boot",
            Some("auto") => "image=auto, and the Ignition config has no MachineConfig",
            _ => "no node image is requested",
        }
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
    /// How far apart bootimage and node image may be.
    pub skew: SkewPolicy,
    /// What to do when the MCO would reboot anyway.
    pub mco_reboot: McoReboot,
    /// The MachineConfig of the node, on the first boot of a node of OpenShift.
    pub machine: Option<MachineConfig>,
    /// On which boots it counts.
    pub when: When,
    /// What to do on a failure.
    pub on_failure: OnFailure,
    /// Time for the whole of our work.
    pub deadline: Duration,
    /// Say more.
    pub debug: bool,
}

impl Request {
    /// What tells this request from another one: its image, where to get it, and what would refuse it. The text that it is
    /// made of holds no secrets.
    pub fn digest(&self) -> Digest {
        let policies = format!("{:?} {:?} {:?}", self.kernel, self.skew, self.mco_reboot);
        let sources = self.sources.iter().map(ToString::to_string);
        let parts: Vec<_> = [self.image.to_string(), policies].into_iter().chain(sources).collect();
        Digest::of(parts.join("\n").as_bytes())
    }
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

    /// Reads what is requested on a first boot.
    fn load(cmdline: &str, etc: Option<&str>, usr: Option<&str>) -> Result<Settings> {
        load_any(&format!("ignition.firstboot {cmdline}"), etc, usr)
    }

    fn load_any(cmdline: &str, etc: Option<&str>, usr: Option<&str>) -> Result<Settings> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in [("etc", etc), ("usr/lib", usr)] {
            fs::create_dir_all(root.path().join(name)).unwrap();
            if let Some(text) = text {
                fs::write(root.path().join(name).join("slipstream.conf"), text).unwrap();
            }
        }
        let path = root.path().join("cmdline");
        fs::write(&path, cmdline).unwrap();
        Settings::load(&path, root.path(), &Ignition::default())
    }

    #[test]
    fn the_strongest_origin_decides_a_key() {
        let usr = format!("[slipstream]\nimage = {IMAGE}\nsource = oci:/usr\nsource = oci:/usr2\ndeadline = 5min\n");
        let etc = "[slipstream]\nsource=oci:/etc\ndeadline=1h 30min\n";
        let settings = load("quiet slipstream.deadline=90s slipstream.debug", Some(etc), Some(&usr)).unwrap();
        let request = settings.request(&Ignition::default()).unwrap().unwrap();
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
    fn without_a_source_it_is_the_registry() {
        let settings = load(&format!("slipstream.image={IMAGE}"), None, None).unwrap();
        assert_eq!(settings.request(&Ignition::default()).unwrap().unwrap().sources, [SourceSpec::Registry]);
    }

    #[test]
    fn requests_are_told_apart() {
        let digest = |rest: &str| {
            let settings = load(&format!("slipstream.image={IMAGE} {rest}"), None, None).unwrap();
            settings.request(&Ignition::default()).unwrap().unwrap().digest()
        };
        let plain = digest("slipstream.source=oci:/a");
        for (label, rest, same) in [
            ("what to do about a failure", "slipstream.source=oci:/a slipstream.on-failure=reboot", true),
            ("more words", "slipstream.source=oci:/a slipstream.debug slipstream.deadline=5s", true),
            ("a default", "slipstream.source=oci:/a slipstream.kernel=keep", true),
            ("another source", "slipstream.source=oci:/b", false),
            ("a second source", "slipstream.source=oci:/a slipstream.source=oci:/b", false),
            ("a policy", "slipstream.source=oci:/a slipstream.kernel=same", false),
        ] {
            assert_eq!(digest(rest) == plain, same, "{label}");
        }
    }

    #[test]
    fn no_image_is_no_request() {
        for cmdline in ["", "quiet", "slipstream.image=none", "slipstream.source=oci:/x"] {
            assert!(load(cmdline, None, None).unwrap().request(&Ignition::default()).unwrap().is_none(), "{cmdline}");
        }
    }

    /// What a boot carries on of its past, an image of yesterday or a mistake, is nothing on any boot but the first.
    #[test]
    fn a_request_counts_on_a_first_boot_or_once() {
        let image = format!("slipstream.image={IMAGE}");
        let keyfile = format!("[slipstream]\nimage = {IMAGE}\n");
        let no = Some("this is not a first boot");
        for (label, cmdline, keyfile, why) in [
            ("first boot", format!("ignition.firstboot {image}"), None, None),
            ("any other", image.clone(), None, no),
            ("any other, with a keyfile", String::new(), Some(keyfile.as_str()), no),
            ("GRUB's variable", format!("$ignition_firstboot {image}"), None, no),
            ("once", format!("{image} slipstream.when=once"), None, None),
            ("once, with a keyfile", "slipstream.when=once".to_owned(), Some(keyfile.as_str()), None),
            ("by name", format!("{image} slipstream.when=first-boot"), None, no),
            ("a mistake", format!("{image} slipstream.kernel=x slipstream.on-failure=reboot"), None, no),
            ("a mistake in when", format!("{image} slipstream.when=always"), None, no),
            ("first boot without an image", "ignition.firstboot".to_owned(), None, Some("no node image is requested")),
        ] {
            let settings = load_any(&cmdline, None, keyfile).unwrap();
            let request = settings.request(&Ignition::default()).unwrap();
            let got = request.is_none().then(|| settings.why_no_request());
            assert_eq!(got, why, "{label}");
            assert_eq!(settings.counts(), why != no, "{label}");
        }
    }

    /// An Ignition config with these files.
    fn ignition(files: &[(&str, &str)]) -> Ignition {
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let file = |(path, text): &(&str, &str)| serde_json::json!({"path": path, "contents": {"source": format!("data:,{}", escape(text))}});
        let files: Vec<_> = files.iter().map(file).collect();
        let config = serde_json::json!({"ignition": {"version": "3.4.0"}, "storage": {"files": files}});
        Ignition::parse(config.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_ignition_config_is_between_karg_and_etc() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/slipstream.conf"), "[slipstream]\nkernel=same\nsource=oci:/etc\n").unwrap();
        let keyfile = "[slipstream]\nsource=oci:/ignition\ndeadline=1min\n";
        let config = ignition(&[("/etc/slipstream.conf", keyfile)]);
        let settings = Settings::read("slipstream.deadline=2min", root.path(), &config).unwrap();
        let from: Vec<_> = settings.iter().map(|(key, setting)| (key.name(), setting.from.as_str())).collect();
        assert_eq!(from, [("source", "ignition"), ("kernel", "/etc/slipstream.conf"), ("deadline", "karg")]);
        for (label, text, expected) in [
            ("bad key", "[slipstream]\nsauce=x\n", "reading /etc/slipstream.conf of the Ignition config: unknown key"),
            ("no section", "image=x", "a key before the section"),
        ] {
            let error = Settings::read("", root.path(), &ignition(&[("/etc/slipstream.conf", text)])).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{label}: {error:#}");
        }
    }

    #[test]
    fn auto_is_the_image_of_the_machine_config() {
        let machine = format!(r#"{{"metadata": {{"name": "rendered-worker"}}, "spec": {{"osImageURL": "{IMAGE}"}}}}"#);
        let tag = machine.replace(IMAGE, "quay.io/os/node:latest");
        for (label, files, expected) in [
            ("no config", vec![], Ok(None)),
            ("another config", vec![("/etc/hostname", "node")], Ok(None)),
            ("machine config", vec![(mco::MACHINE_CONFIG, machine.as_str())], Ok(Some(IMAGE))),
            (
                "tag",
                vec![(mco::MACHINE_CONFIG, tag.as_str())],
                Err(
                    "reading osImageURL of MachineConfig rendered-worker: image \"quay.io/os/node:latest\" is not given",
                ),
            ),
            (
                "no JSON",
                vec![(mco::MACHINE_CONFIG, "x")],
                Err("reading /etc/ignition-machine-config-encapsulated.json"),
            ),
        ] {
            let config = ignition(&files);
            let settings =
                Settings::read("ignition.firstboot slipstream.image=auto", Path::new("/nonexistent"), &config);
            match (settings.and_then(|settings| settings.request(&config)), expected) {
                (Ok(request), Ok(image)) => {
                    assert_eq!(request.as_ref().map(|request| request.image.as_str()), image, "{label}");
                }
                (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn bad_requests() {
        let with = |rest: &str| format!("slipstream.image={IMAGE} slipstream.source=oci:/x {rest}");
        for (label, cmdline, expected) in [
            ("tag", "slipstream.image=quay.io/os/node:latest".to_owned(), "is not given by digest"),
            ("unknown key", with("slipstream.sauce=x"), "unknown key \"sauce\""),
            ("twice", with(&format!("slipstream.image={IMAGE}")), "image is given twice"),
            ("bad source", with("slipstream.source=ftp://x"), "source \"ftp://x\" is not supported"),
            ("bad deadline", with("slipstream.deadline=soon"), "\"soon\" is not a time span"),
            ("bad policy", with("slipstream.on-failure=panic"), "on-failure=panic is not supported"),
            ("bad skew", with("slipstream.skew=patch"), "skew=patch is not supported"),
            ("bad kernel", with("slipstream.kernel=kexec"), "kernel=kexec is not supported"),
            ("bad occasion", with("slipstream.when=always"), "when=always is not supported"),
            ("bad reboot policy", with("slipstream.mco-reboot=no"), "mco-reboot=no is not supported"),
            ("bad debug", with("slipstream.debug=maybe"), "debug=maybe is neither yes nor no"),
        ] {
            let result = load(&cmdline, None, None).and_then(|settings| settings.request(&Ignition::default()));
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.contains(expected), "{label}: {error}");
        }
    }
}
