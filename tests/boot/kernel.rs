// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images that are refused for their version or their kernel: what was asked of a web server before the answer was known.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Machine, NEW_KERNEL, outcome};
use testkit::base::Base;
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::objects::{Object, dirtree};
use testkit::server::{Reply, Server};

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
    /// Serve an image with these labels, its base with `kernel`; `derived` fills a layer on top.
    fn new(
        machine: &Machine,
        labels: &[(&str, &str)],
        kernel: &str,
        derived: Option<&dyn Fn(&mut Layer)>,
    ) -> Result<Self> {
        let mut image: Image = base(kernel).image()?;
        for (label, value) in labels {
            image.config["config"]["Labels"][*label] = (*value).into();
        }
        let mut names = vec!["commit", "chunk", "chunk"];
        if let Some(fill) = derived {
            let mut layer = Layer::new();
            fill(&mut layer);
            image.push(&Blob::new(layer.finish(), Packing::Gzip))?;
            names.push("derived");
        }
        let layers = names.into_iter().zip(image.blobs.iter().map(|(name, _)| name.clone())).collect();
        let dir = tempfile::tempdir_in(machine.directory.path())?;
        let digest = image.write(dir.path())?;
        let mut blobs = HashMap::from([("oci-layout".to_owned(), fs::read(dir.path().join("oci-layout"))?)]);
        for entry in fs::read_dir(dir.path().join("blobs/sha256"))? {
            let entry = entry?;
            blobs.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
        }
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

    /// The layers that the server was asked for, each as often as it was, in order.
    fn asked(&self) -> Vec<&'static str> {
        let asked = self.server.asked();
        let name =
            |path: &str| self.layers.iter().find(|(_, digest)| path.ends_with(digest.trim_start_matches("sha256:")));
        asked.iter().filter_map(|ask| name(&ask.path)).map(|(name, _)| *name).collect()
    }
}

fn vmlinuz(version: &str) -> String {
    format!("usr/lib/modules/{version}/vmlinuz")
}

/// Nothing is left of an image that was refused.
fn refused(machine: &Machine, status: &Value, label: &str, expected: &str) -> Result<()> {
    ensure!(outcome(Some(status)) == "skipped", "{label}: {status}");
    let reason = status["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains(expected), "{label}: {reason}");
    ensure!(!machine.refs()?.contains("container") && machine.options()?.len() == 1, "{label}: something is left");
    Ok(())
}

/// The version is decided by manifest and config.
pub fn skew(machine: &Machine) -> Result<()> {
    let version = "org.opencontainers.image.version";
    for (label, labels, karg, expected) in [
        ("minor", vec![(version, "41.2.3")], "slipstream.skew=minor", "the bootimage is 41.1 and the node image 41.2"),
        ("older label", vec![("version", "42.1.0")], "slipstream.skew=major", "the node image 42.1"),
        ("no label", vec![], "slipstream.skew=major", "the node image does not say its version"),
        ("at least", vec![], "slipstream.skew=41.5..", "skew=41.5.., and the bootimage is 41.1"),
        ("the image's own", vec![("slipstream.min-bootimage", "41.3")], "", "asks for a bootimage of 41.3 or later"),
    ] {
        let staged = Staged::new(machine, &labels, NEW_KERNEL, None)?;
        refused(machine, &staged.boot(machine, karg)?, label, expected)?;
        let asked: Vec<_> = staged.server.asked().into_iter().map(|ask| ask.path).collect();
        // The manifest and the config.
        ensure!(asked.len() == 2 && staged.asked().is_empty(), "{label}: asked for {asked:?}");
    }
    // An os-release as that of CentOS Stream, without CoreOS's own field: the commit has the whole version.
    let deployment = machine.linked(&machine.options()?.swap_remove(0))?;
    let release = deployment.join("usr/lib/os-release");
    fs::remove_file(&release).and_then(|()| fs::write(&release, "NAME=Test\nVERSION_ID=\"9\"\n"))?;
    let staged = Staged::new(machine, &[(version, "9.0.20250515-0")], NEW_KERNEL, None)?;
    let status = staged.boot(machine, "slipstream.skew=minor")?;
    refused(machine, &status, "commit", "the bootimage is 40.7 and the node image 9.0")?;
    ensure!(status["bootimage"]["version"] == "40.7.1", "{status}");
    Ok(())
}

/// No layer has the running kernel: the chunks are not read.
pub fn another(machine: &Machine) -> Result<()> {
    let own = running();
    let other = |layer: &mut Layer| {
        layer.file(&vmlinuz("3.0-derived"), "kernel");
    };
    let beside = |layer: &mut Layer| {
        layer.file(&format!("usr/lib/modules/{}/extra/x.ko", running()), "module").dir(&vmlinuz(&running()));
        layer.file("usr/share/vmlinuz", "kernel");
    };
    for (label, labels, derived, expected, asked) in [
        ("no label", vec![], None, NEW_KERNEL, vec!["commit"]),
        ("OpenShift's label", vec![("ostree.linux", "true")], None, NEW_KERNEL, vec!["commit"]),
        ("an honest label", vec![("ostree.linux", NEW_KERNEL)], None, NEW_KERNEL, vec!["commit"]),
        (
            "a layer with a third kernel",
            vec![("ostree.linux", NEW_KERNEL)],
            Some(&other as &dyn Fn(&mut Layer)),
            "3.0-derived",
            vec!["commit", "derived"],
        ),
        (
            "a layer with modules alone",
            vec![],
            Some(&beside as &dyn Fn(&mut Layer)),
            NEW_KERNEL,
            vec!["commit", "derived"],
        ),
    ] {
        let staged = Staged::new(machine, &labels, NEW_KERNEL, derived)?;
        let status = staged.boot(machine, "slipstream.kernel=same")?;
        let reason = format!("kernel=same, and the node image has {expected} instead of {own}");
        refused(machine, &status, label, &reason)?;
        ensure!(staged.asked() == asked, "{label}: asked for {:?}", staged.asked());
        let kernel = serde_json::json!({"running": own, "own": expected, "differs": false});
        ensure!(status["kernel"] == kernel, "{label}: {}", status["kernel"]);
    }
    Ok(())
}

/// The label says that it is the kernel, or the base has it, and it is not in the image: known when all was read.
pub fn promised(machine: &Machine) -> Result<()> {
    let own = running();
    let replaced = |layer: &mut Layer| {
        layer.file(&format!("usr/lib/modules/.wh.{}", running()), "").file(&vmlinuz("3.0-derived"), "kernel");
    };
    for (label, linux, kernel, derived, expected) in [
        ("a wrong label", own.as_str(), NEW_KERNEL, None, NEW_KERNEL),
        ("a layer replaces it", own.as_str(), own.as_str(), Some(&replaced as &dyn Fn(&mut Layer)), "3.0-derived"),
        ("so without a label", "true", own.as_str(), Some(&replaced as &dyn Fn(&mut Layer)), "3.0-derived"),
    ] {
        let staged = Staged::new(machine, &[("ostree.linux", linux)], kernel, derived)?;
        let status = staged.boot(machine, "slipstream.kernel=same")?;
        refused(machine, &status, label, &format!("the node image has {expected} instead of {own}"))?;
        ensure!(staged.asked().len() == staged.layers.len(), "{label}: asked for {:?}", staged.asked());
    }
    Ok(())
}

/// The image has the running kernel, whatever its label says.
fn swaps(
    machine: &Machine,
    linux: &str,
    kernel: &str,
    derived: Option<&dyn Fn(&mut Layer)>,
    more: &str,
) -> Result<(Value, Vec<&'static str>)> {
    let staged = Staged::new(machine, &[("ostree.linux", linux)], kernel, derived)?;
    let status = staged.boot(machine, more)?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    crate::run(&["ostree", "fsck", "--quiet", &format!("--repo={}", machine.path("sysroot/ostree/repo").display())])?;
    let mut asked = staged.asked();
    asked.sort_unstable();
    Ok((status, asked))
}

/// A label that was not brought up to date does not make us refuse an image that has the kernel.
pub fn in_base(machine: &Machine) -> Result<()> {
    let (status, asked) = swaps(machine, NEW_KERNEL, &running(), None, "slipstream.kernel=same")?;
    let kernel = serde_json::json!({"running": running(), "own": running(), "differs": false});
    ensure!(status["kernel"] == kernel, "{}", status["kernel"]);
    ensure!(asked == ["chunk", "chunk", "commit"], "asked for {asked:?}");
    Ok(())
}

/// A layer that was looked through is read again: it is put on top of the base, which comes later.
pub fn in_layer(machine: &Machine) -> Result<()> {
    let brings = |layer: &mut Layer| {
        layer.file(&format!("usr/lib/modules/.wh.{NEW_KERNEL}"), "");
        layer.file(&format!("./{}", vmlinuz(&running())), "hotfix");
        layer.file(&format!("usr/lib/modules/{}/initramfs.img", running()), "initramfs");
    };
    let (status, asked) = swaps(machine, NEW_KERNEL, NEW_KERNEL, Some(&brings), "slipstream.kernel=same")?;
    ensure!(status["kernel"]["own"] == running() && status["kernel"]["differs"] == false, "{}", status["kernel"]);
    ensure!(asked == ["chunk", "chunk", "commit", "derived", "derived"], "asked for {asked:?}");
    Ok(())
}

/// Nobody has asked for the same kernel: nothing is read ahead, and the account has both.
pub fn keep(machine: &Machine) -> Result<()> {
    let layer = |layer: &mut Layer| {
        layer.file("usr/share/x", "x");
    };
    let (status, asked) = swaps(machine, "true", NEW_KERNEL, Some(&layer), "")?;
    let kernel = serde_json::json!({"running": running(), "own": NEW_KERNEL, "differs": true});
    ensure!(status["kernel"] == kernel, "{}", status["kernel"]);
    ensure!(asked == ["chunk", "chunk", "commit", "derived"], "asked for {asked:?}");
    let metrics = fs::read_to_string(machine.path("run/slipstream.prom"))?;
    ensure!(metrics.contains("\nslipstream_kernel_differs 1\n"), "{metrics}");
    Ok(())
}
