// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The merge commits, all but their trees.
//!
//! The published peer writes the keys of its maps in an order that changes with every
//! run, so its checksum cannot be compared. Ours must say the same, in the form that
//! upstream has made stable since: canonical JSON, sorted keys, the base as parent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::commit::Commit;
use crate::side::{BLOB, Findings, Side, escape};

/// In the order in which they have to stand in the commit.
const KEYS: [&str; 4] =
    ["ostree.container.image-config", "ostree.importer.version", "ostree.manifest", "ostree.manifest-digest"];
/// How far two commits may be apart whose time is the time of the import.
const IMPORT_SECONDS: u64 = 600;

pub fn compare_merge(peer: &Commit, ours: &Commit, found: &mut Findings) -> Result<()> {
    found.check(ours.keys() == KEYS, || format!("metadata keys: ours {:?}, expected {KEYS:?}", ours.keys()));
    for key in KEYS {
        compare_value(key, &peer.string(key)?, &ours.string(key)?, found);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
    let is_import_time = now.abs_diff(peer.timestamp) < IMPORT_SECONDS;
    let apart = peer.timestamp.abs_diff(ours.timestamp);
    let good = apart == 0 || is_import_time && apart < IMPORT_SECONDS;
    found.check(good, || format!("timestamp: peer {}, ours {}", peer.timestamp, ours.timestamp));
    let texts = |commit: &Commit| (commit.subject.clone(), commit.body.clone(), commit.related.clone());
    found.check(texts(peer) == texts(ours), || format!("texts: peer {:?}, ours {:?}", texts(peer), texts(ours)));
    Ok(())
}

/// The parent is the base commit.
pub fn check_parent(ours: &Commit, side: &Side, found: &mut Findings) -> Result<()> {
    let manifest: Value = serde_json::from_str(&ours.string("ostree.manifest")?).context("parsing our manifest")?;
    let Some(first) = manifest["layers"][0]["digest"].as_str() else { bail!("our manifest has no layer") };
    let name = format!("{BLOB}{}", escape(first));
    let base = side.refs.get(&name).map_or("no such ref", String::as_str);
    found.check(ours.parent == base, || format!("parent: ours {:?}, the base commit is {base}", ours.parent));
    Ok(())
}

/// Two values of a metadata key; what differs inside of JSON is named by its place.
fn compare_value(key: &str, peer: &str, ours: &str, found: &mut Findings) {
    let (Ok(theirs), Ok(mine)) = (serde_json::from_str::<Value>(peer), serde_json::from_str::<Value>(ours)) else {
        return found.check(peer == ours, || format!("metadata {key}: peer {peer:?}, ours {ours:?}"));
    };
    compare_json(&format!("metadata {key}"), &theirs, &mine, found);
    let canonical = canonical(&mine);
    found.check(ours == canonical, || format!("metadata {key} is not canonical: {ours}"));
}

fn compare_json(place: &str, peer: &Value, ours: &Value, found: &mut Findings) {
    match (peer, ours) {
        (Value::Object(theirs), Value::Object(mine)) => {
            for key in theirs.keys().chain(mine.keys()).collect::<BTreeSet<_>>() {
                compare_json(&format!("{place}/{key}"), &peer[key], &ours[key], found);
            }
        }
        (Value::Array(theirs), Value::Array(mine)) if theirs.len() == mine.len() => {
            for (n, (theirs, mine)) in theirs.iter().zip(mine).enumerate() {
                compare_json(&format!("{place}/{n}"), theirs, mine, found);
            }
        }
        _ if peer == ours => {}
        _ => {
            found.differences.insert(place.to_owned());
            found.detail.push(format!("{place}: peer {peer}, ours {ours}"));
        }
    }
}

/// Sorted keys and no space.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let items =
                sorted.into_iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)));
            format!("{{{}}}", items.collect::<Vec<_>>().join(","))
        }
        Value::Array(array) => format!("[{}]", array.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
