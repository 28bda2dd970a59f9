// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A sysroot in a directory, with a bootimage that is deployed and a node image that is staged; and boots of it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::image::Image;
use crate::layer::Layer;
use crate::programs::{ostree, run};

/// The kernel that the bootimage has.
pub const OLD_KERNEL: &str = "1.0-bootimage";
/// The kernel that the node image has.
pub const NEW_KERNEL: &str = "2.0-node";

/// A machine.
#[derive(Debug)]
pub struct Machine {
    directory: TempDir,
    slipstream: PathBuf,
    /// The node image, by the name that a request has for it.
    pub image: String,
    /// The step at which slipstream is to die.
    pub failpoint: Option<&'static str>,
}

impl Machine {
    /// Deploys the bootimage and stages the node image, for the program `slipstream`.
    pub fn new(slipstream: &str) -> Result<Self> {
        // tmpfs may lack user xattrs.
        let directory = tempfile::tempdir_in("/var/tmp").context("creating a directory")?;
        let (slipstream, image) = (PathBuf::from(slipstream), String::new());
        let mut machine = Self { directory, slipstream, image, failpoint: None };
        machine.stage("node", node_image(NEW_KERNEL, |_| {})?)?;
        machine.deploy_bootimage().context("deploying the bootimage")?;
        Ok(machine)
    }

    fn deploy_bootimage(&self) -> Result<()> {
        let (root, tree) = (self.path("sysroot"), self.path("tree"));
        fs::create_dir(&root)?;
        for (path, text) in [
            (format!("usr/lib/modules/{OLD_KERNEL}/vmlinuz"), "old kernel"),
            (format!("usr/lib/modules/{OLD_KERNEL}/initramfs.img"), "old initramfs"),
            ("usr/lib/os-release".to_owned(), "NAME=Test\nID=test\nOSTREE_VERSION='41.1'\n"),
            ("usr/etc/conf".to_owned(), "of the bootimage\n"),
        ] {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().context("no parent")?)?;
            fs::write(path, text)?;
        }
        let sysroot = format!("--sysroot={}", root.display());
        run(&["ostree", "admin", "init-fs", "--modern", &root.display().to_string()])?;
        self.ostree(&["config", "set", "sysroot.bootloader", "none"])?;
        run(&["ostree", "admin", "os-init", "testos", &sysroot])?;
        self.deploy_tree()
    }

    /// Deploys the directory `tree` as the bootimage: with what a test has changed in it, once more.
    pub fn deploy_tree(&self) -> Result<()> {
        let sysroot = format!("--sysroot={}", self.path("sysroot").display());
        let tree = format!("--tree=dir={}", self.path("tree").display());
        self.ostree(&["commit", "--branch=bootimage", "--add-metadata-string=version=40.7.1", &tree])?;
        let kargs = ["--karg=rw", "--karg=$ignition_firstboot", "--karg=slipstream.debug=no"];
        run(&[&["ostree", "admin", "deploy", &sysroot, "--os=testos"], &kargs[..], &["bootimage"]].concat())?;
        Ok(())
    }

    /// Writes an image into the directory `name`, and makes it the one that requests ask for.
    pub fn stage(&mut self, name: &str, image: Image) -> Result<()> {
        self.image = format!("example.com/os/node@{}", image.write(&self.path(name))?);
        Ok(())
    }

    /// Returns a path in the machine's directory; `sysroot` is the root of its disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the repository.
    pub fn repo(&self) -> PathBuf {
        self.path("sysroot/ostree/repo")
    }

    /// Runs ostree on the repository.
    pub fn ostree(&self, words: &[&str]) -> Result<String> {
        ostree(&self.repo(), words)
    }

    /// Returns the options of the boot loader entries, the default first.
    pub fn options(&self) -> Result<Vec<String>> {
        let mut entries: Vec<_> = fs::read_dir(self.path("sysroot/boot/loader/entries"))?.collect::<Result<_, _>>()?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
        let options = |path: &Path| -> Result<String> {
            let text = fs::read_to_string(path)?;
            let line = text.lines().find_map(|line| line.strip_prefix("options "));
            Ok(line.context("entry without options")?.to_owned())
        };
        entries.iter().map(|entry| options(&entry.path())).collect()
    }

    /// Runs `slipstream boot` as on a first boot with this command line; returns its output and the status file.
    pub fn boot(&self, cmdline: &str) -> Result<(Output, Option<Value>)> {
        let output = self.command(cmdline)?.output().context("running slipstream")?;
        Ok((output, self.status()?))
    }

    /// Returns the command for a first boot with this command line.
    pub fn command(&self, cmdline: &str) -> Result<Command> {
        self.command_as(&first_boot(cmdline))
    }

    /// Returns the command for a boot with exactly this command line.
    pub fn command_as(&self, cmdline: &str) -> Result<Command> {
        fs::write(self.path("cmdline"), cmdline)?;
        fs::create_dir_all(self.path("run"))?;
        // The last boot's /run is gone, and its account with it.
        for name in ["status.json", "slipstream.prom"] {
            match fs::remove_file(self.path("run").join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context("removing the account"),
                _ => {}
            }
        }
        let mut command = Command::new(&self.slipstream);
        command.arg("boot");
        for (option, name) in [
            ("--sysroot", "sysroot"),
            ("--cmdline", "cmdline"),
            ("--run-dir", "run"),
            ("--root", "run"),
            ("--ignition", "ignition.json"),
        ] {
            command.arg(option).arg(self.path(name));
        }
        command.envs(self.failpoint.map(|step| ("SLIPSTREAM_FAILPOINT", step)));
        Ok(command)
    }

    /// Returns the status file, if there is one.
    pub fn status(&self) -> Result<Option<Value>> {
        match fs::read_to_string(self.path("run/status.json")) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(_) => Ok(None),
        }
    }

    /// Returns the command line of a first boot of the default entry with a request for the node image, and `more`.
    pub fn request(&self, more: &str) -> Result<String> {
        let default = self.options()?.into_iter().next().context("no entry")?;
        Ok(format!("{} slipstream.image={} {more}", first_boot(&default), self.image))
    }

    /// Returns the argument that names the directory `node` as a source.
    pub fn source(&self) -> String {
        self.source_at("node")
    }

    /// Returns the argument that names a directory as a source.
    pub fn source_at(&self, name: &str) -> String {
        format!("slipstream.source=oci:{}", self.path(name).display())
    }

    /// Returns the names of all refs, line by line.
    pub fn refs(&self) -> Result<String> {
        self.ostree(&["refs"])
    }

    /// Returns path and time of change of everything that could have been written.
    pub fn listing(&self) -> Result<String> {
        let root = self.path("sysroot").display().to_string();
        run(&["find", &root, "-printf", "%p %C@ %l\n"])
    }

    /// Returns where the boot link of a command line leads.
    pub fn linked(&self, cmdline: &str) -> Result<PathBuf> {
        let link = cmdline.split_whitespace().find_map(|karg| karg.strip_prefix("ostree=/"));
        Ok(fs::canonicalize(self.path("sysroot").join(link.context("no ostree=")?))?)
    }
}

/// Returns what GRUB makes of an entry while the stamp of the first boot is on the boot partition.
pub fn first_boot(options: &str) -> String {
    options.replace("$ignition_firstboot", "ignition.firstboot")
}

/// Makes a node image without an ostree base: one layer with all that a deployment needs, and what `more` adds.
pub fn node_image(kernel: &str, more: impl FnOnce(&mut Layer)) -> Result<Image> {
    let mut image = Image::plain();
    image.layer(|layer| {
        layer.dir("usr").dir("etc");
        layer.file(&format!("usr/lib/modules/{kernel}/vmlinuz"), "new kernel");
        layer.file(&format!("usr/lib/modules/{kernel}/initramfs.img"), "new initramfs");
        layer.file("usr/lib/os-release", "NAME=Test\nID=test\n").file("etc/conf", "of the node image\n").dir("var");
        more(layer);
    })?;
    Ok(image)
}

/// Returns how a boot has ended by its status.
pub fn outcome(status: Option<&Value>) -> &str {
    status.and_then(|status| status["outcome"].as_str()).unwrap_or("none")
}
