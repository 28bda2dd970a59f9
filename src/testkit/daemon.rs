// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A program that serves until it is dropped.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server may take to listen. A busy machine is slow.
const START: Duration = Duration::from_secs(20);

/// A server that is killed when this goes.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where the log begins that is of interest.
    mark: usize,
}

impl Daemon {
    /// Starts a server whose output goes to a log in `dir`. If the test itself is killed, so is the server.
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

    /// Waits until it listens.
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

    /// Forgets what it has printed.
    pub fn mark(&mut self) -> Result<()> {
        self.mark += self.log()?.len();
        Ok(())
    }

    /// Returns what it has printed since then.
    pub fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(bytes.get(self.mark..).unwrap_or_default()).into_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("stopping {}: {error}", self.name);
        }
    }
}
