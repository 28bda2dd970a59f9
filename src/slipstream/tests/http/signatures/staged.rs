// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures of an image in a layout: from the layout if they are there, else from the registry, if that can be asked.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use contract::names::SourceSpec;
use testkit::layout::Layout;
use testkit::server::{Reply, Server};
use testkit::suite::{Case, module};

use super::image::{Image, asked_for, ensure_found};

/// The kinds of layout.
const KINDS: [Kind; 3] = [Kind::Layout, Kind::Archive, Kind::Web];
/// Where nothing listens, and where a name leads nowhere.
const DEAD: [&str; 2] = ["127.0.0.1:1", "no-such-host.invalid"];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Layout,
    Archive,
    Web,
}

pub fn cases() -> Vec<Case> {
    let cases = vec![
        Case::new("takes_those_of_a_layout", || KINDS.into_iter().try_for_each(takes_its_own)),
        Case::new("asks_the_registry_if_a_layout_has_none", || KINDS.into_iter().try_for_each(asks_the_registry)),
        Case::new("finds_nothing_if_nobody_has_any", || KINDS.into_iter().try_for_each(finds_nothing)),
        Case::new("does_not_wait_for_a_registry_that_is_not_there", || KINDS.into_iter().try_for_each(does_not_wait)),
        Case::new("asks_the_registry_if_a_layout_has_no_index", asks_without_an_index),
        Case::new("finds_those_of_the_index_and_of_the_instance", finds_both),
        Case::new("fails_for_a_damaged_layout", damaged),
        Case::new("takes_what_a_web_server_cut", takes_what_was_cut),
    ];
    module("signatures", module("staged", cases))
}

/// The layout as a source. What keeps it there goes with the server.
fn source(kind: Kind, image: &Image) -> Result<(SourceSpec, Option<Server>)> {
    match kind {
        Kind::Layout => Ok((image.spec()?, None)),
        Kind::Archive => Ok((image.archive()?, None)),
        Kind::Web => {
            let server = Server::start(Arc::new(image.layout.served()?), Reply::good)?;
            let spec = SourceSpec::parse(&format!("http://{}/node", server.host()))?;
            Ok((spec, Some(server)))
        }
    }
}

/// A registry that has these files and nothing else.
fn registry(files: HashMap<String, Vec<u8>>) -> Result<Server> {
    Server::start(Arc::new(files), Reply::good)
}

fn takes_its_own(kind: Kind) -> Result<()> {
    let image = Image::write(false)?;
    image.signed(&image.digest).write(&image.layout)?;
    let (spec, _server) = source(kind, &image)?;
    let registry = registry(HashMap::new())?;
    let opened = image.open(&spec, &[registry.host()])?;
    ensure_found(&opened.signatures()?, &[&image.digest], &spec.to_string()).with_context(|| format!("{kind:?}"))?;
    ensure!(registry.asked().is_empty(), "{kind:?}: the registry was asked");
    Ok(())
}

fn asks_the_registry(kind: Kind) -> Result<()> {
    let image = Image::write(false)?;
    // Of another image.
    image.signed(&image.signed(&image.digest).tag).write(&image.layout)?;
    let (spec, _server) = source(kind, &image)?;
    let registry = registry(image.signed(&image.digest).served())?;
    let opened = image.open(&spec, &[registry.host()])?;
    let (endpoint, before) = (format!("{}/os/node", registry.host()), opened.log());
    ensure!(registry.asked().is_empty() && !before.iter().any(|(name, _)| *name == endpoint), "{kind:?}: {before:?}");
    ensure_found(&opened.signatures()?, &[&image.digest], &endpoint).with_context(|| format!("{kind:?}"))?;
    let asked = asked_for(&registry);
    ensure!(asked.len() == 2, "{kind:?}: {asked:#?}");
    let (before, log) = (before.len(), opened.log());
    ensure!(log.len() == before + 1 && log[before] == (endpoint, None), "{kind:?}: {log:?}");
    Ok(())
}

fn finds_nothing(kind: Kind) -> Result<()> {
    let image = Image::write(false)?;
    let (spec, _server) = source(kind, &image)?;
    let registry = registry(HashMap::new())?;
    let found = image.open(&spec, &[registry.host()])?.signatures()?;
    let asked = asked_for(&registry);
    ensure!(found.is_empty() && asked.len() == 1, "{kind:?}: {found:?}, {asked:#?}");
    Ok(())
}

fn does_not_wait(kind: Kind) -> Result<()> {
    let image = Image::write(true)?;
    let (spec, _server) = source(kind, &image)?;
    let opened = image.open(&spec, &DEAD.map(str::to_owned))?;
    let started = Instant::now();
    let found = opened.signatures()?;
    ensure!(found.is_empty(), "{kind:?}: {found:?}");
    ensure!(started.elapsed() < Duration::from_secs(5), "{kind:?}: it took {:?}", started.elapsed());
    let failed = opened.log().into_iter().filter(|(_, error)| error.is_some()).count();
    ensure!(failed == DEAD.len(), "{kind:?}: {:?}", opened.log());
    Ok(())
}

fn asks_without_an_index() -> Result<()> {
    for kind in KINDS {
        let image = Image::write(false)?;
        let mut files = image.layout.served()?;
        fs::remove_file(image.layout.dir().join("index.json")).context("removing index.json")?;
        files.remove("index.json");
        let server = Server::start(Arc::new(files), Reply::good)?;
        let spec = match kind {
            Kind::Web => SourceSpec::parse(&format!("http://{}/node", server.host()))?,
            _ => source(kind, &image)?.0,
        };
        let registry = registry(image.signed(&image.digest).served())?;
        let found = image.open(&spec, &[registry.host()])?.signatures()?;
        let endpoint = format!("{}/os/node", registry.host());
        ensure_found(&found, &[&image.digest], &endpoint).with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

fn finds_both() -> Result<()> {
    let image = Image::write(true)?;
    image.signed(&image.digest).write(&image.layout)?;
    image.signed(&image.instance).write(&image.layout)?;
    let (spec, _) = source(Kind::Layout, &image)?;
    let found = image.open(&spec, &[])?.signatures()?;
    ensure_found(&found, &[&image.digest, &image.instance], &spec.to_string())
}

/// What a layout says of signatures is in order or an error: the registry is for a layout that says nothing.
fn damaged() -> Result<()> {
    type Damage = fn(&Layout, &str) -> Result<()>;
    let damages: [(Damage, &str); 4] = [
        (|layout, _| fs::write(layout.dir().join("index.json"), "{").context("writing"), "parsing index.json"),
        (
            |layout, _| fs::write(layout.dir().join("index.json"), vec![b' '; 5 << 20]).context("writing"),
            "index.json is larger than the limit of 4194304 bytes",
        ),
        (|layout, manifest| fs::remove_file(layout.blob(manifest)).context("removing"), "opening a signature manifest"),
        (|layout, manifest| layout.write_as(manifest, b"{}"), "size mismatch"),
    ];
    for (damage, expected) in damages {
        for kind in KINDS {
            let image = Image::write(false)?;
            let manifest = image.signed(&image.digest).write(&image.layout)?;
            damage(&image.layout, &manifest)?;
            let (spec, _server) = source(kind, &image)?;
            let registry = registry(image.signed(&image.digest).served())?;
            let error = format!("{:#}", image.open(&spec, &[registry.host()])?.signatures().err().context(expected)?);
            // A server's answer has its own limit, and a web server may lack a blob.
            let expected = match (kind, expected) {
                (Kind::Web, "size mismatch") => "bytes instead of",
                (Kind::Web, text) if text.contains("larger") => "the answer is larger than 4194304 bytes",
                (_, text) => text,
            };
            ensure!(error.contains(expected), "{kind:?}: no {expected:?} in {error}");
            ensure!(registry.asked().is_empty(), "{kind:?}: the registry was asked after {error}");
        }
    }
    Ok(())
}

fn takes_what_was_cut() -> Result<()> {
    let image = Image::write(false)?;
    image.signed(&image.digest).write(&image.layout)?;
    let server = Server::start(Arc::new(image.layout.served()?), |ask| match ask.count {
        0 => Reply::good(ask).cut(),
        _ => Reply::good(ask),
    })?;
    let spec = SourceSpec::parse(&format!("http://{}/node", server.host()))?;
    ensure_found(&image.open(&spec, &[])?.signatures()?, &[&image.digest], &spec.to_string())
}
