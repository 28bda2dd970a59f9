// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels of the files that no commit labels, on a directory with a deployment.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use contract::places::PhysicalRoot;
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use rustix::io::Errno;
use slipstream::label_disk::Labeller;
use testkit::programs::needs;
use testkit::suite::{Case, Suite};

/// Where the kernel keeps a label.
const XATTR: &str = "security.selinux";

const POLICY: &str = "\
/.*\tsystem_u:object_r:default_t:s0
/etc(/.*)?\tsystem_u:object_r:etc_t:s0
/etc/selinux(/.*)?\tsystem_u:object_r:selinux_config_t:s0
/boot(/.*)?\tsystem_u:object_r:boot_t:s0
/ostree(/.*)?\tsystem_u:object_r:usr_t:s0
";

fn main() -> ExitCode {
    let case = |name: &str, run: fn(&Path, &Path) -> Result<()>| {
        Case::new(name, move || {
            // Not /tmp: a tmpfs may have no such attributes.
            let root = tempfile::tempdir_in("/var/tmp").context("creating a directory")?;
            let deployment = deploy(root.path())?;
            run(root.path(), &deployment)
        })
    };
    let cases = vec![
        case("only_what_has_no_label_gets_one", only_what_has_none),
        case("without_any_label_the_policy_decides", by_policy),
        case("without_a_policy_nothing_is_labelled", without_policy),
    ];
    Suite::new("label", || needs(&[])).run(cases)
}

/// Makes a physical root with one deployment, which has a policy; returns the deployment.
fn deploy(root: &Path) -> Result<PathBuf> {
    let deployment = root.join("ostree/deploy/os/deploy/a.0");
    let at = |path: &str| root.join(path);
    for directory in [
        "boot/loader.1/entries",
        "boot/grub2",
        "boot/ostree/os-a",
        "ostree/repo/objects/00",
        "ostree/repo/extensions/theirs",
        "ostree/bootc/storage",
        "ostree/boot.1.1/os/a",
        "ostree/deploy/os/backing/a.0/root-transient/upper/etc",
        "ostree/deploy/os/var/lib",
    ] {
        fs::create_dir_all(at(directory))?;
    }
    let contexts = deployment.join("etc/selinux/test/contexts/files");
    fs::create_dir_all(&contexts)?;
    fs::create_dir_all(deployment.join("usr"))?;
    fs::write(deployment.join("etc/selinux/config"), "SELINUX=enforcing\nSELINUXTYPE=test\n")?;
    fs::write(contexts.join("file_contexts"), POLICY)?;
    // libostree wants to know the checksum of the loaded form.
    fs::create_dir_all(deployment.join("etc/selinux/test/policy"))?;
    fs::write(deployment.join("etc/selinux/test/policy/policy.33"), "")?;
    for file in [
        "boot/loader.1/entries/a.conf",
        "boot/ostree/os-a/vmlinuz",
        "ostree/deploy/os/deploy/a.0.origin",
        "ostree/repo/objects/00/a.dirtree",
        "ostree/repo/objects/00/a.file",
        "ostree/repo/extensions/theirs/x",
        "ostree/bootc/storage/x",
        "ostree/deploy/os/var/lib/x",
    ] {
        fs::write(at(file), "")?;
    }
    symlink("loader.1", at("boot/loader"))?;
    symlink("boot.1.1", at("ostree/boot.1"))?;
    symlink("../../../deploy/os/deploy/a.0", at("ostree/boot.1.1/os/a/0"))?;
    Ok(deployment)
}

fn set(path: &Path, label: &str) -> Result<()> {
    lsetxattr(path, XATTR, &[label.as_bytes(), &[0]].concat(), XattrFlags::empty()).context("setting a label")
}

fn read(path: &Path) -> Result<Option<String>> {
    let mut value = [0; 4096];
    match lgetxattr(path, XATTR, &mut value[..]) {
        Ok(length) => Ok(Some(String::from_utf8(value[..length].to_vec())?.trim_end_matches('\0').to_owned())),
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading the label of {}", path.display())),
    }
}

fn only_what_has_none(root: &Path, deployment: &Path) -> Result<()> {
    let at = |path: &str| root.join(path);
    set(&at("boot"), "system_u:object_r:boot_t:s0")?;
    // As the image builder wants it, and nothing that the policy would say.
    set(&at("ostree"), "system_u:object_r:root_t:s0")?;
    set(&at("ostree/repo"), "system_u:object_r:usr_t:s0")?;
    set(&deployment.join("etc"), "system_u:object_r:odd_t:s0")?;
    fs::hard_link(at("ostree/repo/objects/00/a.file"), at("boot/ostree/os-a/initrd"))?;

    let (labeller, physical) = (Labeller::new(deployment), &PhysicalRoot::new(root));
    let count = (labeller.boot(physical)?, labeller.ostree(physical)?);
    ensure!(count == (7, 12), "{count:?} labels");
    let count = labeller.links(physical)?;
    ensure!(count == 5, "{count} labels of links");
    let shown = format!("{labeller:?}");
    ensure!(shown.contains("policy: OnceCell(<uninit>)"), "it is not needed where directories have labels: {shown}");
    let count = labeller.etc()?;
    ensure!(count == 8, "{count} labels in /etc");
    let (boot, usr, root_t) =
        ("system_u:object_r:boot_t:s0", "system_u:object_r:usr_t:s0", "system_u:object_r:root_t:s0");
    let a = "ostree/deploy/os/deploy/a.0";
    for (path, label) in [
        ("boot/loader", Some(boot)),
        ("boot/loader.1/entries/a.conf", Some(boot)),
        ("boot/ostree/os-a/vmlinuz", Some(boot)),
        ("boot/ostree/os-a/initrd", None),
        ("boot/grub2", None),
        ("ostree/deploy/os/deploy", Some(root_t)),
        ("ostree/deploy/os/deploy/a.0.origin", Some(root_t)),
        ("ostree/boot.1", Some(root_t)),
        ("ostree/boot.1.1/os/a/0", Some(root_t)),
        ("ostree/bootc", None),
        ("ostree/bootc/storage/x", None),
        ("ostree/repo/extensions", None),
        ("ostree/repo/extensions/theirs/x", None),
        ("ostree/deploy/os/backing/a.0/root-transient/upper", Some(root_t)),
        ("ostree/deploy/os/backing/a.0/root-transient/upper/etc", None),
        ("ostree/deploy/os/var", None),
        ("ostree/deploy/os/var/lib/x", None),
        ("ostree/repo/objects/00", Some(usr)),
        ("ostree/repo/objects/00/a.dirtree", Some(usr)),
        ("ostree/repo/objects/00/a.file", None),
        (a, Some(root_t)),
        (&format!("{a}/usr"), None),
        (&format!("{a}/etc"), Some("system_u:object_r:odd_t:s0")),
        (&format!("{a}/etc/selinux/config"), Some("system_u:object_r:selinux_config_t:s0")),
    ] {
        let found = read(&at(path))?;
        ensure!(found.as_deref() == label, "{path} has {found:?}");
    }
    let again = (labeller.boot(physical)?, labeller.ostree(physical)?, labeller.etc()?);
    ensure!(again == (0, 0, 0), "a second time: {again:?}");
    Ok(())
}

fn by_policy(root: &Path, deployment: &Path) -> Result<()> {
    Labeller::new(deployment).boot(&PhysicalRoot::new(root))?;
    let entry = root.join("boot/loader.1/entries/a.conf");
    let found = read(&entry)?;
    ensure!(found.as_deref() == Some("system_u:object_r:boot_t:s0"), "{found:?}");
    Ok(())
}

fn without_policy(root: &Path, deployment: &Path) -> Result<()> {
    fs::remove_dir_all(deployment.join("etc/selinux"))?;
    let (labeller, physical) = (Labeller::new(deployment), &PhysicalRoot::new(root));
    let found = (labeller.boot(physical)?, labeller.ostree(physical)?, labeller.etc()?);
    ensure!(found == (0, 0, 0), "{found:?}");
    Ok(())
}
