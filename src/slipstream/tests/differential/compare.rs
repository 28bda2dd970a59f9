// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two repositories that were filled from one image: where do they differ?

use anyhow::Result;

use crate::metadata::{check_parent, compare_merge};
use crate::side::{Findings, Side};
use crate::tools::Tools;

/// Compares all that both importers wrote.
pub fn compare(tools: &Tools, peer: &Side, ours: &Side) -> Result<Findings> {
    let mut found = Findings::default();
    let (peer_merge, our_merge) = (peer.image()?.1, ours.image()?.1);
    found.check(peer.blobs() == ours.blobs(), || {
        format!("layer refs: peer {:?}, ours {:?}", peer.blobs(), ours.blobs())
    });
    let (theirs, mine) = (peer.repo.commit(peer_merge)?, ours.repo.commit(our_merge)?);
    compare_merge(&theirs, &mine, &mut found)?;
    check_parent(&mine, ours, &mut found)?;
    compare_trees(tools, "merge", (peer, peer_merge), (ours, our_merge), &mut found)?;
    for name in peer.blobs().intersection(&ours.blobs()) {
        compare_layer(tools, (peer, &peer.refs[*name]), (ours, &ours.refs[*name]), &mut found)?;
    }
    let unnamed = ours.repo.unnamed_commits()?;
    found.check(unnamed.is_empty(), || format!("commits that no ref names: {unnamed:?}"));
    if found.differences.is_empty() {
        let more: Vec<_> = ours.repo.objects()?.difference(&peer.repo.objects()?).cloned().collect();
        found.check(more.is_empty(), || format!("objects that only ours has: {more:?}"));
    }
    Ok(found)
}

/// A layer ref: chunks and the commit layer give the very same commit; a derived
/// layer's commit carries the time of its import, so its tree is compared.
fn compare_layer(tools: &Tools, peer: (&Side, &str), ours: (&Side, &str), found: &mut Findings) -> Result<()> {
    if peer.1 == ours.1 {
        return Ok(());
    }
    let (theirs, mine) = (peer.0.repo.commit(peer.1)?, ours.0.repo.commit(ours.1)?);
    let is_derived = theirs.keys() == ["ostree.importer.version"];
    found.check(is_derived, || format!("layer commit: peer {theirs:?}, ours {mine:?}"));
    compare_trees(tools, "layer", peer, ours, found)
}

fn compare_trees(
    tools: &Tools,
    what: &str,
    peer: (&Side, &str),
    ours: (&Side, &str),
    found: &mut Findings,
) -> Result<()> {
    let (theirs, mine) = (peer.0.repo.commit(peer.1)?, ours.0.repo.commit(ours.1)?);
    if (&theirs.root_tree, &theirs.root_meta) == (&mine.root_tree, &mine.root_meta) {
        return Ok(());
    }
    let (theirs, mine) = (peer.0.list(tools, peer.1)?, ours.0.list(tools, ours.1)?);
    found.check(theirs != mine, || format!("{what}: the root checksums differ, the listings do not"));
    for (sign, from, other) in [('-', &theirs, &mine), ('+', &mine, &theirs)] {
        for (path, line) in from.iter().filter(|(path, line)| other.get(*path) != Some(line)) {
            found.differences.insert(format!("{what} {sign}{path}"));
            found.detail.push(format!("{what} {sign} {line}"));
        }
    }
    Ok(())
}
