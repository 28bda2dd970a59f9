// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A disk and a node image for the real kola, in the form in which coreos-assembler leaves what it has built: kola
//! finds the archive that it injects nowhere else (`--workdir`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::images::trees::{self, Flavour, Role, Tree};
use crate::images::{disk, node};
use crate::lab::Lab;
use crate::lab::bls::BootPartition;
use crate::lab::cache::Inputs;
use crate::lab::cmd;
use crate::lab::kernels;
use crate::lab::peer;

/// Its name in the branch and in the tree.
const NAME: &str = "kola";
/// What dracut puts into the initramfs.
const DRACUT_MODULES: &str = "ostree systemd kola-ignition slipstream";
/// kola's name of the architecture.
const ARCH: &str = "x86_64";
/// kola runs on those that it knows. Its option `--distro` overrides it.
const DISTRIBUTION: &str = "fedora-coreos";
/// The archive that kola injects.
const ARCHIVE: &str = "node.ociarchive";

/// Returns an artefact: a working directory as coreos-assembler's, with one build.
pub fn build(lab: &Lab) -> Result<PathBuf> {
    let tree = tree(lab)?;
    let peer = peer::binary(lab)?;
    let inputs = Inputs::default().text(tree.dir.to_string_lossy()).file(&peer)?.tree(&lab.own("scripts"))?;
    let inputs = disk::add_files(lab, inputs)?;
    lab.cache.artefact("kola-build", inputs, |dir| {
        let build = directory(dir)?;
        disk::write(lab, &tree, "ext4", &build)?;
        let stamp = dir.join("ignition.firstboot");
        fs::write(&stamp, "set ignition_firstboot=\"ignition.firstboot\"\n").context("writing the first-boot stamp")?;
        BootPartition::of(lab, &build.join("disk.raw")).write(&stamp, "/ignition.firstboot")?;

        node::encapsulate(lab, &tree, &peer, dir)?;
        cmd::run(&mut lab.script("layout.sh", [dir]))?;
        fs::rename(dir.join("stage/node.tar"), build.join(ARCHIVE)).context("moving the archive")?;
        fs::remove_dir_all(dir.join("stage")).context("removing the layout")?;
        write_meta(&build, "disk.raw")
    })
}

/// Makes a working directory, below the logs, with a disk and an archive that were not built here.
pub fn link(lab: &Lab, disk: &Path, archive: &Path) -> Result<PathBuf> {
    let dir = lab.logs.join("kola-build");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    let build = directory(&dir)?;
    // kola goes by the name for the format.
    let format = disk.extension().and_then(|format| format.to_str()).filter(|format| ["qcow2", "raw"].contains(format));
    let format = format.with_context(|| format!("taking {}: it is called neither .qcow2 nor .raw", disk.display()))?;
    let name = format!("disk.{format}");
    for (path, name) in [(disk, name.as_str()), (archive, ARCHIVE)] {
        let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
        symlink(&path, build.join(name)).with_context(|| format!("linking {}", path.display()))?;
    }
    write_meta(&build, &name)?;
    Ok(dir)
}

/// Where the files of the one build go.
fn directory(workdir: &Path) -> Result<PathBuf> {
    let id = Role::Bootimage.version();
    let build = workdir.join("builds").join(id).join(ARCH);
    fs::create_dir_all(&build).context("creating the build's directory")?;
    symlink(id, workdir.join("builds/latest")).context("naming the latest build")?;
    Ok(build)
}

/// The tree: the bootimage's with what kola needs. It is the node image as well, as it is in CoreOS's own tests.
fn tree(lab: &Lab) -> Result<Tree> {
    let base = trees::root(lab, Role::Bootimage)?;
    let root = trees::extended_root(lab, "kola-root", &base, &lab.packages(NAME)?)?;
    let kernels = kernels::both(lab)?.join("boot");
    let slipstream = trees::slipstream(lab)?;
    let version = Role::Bootimage.version();
    let branch = format!("testos/{NAME}");
    let mut inputs = Inputs::default().text(DRACUT_MODULES).text(version);
    for part in [&root, &kernels, &slipstream] {
        inputs = inputs.text(part.to_string_lossy());
    }
    for part in ["dracut/60kola-ignition", "guest/kola-machine"] {
        inputs = inputs.tree(&lab.own(part))?;
    }
    for script in ["kola-machine.sh", "tree.sh", "commit.sh"] {
        inputs = inputs.file(&lab.own("scripts").join(script))?;
    }
    let dir = lab.cache.artefact("tree-kola", inputs, |dir| {
        let tree = dir.join("tree");
        cmd::run(cmd::words("cp", ["-a"]).args([&root, &tree]))?;
        for part in [&kernels, &slipstream] {
            cmd::run(cmd::words("cp", ["-a"]).args([part.join("."), tree.clone()]))?;
        }
        cmd::run(&mut cmd::words("bash", [lab.own("scripts/kola-machine.sh"), tree.clone()]))?;
        let arguments = [tree.as_os_str(), NAME.as_ref(), version.as_ref(), DRACUT_MODULES.as_ref()];
        cmd::run(cmd::words("bash", [lab.own("scripts/tree.sh")]).args(arguments))?;
        let repo = dir.join("repo");
        let arguments = [tree.as_os_str(), repo.as_os_str(), branch.as_ref(), version.as_ref()];
        cmd::run(&mut lab.script("commit.sh", arguments))
    })?;
    Ok(Tree { flavour: Flavour::Plain, dir, root, branch, kernel: kernels::version_of(&kernels)? })
}

/// What coreos-assembler says about a build, as far as kola wants to know.
fn write_meta(build: &Path, disk: &str) -> Result<()> {
    let artifact = |name: &str| -> Result<_> {
        let path = build.join(name);
        let mut file = fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let mut sha256 = Sha256::new();
        let size = std::io::copy(&mut file, &mut sha256).with_context(|| format!("reading {}", path.display()))?;
        Ok(json!({"path": name, "sha256": format!("{:x}", sha256.finalize()), "size": size}))
    };
    let images = json!({"qemu": artifact(disk)?, "ostree": artifact(ARCHIVE)?});
    let id = Role::Bootimage.version();
    let meta = json!({"buildid": id, "name": DISTRIBUTION, "coreos-assembler.basearch": ARCH, "images": images});
    fs::write(build.join("meta.json"), meta.to_string()).context("writing meta.json")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{ARCHIVE, directory, write_meta};

    #[test]
    fn a_build_as_kola_finds_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let build = directory(dir.path()).expect("made");
        fs::write(build.join("disk.raw"), "disk").expect("written");
        fs::write(build.join(ARCHIVE), "").expect("written");
        write_meta(&build, "disk.raw").expect("written");
        let text = fs::read(dir.path().join("builds/latest/x86_64/meta.json")).expect("the latest build");
        let meta: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(meta["images"]["qemu"]["path"], "disk.raw");
        assert_eq!(meta["images"]["qemu"]["size"], 4);
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(meta["images"]["ostree"]["sha256"], empty);
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let build = directory(dir.path()).expect("made");
        let error = format!("{:#}", write_meta(&build, "disk.raw").expect_err("no disk"));
        assert!(error.starts_with("opening ") && error.contains("disk.raw"), "{error}");
    }
}
