// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The running kernel's modules in a root that has others.
//!
//! The node image has modules for its own kernel only. Those of the running kernel are copied from the bootimage's
//! deployment to a tmpfs at `/usr/lib/modules`, next to the node image's own. A copy, because the bootimage's
//! deployment may be removed minutes after the boot (the MCO does that) while its kernel runs; a tmpfs, because it is
//! gone with the next reboot, whatever happens.

use std::fs::{self, DirEntry};
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail};
use contract::handoff::Leftover;

use crate::mount;

/// Modules in the deployment root.
pub(super) const MODULES: &str = "usr/lib/modules";
/// Big files beside the modules that no module loader reads: the kernel, and what else there is to boot it.
const NOT_MODULES: [&str; 7] =
    ["vmlinuz", "initramfs.img", "initramfs", "aboot.img", "devicetree", "dtb", "System.map"];
/// Ends and starts of more of their names: unified kernel images, the versions of symbols.
const EFI: &str = ".efi";
const SYMBOLS: &str = "symvers";
/// Room for the directories of the tmpfs, in bytes for each entry.
const PER_ENTRY: u64 = 4096;
/// Paths that systemd labels right after it has loaded the policy (systemd ≥ 246).
const RELABEL: &str = "systemd/relabel-extra.d/50-slipstream.relabel";

/// Mounts a tmpfs over `target` that shows what was there, and a copy of `source` as `kernel`. Returns its size.
///
/// It is put together at `aside`, a directory that is made, and attached as a whole: if anything fails, `target` is as it was.
///
/// Twice the inodes: since Linux 6.6 extended attributes are taken from their number too, 1 KiB for each, and every
/// file will get an SELinux label.
pub(super) fn bring_modules(source: &Path, target: &Path, kernel: &str, aside: &Path) -> Result<u64> {
    let (mut size, mut entries) = (0, 0);
    measure(source, &mut size, &mut entries)?;
    let own = read_dir(target)?;
    let count = entries + own.len() as u64 + 16;
    fs::create_dir_all(aside).with_context(|| format!("creating {}", aside.display()))?;
    mount::tmpfs(aside, &format!("mode=0755,size={},nr_inodes={}", size + count * PER_ENTRY, count * 2))?;
    let attached = fill(aside, &own, source, kernel)
        .and_then(|()| mount::detached_recursive(aside))
        .and_then(|tree| mount::attach(&tree, target));
    let put_away = mount::detach(aside).and_then(|()| fs::remove_dir(aside).context("removing it"));
    if let Err(error) = put_away {
        log::warn!("{error:#}");
    }
    attached.map(|()| size)
}

/// Fills the tmpfs: what the image has is mounted there, links are made again, and the running kernel's modules are copied.
fn fill(aside: &Path, own: &[DirEntry], source: &Path, kernel: &str) -> Result<()> {
    for entry in own {
        let (path, place) = (entry.path(), aside.join(entry.file_name()));
        let kind = entry.file_type().with_context(|| format!("reading {}", path.display()))?;
        let creating = || format!("creating {}", place.display());
        if kind.is_symlink() {
            let link = fs::read_link(&path).with_context(|| format!("reading {}", path.display()))?;
            symlink(link, &place).with_context(creating)?;
            continue;
        } else if kind.is_dir() {
            fs::create_dir(&place).with_context(creating)?;
        } else if kind.is_file() {
            fs::write(&place, "").with_context(creating)?;
        } else {
            bail!("{} is neither a file, a link nor a directory", path.display());
        }
        mount::attach(&mount::detached(&path)?, &place)?;
    }
    copy(source, &aside.join(kernel))
}

fn read_dir(path: &Path) -> Result<Vec<DirEntry>> {
    let reading = || format!("reading {}", path.display());
    fs::read_dir(path).with_context(reading)?.collect::<std::io::Result<_>>().with_context(reading)
}

fn wanted(entry: &DirEntry, top: bool) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    !(top && (NOT_MODULES.contains(&&*name) || name.ends_with(EFI) || name.starts_with(SYMBOLS)))
}

fn measure(source: &Path, size: &mut u64, entries: &mut u64) -> Result<()> {
    let mut stack = vec![(source.to_owned(), true)];
    while let Some((directory, top)) = stack.pop() {
        *entries += 1;
        for entry in read_dir(&directory)?.iter().filter(|entry| wanted(entry, top)) {
            let metadata = entry.metadata().with_context(|| format!("reading {}", entry.path().display()))?;
            if metadata.is_dir() {
                stack.push((entry.path(), false));
            } else {
                *entries += 1;
                *size += metadata.len().next_multiple_of(4096);
            }
        }
    }
    Ok(())
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    let mut stack = vec![(source.to_owned(), target.to_owned(), true)];
    while let Some((from, to, top)) = stack.pop() {
        fs::create_dir(&to).with_context(|| format!("creating {}", to.display()))?;
        for entry in read_dir(&from)?.iter().filter(|entry| wanted(entry, top)) {
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().with_context(|| format!("reading {}", from.display()))?;
            if kind.is_dir() {
                stack.push((from, to, false));
            } else if kind.is_symlink() {
                let link = fs::read_link(&from).with_context(|| format!("reading {}", from.display()))?;
                symlink(link, &to).with_context(|| format!("creating {}", to.display()))?;
            } else {
                fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
            }
        }
    }
    Ok(())
}

/// Writes down what systemd has to know. Returns what stays until the reboot.
pub(super) fn announce(run: &Path, target: &Path, kernel: &str) -> Result<Vec<Leftover>> {
    let modules = format!("/{MODULES}");
    // The tmpfs and the copies have the label of a tmpfs; the policy wants that of modules. What is mounted in it is
    // passed by.
    write(&run.join(RELABEL), &format!("{modules}\n"))?;
    let mut leftovers = vec![Leftover::mount(&modules)];
    for entry in read_dir(target)? {
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if entry.file_name() != kernel && !is_link {
            let name = entry.file_name().to_string_lossy().into_owned();
            leftovers.push(Leftover::mount(format!("{modules}/{name}")));
        }
    }
    let mut files = vec![RELABEL.to_owned()];
    for leftover in &leftovers {
        // udevd has files of it open until the end: without this, systemd tries to unmount it and reports a failure.
        let drop_in = format!("systemd/system/{}.d/50-slipstream.conf", mount_unit(&leftover.path));
        write(&run.join(&drop_in), "[Unit]\nDefaultDependencies=no\n")?;
        files.push(drop_in);
    }
    leftovers.extend(files.iter().map(|name| Leftover::file(format!("/run/{name}"))));
    Ok(leftovers)
}

/// The name of the mount unit for a path (systemd.unit(5), "escaping").
fn mount_unit(path: &str) -> String {
    let mut name = String::new();
    for (n, byte) in path.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if n == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b':' => name.push(char::from(byte)),
            other => name.push_str(&format!("\\x{other:02x}")),
        }
    }
    name + ".mount"
}

fn write(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_units() {
        for (path, unit) in [
            ("/usr/lib/modules", "usr-lib-modules.mount"),
            ("/usr/lib/modules/6.12.1+deb13-amd64", "usr-lib-modules-6.12.1\\x2bdeb13\\x2damd64.mount"),
        ] {
            assert_eq!(mount_unit(path), unit);
        }
    }

    #[test]
    fn kernel_and_initramfs_are_not_copied() {
        let directory = tempfile::tempdir().unwrap();
        let (source, target) = (directory.path().join("a"), directory.path().join("b"));
        fs::create_dir_all(source.join("kernel/fs")).unwrap();
        for name in ["vmlinuz", "initramfs", "6.1-virt.efi", "symvers.xz", "System.map"] {
            fs::write(source.join(name), "big").unwrap();
        }
        fs::write(source.join("modules.dep"), "dep").unwrap();
        fs::write(source.join("kernel/fs/vmlinuz"), "a module may have this name").unwrap();
        symlink("/usr/src/linux", source.join("build")).unwrap();
        let (mut size, mut entries) = (0, 0);
        measure(&source, &mut size, &mut entries).unwrap();
        assert_eq!((size, entries), (3 * 4096, 6));
        copy(&source, &target).unwrap();
        assert!(!target.join("vmlinuz").exists() && !target.join("6.1-virt.efi").exists());
        assert_eq!(fs::read_to_string(target.join("modules.dep")).unwrap(), "dep");
        assert!(target.join("kernel/fs/vmlinuz").exists());
        assert_eq!(fs::read_link(target.join("build")).unwrap(), Path::new("/usr/src/linux"));
    }
}
