// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs that are killed, and what has to be true then.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::repo::{self, files_below, fsck, staged};
use testkit::sandbox::Sandbox;

use crate::image::{Random, write_image};

/// Every so many kills `ostree fsck` looks at what is there, before and after the next run.
const FSCK: usize = 10;
const LIMIT: Duration = Duration::from_secs(60);
const LAYER_REFS: &str = "refs/heads/ostree/container/blob";
const IMAGE_REFS: &str = "refs/heads/ostree/container/image";

/// Counts of what was there when the process was killed.
#[derive(Debug, Default)]
pub struct Tally {
    pub kills: usize,
    /// Nothing yet.
    pub early: usize,
    /// Staged objects, and no ref.
    pub staged: usize,
    /// Refs of layers, and none of the image.
    pub layers: usize,
    /// The image's ref.
    pub images: usize,
    /// The process was faster.
    pub late: usize,
    /// Staged objects that the next run took over.
    pub reused: usize,
    pub fscks: usize,
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
enum Moment {
    After(Duration),
    /// As soon as there is something below this directory of the repository, and a while later.
    Appears(&'static str, Duration),
}

pub struct Test {
    sandbox: Sandbox,
    random: Random,
    layout: PathBuf,
    image: String,
    repo: PathBuf,
    /// Time of an undisturbed run.
    pub whole: Duration,
    /// Its leavings: the commit, the refs with what they name, and the names of all objects.
    pub commit: String,
    refs: BTreeMap<String, String>,
    objects: Vec<String>,
    pub tally: Tally,
}

impl Test {
    /// Writes the image, and looks at undisturbed runs.
    pub fn new(sandbox: Sandbox, seed: u64) -> Result<Self> {
        let (layout, repo) = (sandbox.path().join("layout"), sandbox.path().join("repo"));
        fs::create_dir(&layout).context("creating the layout")?;
        let image = format!("example.com/os/killed@{}", write_image(&layout)?);
        let mut test = Self {
            sandbox,
            random: Random(seed | 1),
            layout,
            image,
            repo,
            whole: Duration::ZERO,
            commit: String::new(),
            refs: BTreeMap::new(),
            objects: Vec::new(),
            tally: Tally::default(),
        };
        // The first run warms the caches up, the second one is measured.
        for _ in 0..2 {
            test.fresh_repo()?;
            let started = Instant::now();
            test.commit = test.complete()?;
            test.whole = started.elapsed();
        }
        (test.refs, test.objects) = (test.refs_now()?, files_below(&test.repo.join("objects"))?);
        ensure!(test.refs.len() == 7, "six layers and an image, but refs {:?}", test.refs);
        test.ensure_sound()?;
        Ok(test)
    }

    /// The moment that is too short to be hit for sure: every layer has its ref, the image has none.
    pub fn finished_layers_are_enough(&self) -> Result<()> {
        fs::remove_dir_all(self.repo.join(IMAGE_REFS)).context("removing the image's ref")?;
        let hidden = self.hide_finished(&self.refs_now()?)?;
        ensure!(hidden.len() == 6, "{} of six layers have a ref", hidden.len());
        ensure!(self.complete().context("without the blobs of all layers")? == self.commit, "another merge commit");
        put_back(hidden)
    }

    fn fresh_repo(&self) -> Result<()> {
        if self.repo.exists() {
            fs::remove_dir_all(&self.repo).context("removing the repository")?;
        }
        repo::init(&self.repo, "bare")
    }

    fn source(&self) -> String {
        format!("oci:{}", self.layout.display())
    }

    /// Makes a run that is not disturbed; returns the merge commit that it prints.
    fn complete(&self) -> Result<String> {
        let run = self.sandbox.pull(&self.source(), &self.image, &self.repo, LIMIT)?;
        ensure!(run.status.is_some_and(|status| status.success()), "the run failed: {}", run.stderr.trim());
        Ok(run.stdout.trim().to_owned())
    }

    /// Kills one or more runs on one repository, then lets one complete.
    pub fn round(&mut self) -> Result<()> {
        self.fresh_repo()?;
        let kills = 1 + self.random.below(4) as usize;
        let check = self.tally.kills / FSCK != (self.tally.kills + kills) / FSCK;
        let mut moment = Moment::After(Duration::ZERO);
        for _ in 0..kills {
            moment = self.moment();
            self.kill_at(moment)?;
        }
        self.last_words(check).with_context(|| format!("killed at {moment:?}"))
    }

    /// Checks the repository after the kill, and after the run that follows it.
    fn last_words(&mut self, check: bool) -> Result<()> {
        if check {
            self.ensure_sound().context("before the next run")?;
        }
        let (whole, refs) = (self.whole_staged()?, self.refs_now()?);
        let hidden = self.hide_finished(&refs)?;
        let commit = self.complete().context("with the blobs of finished layers hidden");
        put_back(hidden)?;
        ensure!(commit? == self.commit, "another merge commit");
        for (name, inode) in whole {
            let (start, end) = name.split_at(2);
            let path = self.repo.join("objects").join(start).join(end);
            let now = path.symlink_metadata().with_context(|| format!("looking for {name}"))?.ino();
            ensure!(now == inode, "object {name} was staged, and was written again");
            self.tally.reused += 1;
        }
        let left = staged(&self.repo)?;
        ensure!(left.is_empty(), "left in tmp: {left:?}");
        let state = files_below(&self.repo.join("state"))?;
        ensure!(state.is_empty(), "left in state: {state:?}");
        ensure!(self.refs_now()? == self.refs, "other refs: {:?}", self.refs_now()?);
        ensure!(files_below(&self.repo.join("objects"))? == self.objects, "other objects");
        if check { self.ensure_sound().context("after the next run") } else { Ok(()) }
    }

    /// Any time of a run and a little more; or when refs are being set, which takes too little of it.
    fn moment(&mut self) -> Moment {
        let part = |random: &mut Random, whole: Duration| whole.mul_f64(random.below(10_000) as f64 / 10_000.0);
        match self.random.below(8) {
            0 => Moment::Appears(LAYER_REFS, Duration::from_micros(self.random.below(50))),
            1 => Moment::Appears(IMAGE_REFS, Duration::from_micros(self.random.below(1000))),
            _ => Moment::After(part(&mut self.random, self.whole.mul_f64(1.1))),
        }
    }

    fn kill_at(&mut self, moment: Moment) -> Result<()> {
        let started = Instant::now();
        let mut child = self.sandbox.start(&self.source(), &self.image, &self.repo)?;
        let done = loop {
            let now = match moment {
                Moment::After(time) => started.elapsed() >= time,
                Moment::Appears(dir, _) => fs::read_dir(self.repo.join(dir)).is_ok_and(|mut dir| dir.next().is_some()),
            };
            if let Some(status) = child.try_wait().context("waiting for slipstream")? {
                ensure!(status.success(), "a run failed: {status}");
                break true;
            }
            if now {
                break false;
            }
            ensure!(started.elapsed() < LIMIT, "a run does not end");
        };
        if let Moment::Appears(_, more) = moment {
            let seen = Instant::now();
            while seen.elapsed() < more {
                std::hint::spin_loop();
            }
        }
        // SIGKILL; it may have ended in between.
        child.kill().context("killing slipstream")?;
        child.wait().context("waiting for slipstream")?;
        self.tally.kills += 1;
        self.count(done)
    }

    fn count(&mut self, done: bool) -> Result<()> {
        let some = |dir: &str| -> Result<bool> { Ok(!files_below(&self.repo.join(dir))?.is_empty()) };
        let counter = match (done, some(IMAGE_REFS)?, some(LAYER_REFS)?, !staged(&self.repo)?.is_empty()) {
            (true, ..) => &mut self.tally.late,
            (_, true, ..) => &mut self.tally.images,
            (_, _, true, _) => &mut self.tally.layers,
            (.., true) => &mut self.tally.staged,
            _ => &mut self.tally.early,
        };
        *counter += 1;
        Ok(())
    }

    /// Regular content objects that are staged and whole, with their inodes. What is not whole has another time.
    fn whole_staged(&self) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for stage in staged(&self.repo)? {
            for name in files_below(&self.repo.join("tmp").join(stage))? {
                let path = self.repo.join("tmp").join(self.stage_of(&name)?).join(&name);
                let stat = path.symlink_metadata().with_context(|| format!("looking at {name}"))?;
                if stat.is_file() && stat.mtime() == 0 && name.ends_with(".file") && !name.contains('/') {
                    found.push((name, stat.ino()));
                }
            }
        }
        Ok(found)
    }

    /// The only staging directory there is.
    fn stage_of(&self, name: &str) -> Result<String> {
        let stages = staged(&self.repo)?;
        let found = stages.iter().find(|stage| self.repo.join("tmp").join(stage).join(name).symlink_metadata().is_ok());
        found.cloned().with_context(|| format!("finding the stage of {name}"))
    }

    /// Takes away the blobs of layers that have a ref: they must not be read again.
    fn hide_finished(&self, refs: &BTreeMap<String, String>) -> Result<Hidden> {
        let mut hidden = Vec::new();
        for name in refs.keys() {
            if let Some((_, hex)) = name.rsplit_once("blob/sha256_3A_") {
                let from = self.layout.join("blobs/sha256").join(hex);
                let to = self.sandbox.path().join(hex);
                fs::rename(&from, &to).with_context(|| format!("hiding {}", from.display()))?;
                hidden.push((from, to));
            }
        }
        Ok(hidden)
    }

    fn refs_now(&self) -> Result<BTreeMap<String, String>> {
        repo::refs(&self.repo)
    }

    fn ensure_sound(&mut self) -> Result<()> {
        self.tally.fscks += 1;
        match fsck(&self.repo)? {
            Some(fault) => bail!("ostree fsck: {fault}"),
            None => Ok(()),
        }
    }
}

/// Blobs that were moved: from where, and to where.
type Hidden = Vec<(PathBuf, PathBuf)>;

fn put_back(hidden: Hidden) -> Result<()> {
    hidden.iter().try_for_each(|(from, to)| fs::rename(to, from)).context("putting a blob back")
}
