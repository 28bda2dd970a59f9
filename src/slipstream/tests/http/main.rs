// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pulls over HTTP from servers that do not behave.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod cases;
mod crowd;
mod door;
mod image;
mod logins;
mod program;
mod registries;
mod setup;
mod signatures;
mod slow;
mod web;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use contract::names::SourceSpec;
use testkit::programs::needs;
use testkit::sandbox::enter;
use testkit::server::Server;
use testkit::suite::{self, Shared, Suite, module};

use cases::Case;
use image::Image;
use registries::{AUTH, REGISTRIES, registries};

fn main() -> ExitCode {
    let image = Shared::new(Image::new);
    let test = |case: Case| {
        let image = Arc::clone(&image);
        suite::Case::new(case.name, move || check(image.get()?, &case))
    };
    let mut tests = Vec::new();
    let more = [("door", door::cases()), ("slow", slow::cases()), ("logins", logins::cases())];
    for (name, cases) in cases::all().into_iter().chain(more) {
        tests.extend(module(name, cases.into_iter().map(test)));
    }
    tests.extend(module("web", web::cases(&image)));
    tests.extend(signatures::cases());
    tests.extend(module("program", program::cases(&image)));
    tests.extend(module("setup", setup::cases(&image)));
    tests.push(crowd::case(&image));
    drop(image);
    // They measure time, and the limits are short.
    Suite::new("http", || needs(&["ostree"]).and_then(|()| enter())).one_at_a_time().run(tests)
}

/// Starts the servers of a case, pulls, and compares.
fn check(image: &Image, case: &Case) -> Result<()> {
    let start = |behaviour: &Arc<cases::Behaves>| {
        let (behaviour, layers) = (Arc::clone(behaviour), image.layers.clone());
        Server::start(Arc::clone(&image.blobs), move |ask| behaviour(ask, &layers))
    };
    let servers = case.servers.iter().map(start).collect::<Result<Vec<_>>>()?;
    let endpoints: Vec<_> = servers.iter().map(|server| format!("{}/os/node", server.host())).collect();
    let mut files = vec![(REGISTRIES, registries(&endpoints))];
    if let Some(entry) = &case.credentials {
        files.push((AUTH, format!(r#"{{"auths": {{"{}": {entry}}}}}"#, servers[0].host())));
    }
    if case.silent_tls {
        servers.iter().for_each(Server::ignore_tls);
    }
    let (result, log) = image.pull(&SourceSpec::Registry, &files, case.time, case.limits);
    let asked: Vec<_> = servers.iter().map(Server::asked).collect();
    match (&result, case.error) {
        (Ok(commit), None) => ensure!(*commit == image.commit, "commit {commit}, not {}", image.commit),
        (Err(error), Some(expected)) => {
            let text = format!("{error:#}");
            ensure!(text.contains(expected), "no {expected:?}: {text}");
            ensure!(endpoints.iter().all(|endpoint| text.contains(endpoint.as_str())), "not every place: {text}");
            ensure!(!text.contains("hush"), "a secret: {text}");
        }
        _ => bail!("{result:?}, {log:?}"),
    }
    (case.check)(&asked, &log).map_err(|error| error.context(format!("{log:#?}")))
}
