// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pulls over HTTP from servers that do not behave.
//!
//! It needs root and the program ostree; without them it says so.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod cases;
mod image;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use slipstream::source::SourceSpec;

use cases::Case;
use image::Image;
use testkit::server::{Reply, Server};

fn image() -> Option<Image> {
    if !rustix::process::geteuid().is_root() || Command::new("ostree").arg("--version").output().is_err() {
        eprintln!("SKIPPED: pulls over HTTP: they need root and the program ostree");
        return None;
    }
    Some(Image::new().unwrap_or_else(|error| panic!("building the image: {error:#}")))
}

const REGISTRIES: &str = "etc/containers/registries.conf";
const AUTH: &str = "etc/ostree/auth.json";

/// A registry at the last of these locations, with the others as mirrors.
fn registries(locations: &[String]) -> String {
    let (location, mirrors) = locations.split_last().unwrap();
    let mut text = "[[registry]]\nprefix = \"registry.example/os/node\"\n".to_owned();
    text += &format!("location = \"{location}\"\ninsecure = true\n");
    for mirror in mirrors {
        text += &format!("[[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = true\n");
    }
    text
}

/// Start the servers of a case, pull, and compare.
fn check(image: &Image, case: &Case) {
    let label = case.label;
    let start = |behaviour: &Arc<cases::Behaves>| {
        let (behaviour, layers) = (Arc::clone(behaviour), image.layers.clone());
        Server::start(Arc::clone(&image.blobs), move |ask| behaviour(ask, &layers)).unwrap()
    };
    let servers: Vec<Server> = case.servers.iter().map(start).collect();
    let endpoints: Vec<_> = servers.iter().map(|server| format!("{}/os/node", server.host())).collect();
    let mut files = vec![(REGISTRIES, registries(&endpoints))];
    if case.credentials {
        // user:hush
        files.push((AUTH, format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpodXNo"}}}}}}"#, servers[0].host())));
    }
    let (result, log) = image.pull(&SourceSpec::Registry, &files, case.time);
    let asked: Vec<_> = servers.iter().map(Server::asked).collect();
    match (&result, case.error) {
        (Ok(commit), None) => assert_eq!(*commit, image.commit, "{label}"),
        (Err(error), Some(expected)) => {
            let text = format!("{error:#}");
            assert!(text.contains(expected), "{label}: {text}");
            assert!(endpoints.iter().all(|endpoint| text.contains(endpoint.as_str())), "{label}: {text}");
            assert!(!text.contains("hush"), "{label}: {text}");
        }
        _ => panic!("{label}: {result:?}, {log:?}"),
    }
    (case.check)(&asked, &log).unwrap_or_else(|error| panic!("{label}: {error:#}\n{log:#?}"));
}

#[test]
fn servers_that_do_not_behave() {
    let Some(image) = image() else { return };
    for case in cases::all() {
        let started = Instant::now();
        check(&image, &case);
        println!("{:>6} ms  {}", started.elapsed().as_millis(), case.label);
    }
}

#[test]
fn a_layout_behind_a_web_server() {
    let Some(image) = image() else { return };
    let server = Server::start(Arc::clone(&image.blobs), |ask| match ask.path.starts_with("/node/") {
        true if ask.is_blob() && ask.count == 0 => Reply::good(ask).cut(),
        true => Reply::good(ask),
        false => Reply::new("404 Not Found", ""),
    })
    .unwrap();
    for (path, expected) in
        [("node", None), ("node/", None), ("none", Some("there is no oci-layout: this is no OCI layout"))]
    {
        let spec = SourceSpec::parse(&format!("http://{}/{path}", server.host())).unwrap();
        let (result, log) = image.pull(&spec, &[], Duration::from_secs(60));
        match (result, expected) {
            (Ok(commit), None) => assert_eq!(commit, image.commit, "{path}"),
            (Err(error), Some(text)) => assert!(format!("{error:#}").contains(text), "{path}: {error:#}"),
            (result, _) => panic!("{path}: {result:?}"),
        }
        assert_eq!(log.len(), 1, "{path}: {log:?}");
    }
    assert!(server.asked().iter().any(|ask| ask.from().is_some()), "nothing was resumed");
}

/// Twenty processes at once, and a server that has room for four.
#[test]
fn twenty_processes_and_a_server_with_room_for_four() {
    const PROCESSES: usize = 20;
    const ROOM: usize = 4;
    let Some(image) = image() else { return };
    let (busy, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (Arc::clone(&busy), Arc::clone(&refused));
    let server = Server::start(Arc::clone(&image.blobs), move |ask| {
        let (busy, refused) = &counters;
        let before = busy.fetch_add(1, Ordering::SeqCst);
        if before < ROOM {
            thread::sleep(Duration::from_millis(50));
        }
        busy.fetch_sub(1, Ordering::SeqCst);
        if before < ROOM {
            return Reply::good(ask);
        }
        refused.fetch_add(1, Ordering::SeqCst);
        Reply::new("429 Too Many Requests", "").header("Retry-After: 0")
    })
    .unwrap();
    let repos: Vec<_> = (0..PROCESSES).map(|_| image.repo().unwrap()).collect();
    let root = image.root(&[(REGISTRIES, registries(&[format!("{}/os/node", server.host())]))]).unwrap();
    let started = Instant::now();
    let pull = |repo| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream"));
        command.args(["pull", "registry", "--repo"]).arg(repo).arg("--root").arg(&root);
        command.args(["--image", &image.reference("registry.example")]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = repos.iter().map(pull).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), image.commit, "{output:?}");
    }
    let (asked, refused) = (server.asked().len(), refused.load(Ordering::SeqCst));
    println!("{PROCESSES} processes: {:.1} s, {asked} requests, {refused} refused", started.elapsed().as_secs_f64());
    assert!(refused > 0, "the server was never busy");
}
