// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The differential test: slipstream and the published importer of upstream pull the
//! same small images into fresh repositories, which must then hold the same.
//!
//! It needs root, and from the environment `SLIPSTREAM_TOOLS_ROOT` (a root directory
//! with ostree and skopeo) and `SLIPSTREAM_PEER` (the program of `test-vm/peer`).
//! `SLIPSTREAM_CASE` names a part of the labels to run, `SLIPSTREAM_KEEP` keeps the
//! repositories.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod corpus;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use corpus::commit::Repo;
use corpus::compare::{Findings, IMAGE, Side, compare, escape};
use corpus::tools::{INSIDE, Tools, said};
use corpus::{Case, Expect, cases};

/// The repository that both start from. It is not synced: no power fails here.
const EMPTY: &str = r#"
ostree init --repo="$1" --mode=bare
ostree config --repo="$1" set core.fsync false
"#;

const PEER: &str = r#"
cp -a /mnt/empty "$1"
ostree-ext-cli container image pull "$1" ostree-unverified-image:oci:"$2"
"#;

const OURS: &str = r#"
cp -a /mnt/empty "$1"
slipstream pull oci:"$2" --image "$3" --repo "$1"
"#;

#[test]
fn imports_as_upstream_does() {
    // Not returned: the harness would print a backtrace in place of the chain.
    if let Err(err) = run_all() {
        panic!("{err:#}");
    }
}

fn run_all() -> Result<()> {
    let tools = match Tools::from_env(Path::new(env!("CARGO_BIN_EXE_slipstream")))? {
        Ok(tools) => tools,
        Err(reason) => {
            eprintln!("SKIPPED: the differential test: {reason}");
            return Ok(());
        }
    };
    tools.shell(EMPTY, &[&format!("{INSIDE}/empty")]).context("creating an empty repository")?;
    let wanted = std::env::var("SLIPSTREAM_CASE").unwrap_or_default();
    let (mut passed, mut failed) = (0, Vec::new());
    for case in cases(&tools)?.iter().filter(|case| case.label.contains(&wanted)) {
        match run(&tools, case).with_context(|| format!("running {}", case.label)) {
            Ok(faults) if faults.is_empty() => {
                passed += 1;
                println!("ok      {}{}", case.label, remark(case));
            }
            Ok(faults) => failed.push(format!("{}\n    {}", case.label, faults.join("\n    "))),
            Err(err) => failed.push(format!("{}\n    {err:#}", case.label)),
        }
    }
    for failure in &failed {
        println!("FAILED  {failure}");
    }
    println!("{passed} passed, {} failed", failed.len());
    if std::env::var_os("SLIPSTREAM_KEEP").is_some() {
        println!("kept {}", tools.keep().display());
    }
    ensure!(failed.is_empty() && passed > 0, "{} cases failed, {passed} passed", failed.len());
    Ok(())
}

/// Known differences are printed with every run, so that nobody forgets them.
fn remark(case: &Case) -> String {
    match &case.expect {
        Expect::Differs { why, .. } | Expect::OursOnly { why, .. } | Expect::PeerOnly { why } => format!(" ({why})"),
        Expect::Same | Expect::Refused => String::new(),
    }
}

/// Pulls one image with both and returns what is wrong.
fn run(tools: &Tools, case: &Case) -> Result<Vec<String>> {
    let dir = tools.work().join(case.label);
    let digest = case.write(tools, &dir.join("oci"))?;
    let image = format!("example.com/os/{}@{digest}", case.label);
    let inside = format!("{INSIDE}/{}", case.label);
    let at = |name: &str| format!("{inside}/{name}");
    let peer_out = tools.run(PEER, &[&at("peer"), &at("oci")])?;
    let our_out = tools.run(OURS, &[&at("ours"), &at("oci"), &image])?;
    let mut faults = Vec::new();
    let (peer_expected, ours_expected) = match case.expect {
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
        faults = judge(tools, case, &image, &peer, &ours)?;
    }
    if std::env::var_os("SLIPSTREAM_KEEP").is_none() {
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    Ok(faults)
}

/// Compares what two importers left that behaved as expected.
fn judge(tools: &Tools, case: &Case, image: &str, peer: &Side, ours: &Side) -> Result<Vec<String>> {
    let expected_ref = format!("{IMAGE}{}", escape(&format!("docker://{image}")));
    match &case.expect {
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
            faults.extend(unexpected(case, compare(tools, peer, ours)?));
            Ok(faults)
        }
    }
}

fn wrong_ref(name: &str, expected: &str) -> Vec<String> {
    if name == expected { Vec::new() } else { vec![format!("image ref {name}, expected {expected}")] }
}

/// The differences have to be those that the case names, all of them.
fn unexpected(case: &Case, found: Findings) -> Vec<String> {
    let expected: &[&str] = if let Expect::Differs { lines, .. } = case.expect { lines } else { &[] };
    let mut faults = found.faults;
    if found.differences.iter().map(String::as_str).ne(expected.iter().copied().collect::<BTreeSet<_>>()) {
        faults.push(format!("expected differences {expected:?}, found"));
        faults.extend(found.detail.into_iter().map(|line| format!("  {line}")));
    }
    faults
}
