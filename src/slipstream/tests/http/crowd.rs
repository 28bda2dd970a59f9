// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Twenty processes at once, and a server that has room for four.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::server::{Ask, Reply, Server};
use testkit::suite::{Case, Shared, say};

use crate::image::Image;
use crate::registries::{REGISTRIES, registries};

const PROCESSES: usize = 20;
const ROOM: usize = 4;

pub fn case(image: &Arc<Shared<Image>>) -> Case {
    let image = Arc::clone(image);
    Case::new("twenty_processes_get_through_to_a_server_with_room_for_four", move || pull(image.get()?))
}

/// How many requests are being answered, and how many were not.
#[derive(Debug, Default)]
struct Counters {
    busy: AtomicUsize,
    refused: AtomicUsize,
}

impl Counters {
    fn answer(&self, ask: &Ask) -> Reply {
        let before = self.busy.fetch_add(1, Ordering::SeqCst);
        if before < ROOM {
            thread::sleep(Duration::from_millis(50));
        }
        self.busy.fetch_sub(1, Ordering::SeqCst);
        if before < ROOM {
            return Reply::good(ask);
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Reply::new("429 Too Many Requests", "").header("Retry-After: 0")
    }
}

fn pull(image: &Image) -> Result<()> {
    let counters = Arc::new(Counters::default());
    let counted = Arc::clone(&counters);
    let server = Server::start(Arc::clone(&image.blobs), move |ask| counted.answer(ask))?;
    let repos = (0..PROCESSES).map(|_| image.repo()).collect::<Result<Vec<_>>>()?;
    let root = image.root(&[(REGISTRIES, registries(&[format!("{}/os/node", server.host())]))])?;
    let started = Instant::now();
    let start = |repo| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream"));
        command.args(["pull", "registry", "--repo"]).arg(repo).arg("--root").arg(&root);
        command.args(["--image", &image.reference("registry.example")]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("running slipstream")
    };
    let children = repos.iter().map(start).collect::<Result<Vec<_>>>()?;
    for child in children {
        let output = child.wait_with_output().context("waiting for slipstream")?;
        ensure!(String::from_utf8_lossy(&output.stdout).trim() == image.commit, "{output:?}");
    }
    let (asked, refused) = (server.asked().len(), counters.refused.load(Ordering::SeqCst));
    say(format!("{:.1} s, {asked} requests, {refused} refused", started.elapsed().as_secs_f64()));
    ensure!(refused > 0, "the server was never busy");
    Ok(())
}
