// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images that are refused for their version or their kernel: what was asked of a web server before the answer was known.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::base::Base;
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::layout::{Layout, digits};
use testkit::machine::{Machine, NEW_KERNEL, outcome};
use testkit::objects::{Object, dirtree};
use testkit::server::{Reply, Server};
use testkit::suite::{Case, module};

use crate::case::case;

pub fn cases() -> Vec<Case> {
    let skew = SKEW.map(|row| case(row.name, move |machine| skews(machine, &row)));
    let another = ANOTHER.map(|row| case(row.name, move |machine| reads_no_chunk(machine, &row)));
    let mut cases = module("is_refused_for_its_version_before_any_layer", skew);
    cases.extend(module("is_refused_for_its_version_before_any_layer", [case("version_of_the_commit", of_commit)]));
    cases.extend(module("is_refused_for_its_kernel_before_any_chunk", another));
    cases.extend(module("is_refused_when_it_was_read", promised()));
    cases.push(case("swaps_if_the_base_has_the_kernel_whatever_its_label_says", in_base));
    cases.push(case("swaps_if_a_layer_brings_the_kernel", in_layer));
    cases.push(case("reads_nothing_ahead_if_any_kernel_will_do", keep));
    cases
}

/// An image of a commit layer, two chunks, and perhaps a derived layer.
struct Staged {
    reference: String,
    server: Server,
    /// Name and digest of each layer.
    layers: Vec<(&'static str, String)>,
}

fn running() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// A base commit with this kernel.
fn base(kernel: &str) -> Base {
    let mut base = Base::default();
    let object = |text: &str| Object::file(text.as_bytes());
    let (vmlinuz, initramfs) = (object(&format!("kernel {kernel}")), object("initramfs"));
    let (release, conf) = (object("NAME=Test\nID=test\n"), object("of the node image\n"));
    let meta = base.plain_meta();
    let files = [("initramfs.img", initramfs.checksum()), ("vmlinuz", vmlinuz.checksum())];
    let modules = base.dirtree(&dirtree(&files, &[]));
    let modules = base.dirtree(&dirtree(&[], &[(kernel, modules, meta)]));
    let lib = base.dirtree(&dirtree(&[("os-release", release.checksum())], &[("modules", modules, meta)]));
    let etc = base.dirtree(&dirtree(&[("conf", conf.checksum())], &[]));
    let usr = base.dirtree(&dirtree(&[], &[("etc", etc, meta), ("lib", lib, meta)]));
    let empty = base.dirtree(&dirtree(&[], &[]));
    let root = base.dirtree(&dirtree(&[], &[("usr", usr, meta), ("var", empty, meta)]));
    base.chunks = vec![vec![vmlinuz, initramfs], vec![release, conf]];
    base.finish(root)
}

impl Staged {
    /// Serves an image with these labels, its base with `kernel`; `derived` fills a layer on top.
    fn new(machine: &Machine, labels: &[(&str, &str)], kernel: &str, derived: Option<fn(&mut Layer)>) -> Result<Self> {
        let mut image: Image = base(kernel).image()?;
        for (label, value) in labels {
            image.config["config"]["Labels"][*label] = (*value).into();
        }
        if labels.iter().any(|(label, _)| *label == OLDER_VERSION) {
            image.config["config"]["Labels"].as_object_mut().context("no labels")?.remove(VERSION);
        }
        let mut names = vec!["commit", "chunk", "chunk"];
        if let Some(fill) = derived {
            image.layer(fill)?;
            names.push("derived");
        }
        let layers = names.into_iter().zip(image.blobs.iter().map(|(name, _)| name.clone())).collect();
        let path = machine.path("served");
        let digest = image.write(&path)?;
        let blobs = Layout::at(&path).served()?;
        let server = Server::start(Arc::new(blobs), Reply::good)?;
        Ok(Self { reference: format!("example.com/os/node@{digest}"), server, layers })
    }

    fn boot(&self, machine: &Machine, more: &str) -> Result<Value> {
        let default = machine.options()?.into_iter().next().context("no entry")?;
        let source = format!("slipstream.source=http://{}/node", self.server.host());
        let (output, status) =
            machine.boot(&format!("{default} slipstream.image={} {source} {more}", self.reference))?;
        ensure!(output.status.success(), "{output:?}");
        status.with_context(|| format!("no status: {output:?}"))
    }

    /// Returns the layers that the server was asked for, each as often as it was, in order.
    fn asked(&self) -> Vec<&'static str> {
        let asked = self.server.asked();
        let name = |path: &str| self.layers.iter().find(|(_, digest)| path.ends_with(digits(digest)));
        asked.iter().filter_map(|ask| name(&ask.path)).map(|(name, _)| *name).collect()
    }
}

fn vmlinuz(version: &str) -> String {
    format!("usr/lib/modules/{version}/vmlinuz")
}

/// Nothing is left of an image that was refused.
fn refused(machine: &Machine, status: &Value, expected: &str) -> Result<()> {
    ensure!(outcome(Some(status)) == "skipped", "{status}");
    let reason = status["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains(expected), "{reason}");
    ensure!(!machine.refs()?.contains("container") && machine.options()?.len() == 1, "something is left");
    Ok(())
}

const VERSION: &str = "org.opencontainers.image.version";
const OLDER_VERSION: &str = "version";

/// An image that is refused for its version, which manifest and config decide.
struct Skew {
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    karg: &'static str,
    expected: &'static str,
    /// Requests until the version is known: the manifest and the config, or none if the bootimage's is enough.
    asked: usize,
}

const SKEW: [Skew; 5] = [
    Skew {
        name: "minor_version",
        label: Some((VERSION, "41.2.3")),
        karg: "slipstream.skew=minor",
        expected: "the bootimage is 41.1 and the node image 41.2",
        asked: 2,
    },
    Skew {
        name: "version_by_the_older_label",
        label: Some((OLDER_VERSION, "42.1.0")),
        karg: "",
        expected: "the node image 42.1",
        asked: 2,
    },
    Skew {
        name: "no_version_that_can_be_read",
        label: Some((VERSION, "")),
        karg: "slipstream.skew=major",
        expected: "the version of the node image: \"\" is not a version",
        asked: 2,
    },
    Skew {
        name: "oldest_bootimage",
        label: None,
        karg: "slipstream.skew=41.5..",
        expected: "skew=41.5.., and the bootimage is 41.1",
        asked: 0,
    },
    Skew {
        name: "oldest_bootimage_by_a_label",
        label: Some(("slipstream.min-bootimage", "41.3")),
        karg: "",
        expected: "asks for a bootimage of 41.3 or later",
        asked: 2,
    },
];

fn skews(machine: &mut Machine, row: &Skew) -> Result<()> {
    let staged = Staged::new(machine, row.label.as_slice(), NEW_KERNEL, None)?;
    refused(machine, &staged.boot(machine, row.karg)?, row.expected)?;
    let asked: Vec<_> = staged.server.asked().into_iter().map(|ask| ask.path).collect();
    ensure!(asked.len() == row.asked && staged.asked().is_empty(), "asked for {asked:?}");
    Ok(())
}

/// An os-release as that of CentOS Stream, without CoreOS's own field: the commit has the whole version.
fn of_commit(machine: &mut Machine) -> Result<()> {
    let deployment = machine.linked(&machine.options()?.swap_remove(0))?;
    let release = deployment.join("usr/lib/os-release");
    fs::remove_file(&release).and_then(|()| fs::write(&release, "NAME=Test\nVERSION_ID=\"9\"\n"))?;
    let staged = Staged::new(machine, &[(VERSION, "9.0.20250515-0")], NEW_KERNEL, None)?;
    let status = staged.boot(machine, "slipstream.skew=minor")?;
    refused(machine, &status, "the bootimage is 40.7 and the node image 9.0")?;
    ensure!(status["bootimage"]["version"] == "40.7.1", "{status}");
    Ok(())
}

/// An image in which no layer has the running kernel.
struct Another {
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    derived: Option<fn(&mut Layer)>,
    own: &'static str,
    asked: &'static [&'static str],
}

const ANOTHER: [Another; 5] = [
    Another { name: "without_a_label", label: None, derived: None, own: NEW_KERNEL, asked: &["commit"] },
    Another {
        name: "with_the_label_of_openshift",
        label: Some(("ostree.linux", "true")),
        derived: None,
        own: NEW_KERNEL,
        asked: &["commit"],
    },
    Another {
        name: "with_an_honest_label",
        label: Some(("ostree.linux", NEW_KERNEL)),
        derived: None,
        own: NEW_KERNEL,
        asked: &["commit"],
    },
    Another {
        name: "with_a_third_kernel_in_a_layer",
        label: Some(("ostree.linux", NEW_KERNEL)),
        derived: Some(third_kernel),
        own: "3.0-derived",
        asked: &["commit", "derived"],
    },
    Another {
        name: "with_modules_alone_in_a_layer",
        label: None,
        derived: Some(modules_alone),
        own: NEW_KERNEL,
        asked: &["commit", "derived"],
    },
];

fn third_kernel(layer: &mut Layer) {
    layer.file(&vmlinuz("3.0-derived"), "kernel");
}

fn modules_alone(layer: &mut Layer) {
    layer.file(&format!("usr/lib/modules/{}/extra/x.ko", running()), "module").dir(&vmlinuz(&running()));
    layer.file("usr/share/vmlinuz", "kernel");
}

fn reads_no_chunk(machine: &mut Machine, row: &Another) -> Result<()> {
    let staged = Staged::new(machine, row.label.as_slice(), NEW_KERNEL, row.derived)?;
    let status = staged.boot(machine, "slipstream.kernel=same")?;
    let reason = format!("kernel=same, and the node image has {} instead of {}", row.own, running());
    refused(machine, &status, &reason)?;
    ensure!(staged.asked() == row.asked, "asked for {:?}", staged.asked());
    let kernel = serde_json::json!({"running": running(), "node_image": row.own, "differs": false});
    ensure!(status["kernel"] == kernel, "{}", status["kernel"]);
    Ok(())
}

/// The label says that it is the kernel, or the base has it, and it is not in the image: known when all was read.
fn promised() -> [Case; 3] {
    let read = |name: &str, linux: fn() -> String, kernel: fn() -> String, derived: Option<fn(&mut Layer)>| {
        case(name, move |machine| {
            let staged = Staged::new(machine, &[("ostree.linux", &linux())], &kernel(), derived)?;
            let status = staged.boot(machine, "slipstream.kernel=same")?;
            let own = if derived.is_some() { "3.0-derived" } else { NEW_KERNEL };
            refused(machine, &status, &format!("the node image has {own} instead of {}", running()))?;
            ensure!(staged.asked().len() == staged.layers.len(), "asked for {:?}", staged.asked());
            Ok(())
        })
    };
    [
        read("and_its_label_was_wrong", running, || NEW_KERNEL.to_owned(), None),
        read("and_a_layer_has_replaced_the_kernel", running, running, Some(replaces)),
        read("and_a_layer_has_replaced_the_kernel_without_a_label", || "true".to_owned(), running, Some(replaces)),
    ]
}

fn replaces(layer: &mut Layer) {
    layer.file(&format!("usr/lib/modules/.wh.{}", running()), "").file(&vmlinuz("3.0-derived"), "kernel");
}

/// The image has the running kernel, whatever its label says.
fn swaps(
    machine: &Machine,
    linux: &str,
    kernel: &str,
    derived: Option<fn(&mut Layer)>,
    more: &str,
) -> Result<(Value, Vec<&'static str>)> {
    let staged = Staged::new(machine, &[("ostree.linux", linux)], kernel, derived)?;
    let status = staged.boot(machine, more)?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    machine.ostree(&["fsck", "--quiet"])?;
    let mut asked = staged.asked();
    asked.sort_unstable();
    Ok((status, asked))
}

/// A label that was not brought up to date does not make us refuse an image that has the kernel.
fn in_base(machine: &mut Machine) -> Result<()> {
    let (status, asked) = swaps(machine, NEW_KERNEL, &running(), None, "slipstream.kernel=same")?;
    let kernel = serde_json::json!({"running": running(), "node_image": running(), "differs": false});
    ensure!(status["kernel"] == kernel, "{}", status["kernel"]);
    ensure!(asked == ["chunk", "chunk", "commit"], "asked for {asked:?}");
    Ok(())
}

/// A layer that was looked through is read again: it is put on top of the base, which comes later.
fn in_layer(machine: &mut Machine) -> Result<()> {
    let brings: fn(&mut Layer) = |layer| {
        layer.file(&format!("usr/lib/modules/.wh.{NEW_KERNEL}"), "");
        layer.file(&format!("./{}", vmlinuz(&running())), "hotfix");
        layer.file(&format!("usr/lib/modules/{}/initramfs.img", running()), "initramfs");
    };
    let (status, asked) = swaps(machine, NEW_KERNEL, NEW_KERNEL, Some(brings), "slipstream.kernel=same")?;
    ensure!(
        status["kernel"]["node_image"] == running() && status["kernel"]["differs"] == false,
        "{}",
        status["kernel"]
    );
    ensure!(asked == ["chunk", "chunk", "commit", "derived", "derived"], "asked for {asked:?}");
    Ok(())
}

/// The same kernel was not asked for: nothing is read ahead, and the account has both.
fn keep(machine: &mut Machine) -> Result<()> {
    let layer: fn(&mut Layer) = |layer| {
        layer.file("usr/share/x", "x");
    };
    let (status, asked) = swaps(machine, "true", NEW_KERNEL, Some(layer), "")?;
    let kernel = serde_json::json!({"running": running(), "node_image": NEW_KERNEL, "differs": true});
    ensure!(status["kernel"] == kernel, "{}", status["kernel"]);
    ensure!(asked == ["chunk", "chunk", "commit", "derived"], "asked for {asked:?}");
    let metrics = fs::read_to_string(machine.path("run/slipstream.prom"))?;
    ensure!(metrics.contains("\nslipstream_kernel_differs 1\n"), "{metrics}");
    Ok(())
}
