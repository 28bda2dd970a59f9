// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A network of its own: names and addresses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use testkit::programs::output;

/// The hosts. Not loopback: that never goes through a proxy.
pub const HOSTS: [(&str, &str); 12] = [
    ("open.example", "10.77.0.10"),
    ("basic.example", "10.77.0.11"),
    ("token.example", "10.77.0.12"),
    ("half.example", "10.77.0.13"),
    ("mutual.example", "10.77.0.14"),
    ("web.example", "10.77.0.15"),
    ("tokens.example", "10.77.0.16"),
    ("proxy.example", "10.77.0.17"),
    // It has an address, and nothing listens there.
    ("dead.example", "10.77.0.18"),
    ("guarded.example", "10.77.0.20"),
    ("plain.example", "10.77.0.21"),
    ("moved.example", "10.77.0.22"),
];
/// Where the proxy's own connections come from.
pub const PROXY_SOURCE: &str = "10.77.0.19";

/// Gives this thread, and all that it starts, a network that no other process has; or returns why that cannot be.
pub fn enter() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("it needs a network namespace: {error}"))
}

/// Gives the network its addresses and names. `hosts` is a file to write.
pub fn set_up(hosts: &Path) -> Result<()> {
    output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let mut text = "127.0.0.1 localhost\n".to_owned();
    for (name, address) in HOSTS.iter().copied().chain([("", PROXY_SOURCE)]) {
        output(Command::new("ip").args(["address", "add", &format!("{address}/24"), "dev", "lo"]))?;
        text += &format!("{address} {name}\n");
    }
    fs::write(hosts, text).context("writing hosts")?;
    let none: Option<&str> = None;
    mount(Some(hosts), "/etc/hosts", none, MsFlags::MS_BIND, none).context("mounting hosts")
}

/// Returns the address of a host.
pub fn address(name: &str) -> Result<&'static str> {
    HOSTS.iter().find(|(host, _)| *host == name).map(|(_, address)| *address).context("finding a host")
}

/// Returns where the image's layout is, below the work directory.
pub fn layout_of(dir: &Path) -> PathBuf {
    dir.join("www/node")
}
