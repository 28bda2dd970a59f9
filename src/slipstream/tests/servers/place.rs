// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A network of its own: names, addresses, and programs that end with the test.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The hosts. Not loopback: that never goes through a proxy.
pub const HOSTS: [(&str, &str); 9] = [
    ("open.example", "10.77.0.10"),
    ("basic.example", "10.77.0.11"),
    ("token.example", "10.77.0.12"),
    ("half.example", "10.77.0.13"),
    ("mutual.example", "10.77.0.14"),
    ("web.example", "10.77.0.15"),
    ("tokens.example", "10.77.0.16"),
    ("proxy.example", "10.77.0.17"),
    // It has an address, and nobody listens.
    ("dead.example", "10.77.0.18"),
];
/// Where the proxy's own connections come from.
pub const PROXY_SOURCE: &str = "10.77.0.19";
/// How long a server may take to listen. A busy machine is slow.
const START: Duration = Duration::from_secs(20);

/// Make the network namespace of this thread and of everything that it starts. `hosts` is a file to write.
pub fn enter(hosts: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let mut text = "127.0.0.1 localhost\n".to_owned();
    for (name, address) in HOSTS.iter().copied().chain([("", PROXY_SOURCE)]) {
        run(Command::new("ip").args(["address", "add", &format!("{address}/24"), "dev", "lo"]))?;
        text += &format!("{address} {name}\n");
    }
    fs::write(hosts, text).context("writing hosts")?;
    let none: Option<&str> = None;
    mount(Some(hosts), "/etc/hosts", none, MsFlags::MS_BIND, none).context("mounting hosts")
}

/// The address of a host.
pub fn address(name: &str) -> Result<&'static str> {
    HOSTS.iter().find(|(host, _)| *host == name).map(|(_, address)| *address).context("finding a host")
}

/// Run a program to its end, and return what it prints.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, text.trim());
    Ok(output.stdout)
}

/// A server that is killed when this goes.
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where the log of the current case starts.
    mark: usize,
}

impl Server {
    /// Start a server whose output goes to a log. If the test itself is killed, so is the server.
    pub fn start(dir: &Path, name: &str, program: &str, arguments: &[&str]) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("sharing a log")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log, mark: 0 })
    }

    /// Wait until it listens.
    pub fn wait(&mut self, address: &str, port: u16) -> Result<()> {
        let address: SocketAddr = format!("{address}:{port}").parse().context("parsing an address")?;
        let started = Instant::now();
        while TcpStream::connect_timeout(&address, START).is_err() {
            let ended = self.child.try_wait().context("waiting for a server")?;
            if ended.is_some() || started.elapsed() > START {
                bail!("{} does not listen at {address}: {}", self.name, self.log()?.trim());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Forget what it has printed.
    pub fn mark(&mut self) -> Result<()> {
        self.mark += self.log()?.len();
        Ok(())
    }

    /// What it has printed since then.
    pub fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(bytes.get(self.mark..).unwrap_or_default()).into_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("stopping {}: {error}", self.name);
        }
    }
}
