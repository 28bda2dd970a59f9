// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The real image, pulled by the peer, by slipstream, and written by the floor, in turns.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};

use super::image::BenchImage;
use super::measure::{Sample, measure};
use super::object::offset_width;
use super::place::{Filesystem, Place, clear};
use super::report::{Bars, Spread, loadavg, mib};
use super::tools::Tools;
use crate::lab::peer;

/// A second pull of the same image may take so many seconds.
const SECOND_PULL: f64 = 0.2;
/// Ours may take so many times what the floor takes.
const FLOORS: f64 = 2.0;

/// What the rounds on one file system gave.
#[derive(Default)]
struct Rounds {
    peer: Vec<Sample>,
    ours: Vec<Sample>,
    again: Vec<Sample>,
    floor: Vec<Sample>,
}

/// All images on all file systems. zstd layers change only the inflating: they are pulled to one of them.
pub fn run(
    tools: &Tools<'_>,
    images: &[BenchImage],
    filesystems: &[Filesystem],
    rounds: usize,
    bars: &mut Bars,
) -> Result<()> {
    println!(
        "\n| layers, file system | program | wall, s | CPU (user + system), s | peak RSS, MiB |\n\
         | --- | --- | ---: | ---: | ---: |"
    );
    for image in images {
        for filesystem in filesystems {
            if image.name == "zstd" && filesystems.len() > 1 && *filesystem != Filesystem::Tmpfs {
                continue;
            }
            let place = Place::mount(tools, *filesystem)?;
            let all = on_place(tools, image, &place, rounds)?;
            place.close()?;
            print(&format!("{}, {}", image.name, filesystem.name()), *filesystem, &all, bars)?;
        }
    }
    Ok(())
}

fn on_place(tools: &Tools<'_>, image: &BenchImage, place: &Place, rounds: usize) -> Result<Rounds> {
    let mut all = Rounds::default();
    // The first pull to a new file system pays for what later ones find: it does not count.
    let theirs = peer_pull(tools, image, place)?;
    let expected = Contents::of(&theirs.1)?;
    clear(&theirs.1)?;
    for round in 1..=rounds {
        eprintln!("{} on {}, round {round} of {rounds}, load {}", image.name, place.dir.display(), loadavg()?);
        let (sample, repo) = peer_pull(tools, image, place)?;
        all.peer.push(sample);
        clear(&repo)?;

        warm(&image.dir)?;
        let repo = tools.init_repo(&place.dir, "ours")?;
        let pull = pull_command(tools, image, &repo);
        all.ours.push(measure(tools, &place.dir, &pull)?.0);
        all.again.push(measure(tools, &place.dir, &pull)?.0);
        if round == 1 {
            expected.compare(&Contents::of(&repo)?)?;
        }
        clear(&repo)?;

        warm(&image.dir)?;
        let out = place.dir.join("floor");
        let own = tools.own.to_string_lossy().into_owned();
        let words = [&own, "bench", "floor", &image.dir.to_string_lossy(), &out.to_string_lossy()];
        all.floor.push(measure(tools, &place.dir, &words.map(str::to_owned))?.0);
        clear(&out)?;
    }
    Ok(all)
}

/// slipstream's command line.
pub fn pull_command(tools: &Tools<'_>, image: &BenchImage, repo: &Path) -> Vec<String> {
    let program = tools.slipstream.to_string_lossy().into_owned();
    let source = format!("oci:{}", image.dir.display());
    let words = [&program, "pull", &source, "--image", &image.reference, "--repo", &repo.to_string_lossy()];
    words.map(str::to_owned).to_vec()
}

fn peer_pull(tools: &Tools<'_>, image: &BenchImage, place: &Place) -> Result<(Sample, std::path::PathBuf)> {
    warm(&image.dir)?;
    let repo = tools.init_repo(&place.dir, "theirs")?;
    let program = tools.peer.to_string_lossy().into_owned();
    let source = format!("ostree-unverified-image:oci:{}", image.dir.display());
    let words = [&program, "container", "image", "pull", &repo.to_string_lossy(), &source].map(str::to_owned);
    Ok((measure(tools, &place.dir, &words)?.0, repo))
}

/// Read the image, so that all programs find it in memory.
fn warm(dir: &Path) -> Result<()> {
    let blobs = dir.join("blobs/sha256");
    for entry in fs::read_dir(&blobs).with_context(|| format!("listing {}", blobs.display()))? {
        let path = entry.with_context(|| format!("listing {}", blobs.display()))?.path();
        let mut file = fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        std::io::copy(&mut file, &mut std::io::sink()).with_context(|| format!("reading {}", path.display()))?;
    }
    Ok(())
}

/// What a repository holds, as far as it must be the same. Commits are not: that of a derived layer has the time of its
/// import, and the published ostree-ext gives the merge commit no parent, as newer ones do.
struct Contents {
    objects: BTreeSet<String>,
    /// Dirtree and dirmeta of the merge commit.
    root: Vec<u8>,
}

impl Contents {
    fn of(repo: &Path) -> Result<Self> {
        let mut objects = BTreeSet::new();
        for prefix in fs::read_dir(repo.join("objects")).context("listing objects")? {
            let prefix = prefix.context("listing objects")?;
            for entry in fs::read_dir(prefix.path()).context("listing objects")? {
                let name = entry.context("listing objects")?.file_name().to_string_lossy().into_owned();
                if !name.ends_with(".commit") {
                    objects.insert(format!("{}{name}", prefix.file_name().to_string_lossy()));
                }
            }
        }
        let merge = only_file(&repo.join("refs/heads/ostree/container/image"))?;
        let (start, rest) = merge.split_at_checked(2).context("reading the image's ref")?;
        let commit =
            fs::read(repo.join(format!("objects/{start}/{rest}.commit"))).context("reading the merge commit")?;
        Ok(Self { objects, root: root_of(&commit).context("parsing the merge commit")?.to_vec() })
    }

    fn compare(&self, ours: &Self) -> Result<()> {
        let missing = self.objects.difference(&ours.objects).count();
        let more = ours.objects.difference(&self.objects).count();
        ensure!(missing + more == 0, "comparing the objects: {missing} are missing, {more} should not be there");
        ensure!(self.root == ours.root, "comparing the trees of the merge commits: they differ");
        Ok(())
    }
}

/// The checksums that end a commit, `(a{sv}aya(say)sstayay)`, before the ends of its six members of no fixed size.
fn root_of(commit: &[u8]) -> Option<&[u8]> {
    let end = commit.len().checked_sub(6 * offset_width(commit.len()))?;
    commit.get(end.checked_sub(64)?..end)
}

/// The content of the only file below a directory: the ref of the image.
fn only_file(dir: &Path) -> Result<String> {
    let entry = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?.next();
    let path = entry.context("finding the image's ref")?.context("finding the image's ref")?.path();
    if path.is_dir() {
        return only_file(&path);
    }
    Ok(fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?.trim().to_owned())
}

fn print(name: &str, filesystem: Filesystem, all: &Rounds, bars: &mut Bars) -> Result<()> {
    let cores = available_parallelism().context("counting processors")?.get() as f64;
    let wall = |samples: &[Sample]| Spread::of(samples.iter().map(|sample| sample.wall));
    for (program, samples) in
        [("ostree-ext", &all.peer), ("slipstream", &all.ours), ("slipstream again", &all.again), ("floor", &all.floor)]
    {
        let cpu = Spread::of(samples.iter().map(Sample::cpu))?;
        let user = Spread::of(samples.iter().map(|sample| sample.user))?.median;
        let system = Spread::of(samples.iter().map(|sample| sample.system))?.median;
        println!(
            "| {name} | {program} | {} | {} = {user:.1} + {system:.1} | {} |",
            wall(samples)?.text(),
            cpu.text(),
            memory(samples)
        );
    }
    let (peer, ours, floor) = (wall(&all.peer)?.median, wall(&all.ours)?.median, wall(&all.floor)?.median);
    let per_core = Spread::of(all.floor.iter().map(|sample| sample.cpu() / cores))?.median;
    let share = if filesystem == Filesystem::Ext4 { 1.0 / 4.0 } else { 1.0 / 3.0 };
    bars.check(&format!("{name}: ours / peer"), ours / peer, share, "");
    bars.check(&format!("{name}: ours / floor (its wall time)"), ours / floor, FLOORS, "");
    bars.check(&format!("{name}: ours / floor (its CPU time / cores)"), ours / per_core, FLOORS, "");
    bars.check(&format!("{name}: second pull"), wall(&all.again)?.median, SECOND_PULL, " s");
    bars.check_rss(name, all.ours.iter().map(|sample| sample.rss).max().unwrap_or_default());
    Ok(())
}

/// Peak memory over all runs; of the peer also skopeo's.
fn memory(samples: &[Sample]) -> String {
    let most = |name: &str| samples.iter().filter_map(|sample| sample.programs.get(name).copied()).max();
    match (most(peer::NAME), most("skopeo")) {
        (Some(peer), Some(skopeo)) => format!("{:.0}, skopeo {:.0}", mib(peer), mib(skopeo)),
        _ => format!("{:.1}", mib(samples.iter().map(|sample| sample.rss).max().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::root_of;

    #[test]
    fn the_root_of_a_commit() {
        let mut commit = vec![1; 70];
        commit.extend([2; 64]);
        commit.extend([3; 6]);
        assert_eq!(root_of(&commit), Some(&[2; 64][..]));
        assert_eq!(root_of(&commit[..60]), None);
    }
}
