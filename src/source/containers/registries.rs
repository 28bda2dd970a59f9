// SPDX-License-Identifier: Apache-2.0 OR MIT
//! registries.conf, version 2 (containers-registries.conf(5)): which places to ask for an image.
//!
//! Behaviour is that of container-libs, image/pkg/sysregistriesv2, oddities included: a cluster's mirrors have to mean
//! the same to us as to CRI-O. Short names do not exist here.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use contract::files::Files;
use contract::names::ImageReference;
use toml_span::Value;
use toml_span::value::Table;

use crate::containers::endpoint::Endpoint;
use crate::containers::search_paths;
use crate::containers::text::read_text;

/// Start of a prefix that stands for all subdomains.
const WILDCARD: &str = "*.";

/// The merged configuration: a registry for each prefix.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registries(BTreeMap<String, Registry>);

/// A `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Registry {
    /// The file that it is in.
    file: String,
    prefix: String,
    /// Empty only if the prefix is a wildcard: then the image's own place.
    location: String,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

/// A `[[registry.mirror]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    /// We pull by digest only, so a mirror for tags is none for us.
    for_digests: bool,
}

/// Reads the main file and the drop-ins.
pub(super) fn load(files: &dyn Files) -> Result<Registries> {
    let mut merged = Registries::default();
    for path in search_paths::main_files("registries.conf") {
        if let Some(text) = read_text(files, &path)? {
            merged.add(&text, &path)?;
            break;
        }
    }
    for path in search_paths::drop_ins(files, "registries", ".conf")? {
        match read_text(files, &path)? {
            Some(text) => merged.add(&text, &path)?,
            None => log::warn!("{path} is a link that leads nowhere: it does not count"),
        }
    }
    Ok(merged)
}

/// Parse one file.
pub(crate) fn parse(text: &str) -> Result<Registries> {
    let document = toml_span::parse(text).map_err(|error| {
        let (line, column) = error.line_info.map_or((0, 0), |(line, column)| (line + 1, column + 1));
        anyhow::anyhow!("line {line}, column {column}: {error}")
    })?;
    let table = document.as_table().context("it is no table")?;
    if let Some(old) = field(table, "registries") {
        let keys = ["search", "insecure", "block"];
        let is_version_1 = old.as_table().is_some_and(|old| keys.iter().any(|key| field(old, key).is_some()));
        ensure!(!is_version_1, "it has the version 1 format ([registries.search]): write [[registry]] tables");
    }
    let mut registries = Registries::default();
    let mut seen = BTreeMap::new();
    for entry in tables(table, "registry")? {
        let registry = Registry::read(entry)?;
        let place = if registry.location.is_empty() { &registry.prefix } else { &registry.location };
        let flags = (registry.insecure, registry.blocked);
        let first = *seen.entry(place.clone()).or_insert(flags);
        let conflicts = |key| format!("registry {place:?} is there several times, with different values of {key}");
        ensure!(first.0 == flags.0, conflicts("insecure"));
        ensure!(first.1 == flags.1, conflicts("blocked"));
        // In one file, the first of several with the same prefix wins.
        registries.0.entry(registry.prefix.clone()).or_insert(registry);
    }
    Ok(registries)
}

impl Registries {
    /// Adds a file. Its registry replaces that of the same prefix as a whole.
    fn add(&mut self, text: &str, path: &str) -> Result<()> {
        let registries = parse(text).with_context(|| format!("reading {path}"))?.0;
        self.0.extend(registries.into_iter().map(|(prefix, registry)| (prefix, registry.of_file(path))));
        Ok(())
    }

    /// Returns the endpoints for an image, in order. Each is blocked or not by its own name: a registry that must not
    /// be asked can have mirrors that may, and the other way round.
    pub(super) fn endpoints(&self, image: &ImageReference) -> Result<Vec<Endpoint>> {
        let endpoint = |location: String, insecure, mirror| {
            let blocked = self.find(&location).and_then(|(registry, _)| registry.blocked());
            Endpoint { location, insecure, mirror, blocked }
        };
        let own = || image.name().to_owned();
        let Some((registry, matched)) = self.find(image.name()) else { return Ok(vec![endpoint(own(), false, false)]) };
        let mut endpoints = Vec::new();
        for mirror in registry.mirrors.iter().filter(|mirror| mirror.for_digests) {
            endpoints.push(endpoint(rewrite(image, matched, &mirror.location)?, mirror.insecure, true));
        }
        let location = match registry.location.as_str() {
            "" => own(),
            place => rewrite(image, matched, place)?,
        };
        endpoints.push(endpoint(location, registry.insecure, false));
        Ok(endpoints)
    }

    /// The registry with the longest prefix that matches, and how much of the name that is.
    fn find(&self, name: &str) -> Option<(&Registry, usize)> {
        let matching = self.0.values().filter_map(|registry| Some((registry, matching(name, &registry.prefix)?)));
        // Of equal lengths the first, by prefix.
        matching.reduce(|best, other| if other.0.prefix.len() > best.0.prefix.len() { other } else { best })
    }
}

/// How many bytes of a name the prefix matches.
fn matching(name: &str, prefix: &str) -> Option<usize> {
    let end = match prefix.strip_prefix('*') {
        Some(domain) if domain.starts_with('.') => {
            let start = name.find(domain)?;
            if name.get(..start)?.contains('/') {
                return None;
            }
            start + domain.len()
        }
        _ => name.starts_with(prefix).then_some(prefix.len())?,
    };
    // `:` lets "example.com" match "example.com:5000", which upstream calls unintended, but does.
    name.get(end..)?.chars().next().is_none_or(|next| matches!(next, ':' | '/' | '@')).then_some(end)
}

/// Put `location` in the place of the first `matched` bytes.
fn rewrite(image: &ImageReference, matched: usize, location: &str) -> Result<String> {
    let rest = image.as_str().get(matched..).unwrap_or_default();
    let rewritten = ImageReference::parse(&format!("{location}{rest}"))
        .with_context(|| format!("rewriting {image} to the location {location:?} of registries.conf"))?;
    Ok(rewritten.name().to_owned())
}

impl Registry {
    fn read(table: &Table) -> Result<Self> {
        let mut location = place(text(table, "location")?)?;
        let mut prefix = place(text(table, "prefix")?)?;
        if prefix.is_empty() {
            prefix.clone_from(&location);
        }
        ensure!(!prefix.is_empty(), "a registry has neither location nor prefix");
        let wildcard = prefix.starts_with(WILDCARD);
        ensure!(!wildcard || !prefix.contains(['/', '@', ':']), "prefix {prefix:?} is not of the form *.example.com");
        if location.is_empty() {
            ensure!(wildcard, "registry {prefix:?} has no location, which only a prefix like *.example.com may lack");
            location = String::new();
        }
        ensure!(
            text(table, "pull-from-mirror")?.is_empty(),
            "registry {prefix:?} has pull-from-mirror: it is for mirrors"
        );
        let by_digest = flag(table, "mirror-by-digest-only")?;
        let mirrors = tables(table, "mirror")?;
        let mirrors =
            mirrors.into_iter().map(|entry| Mirror::read(entry, &prefix, by_digest)).collect::<Result<_>>()?;
        let (insecure, blocked) = (flag(table, "insecure")?, flag(table, "blocked")?);
        Ok(Self { file: String::new(), prefix, location, insecure, blocked, mirrors })
    }

    fn of_file(self, path: &str) -> Self {
        Self { file: path.to_owned(), ..self }
    }

    /// Returns why it must not be asked, if so.
    fn blocked(&self) -> Option<String> {
        let Self { prefix, file, .. } = self;
        self.blocked.then(|| format!("registry {prefix:?} is blocked: {file} has blocked = true for it"))
    }
}

impl Mirror {
    fn read(table: &Table, registry: &str, by_digest: bool) -> Result<Self> {
        let location = place(text(table, "location")?)?;
        ensure!(!location.is_empty(), "a mirror of registry {registry:?} has no location");
        let usage = text(table, "pull-from-mirror")?;
        ensure!(
            usage.is_empty() || !by_digest,
            "mirror {location:?} has pull-from-mirror, but registry {registry:?} has mirror-by-digest-only: leave one out"
        );
        let for_digests = match usage {
            "" | "all" | "digest-only" => true,
            "tag-only" => false,
            other => bail!("mirror {location:?} has pull-from-mirror = {other:?}: write all, digest-only or tag-only"),
        };
        Ok(Self { location, insecure: flag(table, "insecure")?, for_digests })
    }
}

fn place(text: &str) -> Result<String> {
    let has_scheme = text.starts_with("http://") || text.starts_with("https://");
    ensure!(!has_scheme, "location {text:?} has a scheme: write host[:port]/path, and insecure = true for http");
    Ok(text.trim_end_matches('/').to_owned())
}

/// A field. Upstream's parser takes names in any case, too.
fn field<'a, 'de>(table: &'a Table<'de>, name: &str) -> Option<&'a Value<'de>> {
    table
        .get(name)
        .or_else(|| table.iter().find(|(key, _)| key.name.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn text<'a>(table: &'a Table, name: &str) -> Result<&'a str> {
    field(table, name).map_or(Ok(""), |value| value.as_str().with_context(|| format!("{name} is not a string")))
}

fn flag(table: &Table, name: &str) -> Result<bool> {
    field(table, name)
        .map_or(Ok(false), |value| value.as_bool().with_context(|| format!("{name} is neither true nor false")))
}

fn tables<'a, 'de>(table: &'a Table<'de>, name: &str) -> Result<Vec<&'a Table<'de>>> {
    let Some(value) = field(table, name) else { return Ok(Vec::new()) };
    let wrong = || format!("{name} is not a list of tables: write [[{name}]]");
    let list = value.as_array().with_context(wrong)?;
    list.iter().map(|item| item.as_table().with_context(wrong)).collect()
}

#[cfg(test)]
mod tests;
