// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One boot to look at.

use anyhow::{Result, ensure};

use crate::images::Images;
use crate::images::job::{job, request};
use crate::lab::machine::{Loader, Machine};

/// Boots once into the node image and prints what a user wants to see.
pub fn run(images: &Images<'_>) -> Result<()> {
    println!(
        "The disk carries bootimage {} with kernel {}.",
        crate::images::trees::Role::Bootimage.version(),
        images.bootimage.kernel
    );
    println!("The node image is {}.", images.node.reference);
    println!("Booting the disk once, with its request on the kernel command line ...\n");
    let mut machine = Machine::new(images.lab, "demo", &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    machine.append = request(images, "oci:LABEL=nodeimage:/node");
    let boot = machine.boot(&job(images, &["checks/demo.sh"], "", &[])?)?;
    let answer = &boot.answer;
    ensure!(answer.fact("outcome")? == "swapped", "the outcome is {}", answer.fact("outcome")?);

    println!("booted deployment   {} (version {})", answer.fact("booted")?, answer.fact("version")?);
    println!("running kernel      {}", answer.fact("kernel")?);
    println!("node image's kernel {} (from the next reboot on)\n", answer.fact("node-kernel")?);
    println!("{:<20} {:>8} {:>12}", "stage", "seconds", "bytes");
    for (_, value) in answer.facts.iter().filter(|(key, _)| key == "stage") {
        let mut columns = value.split('\t');
        let mut column = || columns.next().unwrap_or("");
        println!("{:<20} {:>8} {:>12}", column(), column(), column());
    }
    println!(
        "\nmulti-user {} ms after the kernel started, the machine is {}; it ran for {:.0} s",
        up(answer),
        state(answer),
        boot.seconds
    );
    ensure!(answer.fact("avoided")? == "true", "the status says that a reboot was not avoided");
    println!("One reboot was avoided: the first real boot is on the node image.");
    Ok(())
}

fn up(answer: &crate::lab::guest::Answer) -> &str {
    answer.up.as_deref().unwrap_or("?")
}

fn state(answer: &crate::lab::guest::Answer) -> &str {
    answer.state.as_deref().unwrap_or("?")
}

/// Boots a copy of the disk with its console on the terminal. A root shell is on the console, too.
pub fn boot(images: &Images<'_>, append: &str) -> Result<()> {
    let mut machine = Machine::new(images.lab, "boot", &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    machine.append = format!("systemd.debug_shell=ttyS0 systemd.mask=serial-getty@ttyS0.service {append}");
    eprintln!("try: --append '{}'", request(images, "oci:LABEL=nodeimage:/node"));
    machine.interactive()
}
