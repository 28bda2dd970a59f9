// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The figures of docs/timing.md: sizes, and seconds in the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::images::Images;
use crate::images::job::{job, request};
use crate::images::trees::{self, Role};
use crate::lab::Lab;
use crate::lab::cache::Inputs;
use crate::lab::cmd;
use crate::lab::guest::{Answer, Job};
use crate::lab::kernels;
use crate::lab::machine::{Loader, Machine};
use crate::lab::peer;

/// The initramfs images that are compared: name, dracut modules, files.
const INITRAMFS: &[(&str, &str, &str)] = &[
    ("plain", "ostree systemd", ""),
    ("slipstream", "ostree systemd slipstream", ""),
    ("network", "ostree systemd network-manager url-lib", ""),
    ("network-slipstream", "ostree systemd network-manager url-lib slipstream", ""),
    ("network-libostree", "ostree systemd network-manager url-lib", "/usr/lib/x86_64-linux-gnu/libostree-1.so.1"),
];

/// Measures everything and prints it.
pub fn run(images: &Images<'_>, runs: usize) -> Result<()> {
    sizes(images.lab)?;
    if runs == 0 {
        return Ok(());
    }
    let swaps = swap_boots(images, runs)?;
    stages(&swaps);
    let (mut ours, mut theirs, mut deploy) = (Vec::new(), Vec::new(), Vec::new());
    for swap in &swaps {
        ours.push(up_seconds(swap)?);
    }
    for n in 0..runs {
        eprintln!("deploy and reboot, {} of {runs}", n + 1);
        let (total, deployed) = deploy_and_reboot(images)?;
        theirs.push(total);
        deploy.push(deployed);
    }
    let (ours_median, theirs_median) = (median(&ours), median(&theirs));
    println!("\n| from power-on to multi-user on the node image | median, s | all runs, s |\n| --- | ---: | --- |");
    println!("| one boot with slipstream | {ours_median:.1} | {} |", all(&ours));
    println!("| boot, deploy there with ostree-ext, reboot | {theirs_median:.1} | {} |", all(&theirs));
    println!("| ... of which the deployment | {:.1} | {} |", median(&deploy), all(&deploy));
    println!("| saved | {:.1} | |", theirs_median - ours_median);
    Ok(())
}

fn all(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(", ")
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn up_seconds(answer: &Answer) -> Result<f64> {
    let text = answer.up.as_deref().context("reading when the guest was up")?;
    let milliseconds: f64 = text.parse().with_context(|| format!("parsing {text}"))?;
    Ok(milliseconds / 1000.0)
}

/// Boots into the node image, each on a fresh disk.
fn swap_boots(images: &Images<'_>, runs: usize) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for n in 0..runs {
        eprintln!("swap, {} of {runs}", n + 1);
        let mut machine = Machine::new(images.lab, "timing-swap", &images.disk("ext4")?, Loader::Direct)?;
        machine.attach(&images.node.staging);
        machine.append = request(images, "oci:LABEL=nodeimage:/node");
        answers.push(machine.boot(&job(images, &["checks/demo.sh"], "", &[])?)?.answer);
    }
    Ok(answers)
}

fn stages(swaps: &[Answer]) {
    let mut seconds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut order = Vec::new();
    for (_, line) in swaps.iter().flat_map(|swap| &swap.facts).filter(|(key, _)| key == "stage") {
        let mut columns = line.split('\t');
        let (Some(name), Some(Ok(value))) = (columns.next(), columns.next().map(str::parse)) else { continue };
        if !order.contains(&name) {
            order.push(name);
        }
        seconds.entry(name).or_default().push(value);
    }
    println!("\n| stage | median, s | all runs, s |\n| --- | ---: | --- |");
    for name in order {
        println!("| {name} | {:.1} | {} |", median(&seconds[name]), all(&seconds[name]));
    }
}

/// Goes the way without us, and returns the total seconds, and those of the deployment alone.
fn deploy_and_reboot(images: &Images<'_>) -> Result<(f64, f64)> {
    let mut machine = Machine::new(images.lab, "timing-deploy", &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    let mut deploy = job(images, &["checks/deploy.sh"], "", &[])?;
    deploy.programs = importer(images.lab)?;
    let first = machine.boot(&deploy)?;
    let deployed = first.answer.fact("deploy-seconds")?.parse().context("parsing the seconds of the deployment")?;
    let up: Job = job(images, &["checks/up.sh"], "deployed", &[])?;
    let second = machine.boot(&up)?;
    // The first boot as a whole, its shutdown included; of the second only the way up.
    Ok((first.seconds + up_seconds(&second.answer)?, deployed))
}

/// Returns the reference importer, and skopeo with its libraries and its loader.
fn importer(lab: &Lab) -> Result<Vec<PathBuf>> {
    let mut programs = vec![peer::binary(lab)?, lab.tools().join("usr/bin/skopeo")];
    let listing = cmd::stdout(&mut lab.tool(["ldd", "/usr/bin/skopeo"]))?;
    for path in listing.split_whitespace().filter_map(|word| word.strip_prefix('/')) {
        programs.push(lab.tools().join(path));
    }
    Ok(programs)
}

fn sizes(lab: &Lab) -> Result<()> {
    let installed = trees::slipstream(lab)?;
    println!("| size | bytes | MiB |\n| --- | ---: | ---: |");
    for path in ["usr/bin/slipstream", "usr/libexec/slipstream-initrd"] {
        row(&format!("`/{path}`, stripped"), size(&installed.join(path))?);
    }
    let dir = initramfs(lab, &installed)?;
    let mut bytes = BTreeMap::new();
    for (name, ..) in INITRAMFS {
        bytes.insert(*name, size(&dir.join(name))?);
    }
    row("initramfs (zstd)", bytes["plain"]);
    row("... what slipstream adds", bytes["slipstream"].saturating_sub(bytes["plain"]));
    row("initramfs with NetworkManager and curl", bytes["network"]);
    row("... what slipstream adds", bytes["network-slipstream"].saturating_sub(bytes["network"]));
    row("... what libostree with its libraries would add", bytes["network-libostree"].saturating_sub(bytes["network"]));
    Ok(())
}

fn row(what: &str, bytes: u64) {
    println!("| {what} | {bytes} | {:.2} |", bytes as f64 / f64::from(1 << 20));
}

fn size(path: &Path) -> Result<u64> {
    Ok(path.metadata().with_context(|| format!("examining {}", path.display()))?.len())
}

/// Returns an artefact with all of [`INITRAMFS`].
fn initramfs(lab: &Lab, installed: &Path) -> Result<PathBuf> {
    let root =
        trees::extended_root(lab, "network-root", &trees::root(lab, Role::Bootimage)?, &lab.packages("network")?)?;
    let kernel = kernels::both(lab)?.join("boot");
    let version = kernels::version_of(&kernel)?;
    let script = lab.own("scripts/initramfs.sh");
    let mut inputs = Inputs::default().file(&script)?;
    for part in [&root, &kernel, &installed.to_path_buf()] {
        inputs = inputs.text(part.to_string_lossy());
    }
    lab.cache.artefact("initramfs", inputs.text(format!("{INITRAMFS:?}")), |dir| {
        let copy = dir.join("root");
        cmd::run(cmd::words("cp", ["-a"]).args([&root, &copy]))?;
        for part in [&kernel, installed] {
            cmd::run(cmd::words("cp", ["-a"]).args([part.join("."), copy.clone()]))?;
        }
        for (name, modules, files) in INITRAMFS {
            eprintln!("initramfs: {name}");
            let mut command = cmd::words("bash", [&script, &copy]);
            command.args([version.as_str(), name, modules]).args(files.split_whitespace());
            cmd::run(&mut command)?;
            fs::rename(copy.join(name), dir.join(name)).with_context(|| format!("moving {name}"))?;
        }
        fs::remove_dir_all(&copy).with_context(|| format!("removing {}", copy.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        for (values, expected) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0], 2.5), (&[7.0], 7.0)] {
            assert!((median(values) - expected).abs() < f64::EPSILON, "{values:?}");
        }
    }
}
