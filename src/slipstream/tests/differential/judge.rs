// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One image, pulled by both importers, and the verdict.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use crate::commit::Repo;
use crate::compare::compare;
use crate::corpus::{Case, Expect};
use crate::lab::Lab;
use crate::side::{Findings, IMAGE, Side, escape};
use crate::tools::{INSIDE, Tools, said};

const PEER: &str = r#"
cp -a /mnt/empty "$1"
ostree-ext-cli container image pull "$1" ostree-unverified-image:oci:"$2"
"#;

const OURS: &str = r#"
cp -a /mnt/empty "$1"
slipstream pull oci:"$2" --image "$3" --repo "$1"
"#;

/// Pulls one image with both, at this place in the work directory, and returns what is wrong.
pub fn run(lab: &Lab, case: Case, place: &str) -> Result<Vec<String>> {
    let tools = &lab.tools;
    let dir = tools.work().join(place);
    let expect = case.expect.clone();
    let digest = case.write(lab, &dir.join("oci"))?;
    let image = format!("example.com/os/{place}@{digest}");
    let inside = format!("{INSIDE}/{place}");
    let at = |name: &str| format!("{inside}/{name}");
    let peer_out = tools.run(PEER, &[&at("peer"), &at("oci")])?;
    let our_out = tools.run(OURS, &[&at("ours"), &at("oci"), &image])?;
    let mut faults = Vec::new();
    let (peer_expected, ours_expected) = match expect {
        Expect::Same | Expect::Differs { .. } => (true, true),
        Expect::Refused => (false, false),
        Expect::OursOnly { .. } => (false, true),
        Expect::PeerOnly { .. } => (true, false),
    };
    for (who, output, expected) in [("peer", &peer_out, peer_expected), ("ours", &our_out, ours_expected)] {
        if output.status.success() != expected {
            let wanted = if expected { "import" } else { "refuse" };
            faults.push(format!("{who} should {wanted} it: {}: {}", output.status, said(output)));
        }
    }
    let fsck = tools.run("ostree fsck --repo=\"$1\"", &[&at("ours")])?;
    if !fsck.status.success() {
        faults.push(format!("ostree fsck of ours: {}", said(&fsck)));
    }
    if faults.is_empty() {
        let peer = Side::new(Repo(dir.join("peer")), at("peer"))?;
        let ours = Side::new(Repo(dir.join("ours")), at("ours"))?;
        faults = judge(tools, &expect, &image, &peer, &ours)?;
    }
    if std::env::var_os("SLIPSTREAM_KEEP").is_none() {
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    Ok(faults)
}

/// Compares what two importers left that behaved as expected.
fn judge(tools: &Tools, expect: &Expect, image: &str, peer: &Side, ours: &Side) -> Result<Vec<String>> {
    let expected_ref = format!("{IMAGE}{}", escape(&format!("docker://{image}")));
    match expect {
        Expect::Refused | Expect::PeerOnly { .. } => Ok(match ours.image() {
            Ok((name, _)) => vec![format!("refused, and yet there is a ref {name}")],
            Err(_) => Vec::new(),
        }),
        Expect::OursOnly { lines, .. } => {
            let (name, commit) = ours.image()?;
            let mut faults = wrong_ref(name, &expected_ref);
            let text = tools.shell("ostree ls --repo=\"$1\" -R \"$2\"", &[&ours.inside, commit])?;
            let missing = lines.iter().filter(|line| !text.lines().any(|have| have == **line));
            faults.extend(missing.map(|line| format!("the merge tree lacks {line:?}")));
            Ok(faults)
        }
        Expect::Same | Expect::Differs { .. } => {
            let mut faults = wrong_ref(ours.image()?.0, &expected_ref);
            faults.extend(unexpected(expect, compare(tools, peer, ours)?));
            Ok(faults)
        }
    }
}

fn wrong_ref(name: &str, expected: &str) -> Vec<String> {
    if name == expected { Vec::new() } else { vec![format!("image ref {name}, expected {expected}")] }
}

/// The differences have to be those that the case names, all of them.
fn unexpected(expect: &Expect, found: Findings) -> Vec<String> {
    let expected: &[&str] = if let Expect::Differs { lines, .. } = expect { lines } else { &[] };
    let mut faults = found.faults;
    if found.differences.iter().map(String::as_str).ne(expected.iter().copied().collect::<BTreeSet<_>>()) {
        faults.push(format!("expected differences {expected:?}, found"));
        faults.extend(found.detail.into_iter().map(|line| format!("  {line}")));
    }
    faults
}
