// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the tests of kola-tests/ as kola would, in our own machine:
//! <https://coreos.github.io/coreos-assembler/kola/external-tests/>. A test is installed and runs as a unit; it may
//! reboot the machine and go on at a mark; the console is looked at. What kola's machine has and ours has not: an
//! Ignition config, a first boot, a network.

mod console;
mod discover;
mod header;
mod image;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::images::Images;
use crate::images::node::NodeImage;
use crate::lab::cache::Inputs;
use crate::lab::cmd;
use crate::lab::guest::{Answer, Job};
use crate::lab::machine::{Loader, Machine};
use crate::lab::qemu::MEMORY;
use crate::lab::{Lab, workspace};

use discover::Test;
pub use image::{build, link};

/// Tests are called `ext.slipstream.…`.
const PROJECT: &str = "slipstream";
/// The platform that test-vm is.
const PLATFORM: &str = "qemu";
/// The guest's part.
const GUEST: &str = "kola.sh";
/// A test that reboots for ever is broken; timeoutMin would end it later.
const MAX_BOOTS: usize = 10;

/// Returns the tests that kola would choose here.
fn tests() -> Result<Vec<Test>> {
    let found = discover::tests(&workspace()?.join("kola-tests"), PROJECT)?;
    Ok(found.into_iter().filter(|test| test.header.runs_on(PLATFORM) && test.header.required_tag.is_none()).collect())
}

/// Print the tests' names.
pub fn list() -> Result<()> {
    for test in tests()? {
        println!("{}: {}", test.name, test.header.description);
    }
    Ok(())
}

/// Run the tests whose names contain a filter. How many have passed, and how many have not.
pub fn run(images: &Images<'_>, filters: &[String]) -> Result<(usize, usize)> {
    let wanted = |test: &Test| filters.is_empty() || filters.iter().any(|filter| test.name.contains(filter.as_str()));
    let (exclusive, shared): (Vec<_>, Vec<_>) =
        tests()?.into_iter().filter(wanted).partition(|test| test.header.exclusive);
    let (mut passed, mut failed) = (0, 0);
    let groups = exclusive.chunks(1).chain((!shared.is_empty()).then_some(shared.as_slice()));
    for group in groups {
        let since = Instant::now();
        let names = group.iter().map(|test| test.name.as_str()).collect::<Vec<_>>().join(" ");
        match run_group(images, group) {
            Ok(boots) => {
                println!("ok {names}: {boots} boots ({:.0} s)", since.elapsed().as_secs_f64());
                passed += group.len();
            }
            Err(error) => {
                println!("FAILED {names}\n  {error:#}");
                failed += group.len();
            }
        }
    }
    Ok((passed, failed))
}

/// Run tests in one machine until the last of them has ended; how many boots that took.
fn run_group(images: &Images<'_>, group: &[Test]) -> Result<usize> {
    let first = group.first().context("running tests: there are none")?;
    let name = if first.header.exclusive { first.name.as_str() } else { "ext.slipstream.non-exclusive" };
    let mut machine = machine(images, name, first)?;
    let minutes: u64 = group.iter().map(|test| test.header.timeout_min).sum();
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut mark = String::new();
    for boots in 1..=MAX_BOOTS {
        machine.timeout = end.saturating_duration_since(Instant::now());
        let boot = machine.boot(&job(group, &mark)).with_context(|| format!("running at mark `{mark}`"))?;
        let bad = console::bad_lines(&boot.console);
        ensure!(bad.is_empty(), "looking at the console of boot {boots}: {}", bad.join("; "));
        healthy(&boot.answer).with_context(|| format!("looking at boot {boots}"))?;
        match boot.answer.reboot {
            Some(next) => mark = next,
            None => {
                all_passed(group.iter().map(|test| test.name.as_str()), &boot.answer)?;
                return Ok(boots);
            }
        }
    }
    bail!("running the test: it has rebooted {MAX_BOOTS} times")
}

/// kola fails a test when a unit has failed on the way up.
fn healthy(answer: &Answer) -> Result<()> {
    let state = answer.state.as_deref().unwrap_or("unknown");
    ensure!(state == "running", "the machine is {state}");
    Ok(())
}

/// Every test has said so itself: that the guest's script came to its end may mean that it ran none.
fn all_passed<'a>(mut names: impl Iterator<Item = &'a str>, answer: &Answer) -> Result<()> {
    let passed = |name: &str| answer.facts.iter().any(|fact| *fact == ("kola".to_owned(), format!("{name} passed")));
    match names.find(|name| !passed(name)) {
        Some(name) => bail!("reading the guest's answer: it does not say that {name} has passed"),
        None => Ok(()),
    }
}

/// A machine as the header wants it.
fn machine<'a>(images: &Images<'a>, name: &str, test: &Test) -> Result<Machine<'a>> {
    let header = &test.header;
    ensure!(header.min_memory <= MEMORY, "making a machine: it has {MEMORY} MiB, minMemory is {}", header.min_memory);
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.append.clone_from(&header.append_kernel_args);
    if header.inject_container {
        machine.attach(&injected(images.lab, &images.node)?);
    }
    for size in &header.additional_disks {
        machine.add_disk(size)?;
    }
    if !header.append_firstboot_kernel_args.is_empty() {
        machine.set_firstboot(&header.append_firstboot_kernel_args)?;
    }
    Ok(machine)
}

/// What the guest is to run, a line for each test: name, executable, data folder or `-`, injection or `-`.
fn job(group: &[Test], mark: &str) -> Job {
    let line = |test: &Test| {
        let data = test.data.as_ref().map_or("-".to_owned(), |path| format!("kola/{}", path.display()));
        let kind = if test.header.exclusive { "exclusive" } else { "shared" };
        format!("{} kola/{} {data} {kind}", test.name, test.executable.display())
    };
    Job {
        scripts: vec![GUEST.to_owned()],
        mark: mark.to_owned(),
        environment: vec![("KOLA_TESTS".to_owned(), group.iter().map(line).collect::<Vec<_>>().join("\n"))],
        ..Job::default()
    }
}

/// An artefact: a file system with the node image as kola would inject it, an archive.
fn injected(lab: &Lab, node: &NodeImage) -> Result<PathBuf> {
    let inputs = Inputs::default().text(node.staging.to_string_lossy()).file(&lab.own("scripts/filesystem.sh"))?;
    let dir = lab.cache.artefact("kola-injected", inputs, |dir| {
        let stage = dir.join("stage");
        std::fs::create_dir(&stage).context("creating a staging directory")?;
        node.dump_archive(lab, &stage.join("node.ociarchive"))?;
        let image = dir.join("injected.img");
        cmd::run(&mut lab.script("filesystem.sh", [stage.as_os_str(), image.as_os_str(), "injected".as_ref()]))?;
        std::fs::remove_dir_all(&stage).context("removing the staging directory")
    })?;
    Ok(dir.join("injected.img"))
}

#[cfg(test)]
mod tests {
    use super::{Answer, all_passed};

    #[test]
    fn every_test_has_to_say_that_it_passed() {
        for (label, answer, error) in [
            ("both", "fact kola a passed\nfact kola b passed\npass\n", None),
            ("one failed", "fact kola a passed\nfact kola b failed\npass\n", Some("that b has passed")),
            ("none ran", "pass\n", Some("that a has passed")),
            ("another name", "fact kola a passed\nfact kola bb passed\npass\n", Some("that b has passed")),
        ] {
            let result = all_passed(["a", "b"].into_iter(), &Answer::parse(answer));
            match (result, error) {
                (Ok(()), None) => {}
                (Err(found), Some(error)) => assert!(found.to_string().contains(error), "{label}: {found}"),
                (result, _) => panic!("{label}: {result:?}"),
            }
        }
    }
}
