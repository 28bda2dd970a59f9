// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Several programs in one repository: `slipstream pull` beside others of its kind and beside `ostree`, the locks that they
//! take, and the refs and files that are other people's.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod place;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use testkit::programs::needs;
use testkit::repo::{files_below, staged};
use testkit::sandbox::enter;
use testkit::suite::{Case, Shared, Suite, say};

use place::{IMAGES, Image, Images, LIMIT, Place};

/// So many pulls, and so many prunes beside them. libostree waits for a second when it is in the way of one.
const ENOUGH: usize = 6;

fn main() -> ExitCode {
    let images = Shared::new(Images::write);
    let case = |name: &str, run: fn(&Place) -> Result<()>| {
        let images = Arc::clone(&images);
        Case::new(name, move || {
            let place = Place::new(images.get()?)?;
            run(&place)?;
            place.ensure_sound()
        })
    };
    let cases = vec![
        case("two_pulls_of_one_image_give_one_commit", same_image),
        case("two_pulls_of_two_images_keep_both", two_images),
        case("a_pull_goes_on_when_the_one_before_is_killed", killed),
        case("pulls_go_well_beside_commits_and_prunes", busy),
        case("collects_the_layers_of_an_image_that_was_asked_for_before", other_before),
        case("leaves_the_refs_of_others", others),
        case("collects_nothing_if_an_image_of_others_cannot_be_read", unreadable),
    ];
    // It goes with the last case.
    drop(images);
    // Each is about programs that wait for each other.
    Suite::new("concurrency", || needs(&["ostree"]).and_then(|()| enter())).one_at_a_time().run(cases)
}

fn two<'a>(place: &Place<'a>) -> Result<(&'a Image, &'a Image)> {
    match &place.images.all[..] {
        [first, second, ..] => Ok((first, second)),
        _ => bail!("too few images"),
    }
}

/// Starts two pulls while neither can go on, and lets them.
fn both(place: &Place, first: &Image, second: &Image) -> Result<(String, String)> {
    let lock = place.lock()?;
    let mut one = place.start("first", first)?;
    one.wait_for("another process (ostree, rpm-ostree or bootc) has locked the repository: waiting for it")?;
    let mut two = place.start("second", second)?;
    two.wait_for("another import into this repository is running: waiting for it")?;
    ensure!(place.refs()?.is_empty(), "something was written under another program's lock");
    drop(lock);
    Ok((one.end().context("the first one")?, two.end().context("the second one")?))
}

fn same_image(place: &Place) -> Result<()> {
    let (image, _) = two(place)?;
    let (one, two) = both(place, image, image)?;
    ensure!(one == two && one == place.expected(image)?, "{one} and {two}");
    ensure!(place.refs()?.len() == 3, "refs: {:?}", place.refs()?);
    place.ensure_all_reachable()
}

fn two_images(place: &Place) -> Result<()> {
    let (first, second) = two(place)?;
    let (one, two) = both(place, first, second)?;
    ensure!(one == place.expected(first)? && two == place.expected(second)?, "{one} and {two}");
    // The layer that both have is there once; what the first one has set, the second one has not collected.
    ensure!(place.refs()?.len() == 5, "refs: {:?}", place.refs()?);
    place.ensure_all_reachable()
}

/// A lock goes with its process, and what it has staged is of use.
fn killed(place: &Place) -> Result<()> {
    let (first, second) = two(place)?;
    let lock = place.lock()?;
    let mut one = place.start("first", first)?;
    one.wait_for("has locked the repository: waiting for it")?;
    let mut two = place.start("second", second)?;
    two.wait_for("another import into this repository is running")?;
    one.kill()?;
    two.wait_for("has locked the repository: waiting for it").context("when the first one is gone")?;
    drop(lock);
    let commit = two.end()?;
    ensure!(commit == place.expected(second)?, "{commit}");
    // And in the middle of its work.
    let mut one = place.start("first", first)?;
    let started = Instant::now();
    while staged(&place.repo)?.is_empty() && one.is_running()? {
        ensure!(started.elapsed() < LIMIT, "nothing is staged");
    }
    one.kill()?;
    ensure!(place.pull(first)? == place.expected(first)?, "another commit");
    Ok(())
}

/// `ostree commit` and `ostree prune` without a pause, and pulls.
fn busy(place: &Place) -> Result<()> {
    let tmp = place.repo.join("tmp");
    // What other programs may have there at any time.
    let theirs = ["theirs/object", "slipstream-is-only-a-file", "other"];
    fs::create_dir_all(tmp.join("theirs"))?;
    for name in theirs {
        fs::write(tmp.join(name), "text")?;
    }
    let pulls = AtomicUsize::new(0);
    let commits = std::thread::scope(|scope| -> Result<_> {
        let others = scope.spawn(|| commit_and_prune(place, &pulls));
        while !others.is_finished() {
            for image in &place.images.all {
                place.pull(image)?;
                pulls.fetch_add(1, Ordering::Relaxed);
            }
            // So that the next round has to import them again, whether they are pruned meanwhile or not.
            for name in place.refs()?.keys().filter(|name| name.starts_with("ostree/container/")) {
                place.ostree(&["refs", "--delete", name])?;
            }
        }
        others.join().map_err(|_| anyhow!("the other thread has panicked"))?.context("beside pulls")
    })?;
    say(format!("{pulls:?} pulls beside {} commits and prunes", commits.len()));
    let pulled = place.images.all.iter().map(|image| place.pull(image)).collect::<Result<Vec<_>>>()?;
    for (n, commit) in commits.iter().enumerate() {
        ensure!(place.ostree(&["rev-parse", &format!("other/{n}")])? == *commit, "the commit {n}");
    }
    for (image, commit) in place.images.all.iter().zip(pulled) {
        ensure!(place.expected(image)? == commit, "{}", image.name);
    }
    for name in theirs {
        ensure!(tmp.join(name).exists(), "{name} is gone");
    }
    Ok(())
}

/// Until there was enough of both.
fn commit_and_prune(place: &Place, pulls: &AtomicUsize) -> Result<Vec<String>> {
    let tree = place.tree()?;
    let mut commits = Vec::new();
    while commits.len() < ENOUGH || pulls.load(Ordering::Relaxed) < ENOUGH {
        let n = commits.len();
        fs::write(tree.join("file"), format!("{n}"))?;
        let (branch, tree) = (format!("--branch=other/{n}"), format!("--tree=dir={}", tree.display()));
        commits.push(place.ostree(&["commit", &branch, &tree, "--fsync=false"])?);
        place.ostree(&["prune", "--refs-only"])?;
    }
    Ok(commits)
}

/// One image was half imported, another one is asked for now.
fn other_before(_: &Place) -> Result<()> {
    // They are its own: it hides a blob.
    let images = Images::write()?;
    let place = &Place::new(&images)?;
    let (first, second) = two(place)?;
    place.pull(second)?;
    let (refs, objects) = (place.refs()?, files_below(&place.repo.join("objects"))?);
    let half = Place::new(place.images)?;
    half.pull(first)?;
    // As a process leaves it that is killed just before its last step.
    fs::remove_dir_all(half.repo.join("refs/heads").join(IMAGES)).context("removing the image's ref")?;
    fs::create_dir(half.repo.join("tmp/slipstream-00000000-0000-0000-0000-000000000000"))?;
    // The layer that both have is not read again.
    let blobs = Path::new(second.source.trim_start_matches("oci:")).join("blobs/sha256");
    let blob = blobs.join(second.layers[0].trim_start_matches("sha256_3A_"));
    let hidden = blob.with_extension("hidden");
    fs::rename(&blob, &hidden)?;
    let pulled = half.pull(second);
    fs::rename(&hidden, &blob)?;
    pulled?;
    ensure!(half.refs()? == refs, "refs: {:?}", half.refs()?);
    half.ostree(&["prune", "--refs-only"])?;
    ensure!(files_below(&half.repo.join("objects"))? == objects, "a prune does not leave what the image alone has");
    Ok(())
}

/// Refs of others stay, whatever they are called, and so do the layers of their images.
fn others(place: &Place) -> Result<()> {
    let [first, second, third] = &place.images.all[..] else { bail!("not three images") };
    let (one, two) = (place.pull(first)?, place.pull(second)?);
    let layer = place.commit_of(&second.layer_ref(1))?;
    // The first image is another program's now; of the second one it has a layer, and has not finished.
    for name in place.image_refs()? {
        place.ostree(&["refs", "--delete", &name])?;
    }
    let unfinished = second.layer_ref(1);
    for (name, commit) in [
        ("ostree/container/image/docker_3A__2F__2F_example_2E_com/renamed", &one),
        ("ostree/container/image/no-container", &layer),
        (&unfinished, &layer),
        ("ostree/container/blob/sha256_3A_unknown", &layer),
        ("ostree/container/blobs", &layer),
        ("rpmostree/base/0", &one),
        ("ostree/0/1/0", &one),
        ("fedora/x86_64/coreos", &two),
        ("slipstream", &two),
    ] {
        place.set_ref(name, commit)?;
    }
    let before = place.refs()?;
    let commit = place.pull(third)?;
    let mut after = place.refs()?;
    ensure!(after.remove(&third.layer_ref(1)).is_some(), "its own layer");
    ensure!(after.values().filter(|there| **there == commit).count() == 1, "its own image: {after:?}");
    after.retain(|_, there| *there != commit);
    ensure!(after == before, "before: {before:?}\nafter: {after:?}");
    Ok(())
}

/// An image that another program has left in disorder does not stop ours, and then nothing is collected.
fn unreadable(place: &Place) -> Result<()> {
    let (first, second) = two(place)?;
    place.pull(first)?;
    for name in place.image_refs()? {
        place.ostree(&["refs", "--delete", &name])?;
    }
    let tree = format!("--tree=dir={}", place.tree()?.display());
    let odd = "--branch=ostree/container/image/odd";
    place.ostree(&["commit", odd, &tree, "--add-metadata-string=ostree.manifest={}"])?;
    let before = place.refs()?;
    let mut pull = place.start("pull", second)?;
    pull.wait_for("cleaning up: reading the image of ostree/container/image/odd")?;
    pull.end()?;
    let after = place.refs()?;
    ensure!(before.iter().all(|(name, commit)| after.get(name) == Some(commit)), "{before:?}\n{after:?}");
    Ok(())
}
