// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The image that is pulled: as large as a real node image, in as many layers, one of them half of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::layout::Layout;

use super::tools::Tools;
use crate::images::chunks;
use crate::images::layout::add_layer;
use crate::lab::cache::{Inputs, remove};
use crate::lab::cmd;

/// The suite of the tree.
const SUITE: &str = "trixie";
const BRANCH: &str = "bench/node";
/// What the issue asks for.
const MIN_LAYERS: usize = 50;
/// The chunk that holds half of the bytes.
const BULK: &str = "bulk";
/// Chunks that packages share are split into so many, so that there are enough of them beside the bulk.
const SPLIT: usize = 2;
/// Where the image pretends to come from.
const REPOSITORY: &str = "example.com/os/bench";

/// An image in an OCI layout.
#[derive(Clone)]
pub struct BenchImage {
    /// How its layers are compressed.
    pub name: &'static str,
    /// The layout.
    pub dir: PathBuf,
    /// `example.com/os/bench@sha256:…`.
    pub reference: String,
}

impl BenchImage {
    /// The image of a layout.
    pub fn at(name: &'static str, dir: PathBuf) -> Result<Self> {
        let image = Layout::at(&dir).image()?;
        Ok(Self { name, dir, reference: format!("{REPOSITORY}@{}", image.digest) })
    }
}

/// The image with gzip layers, then with zstd layers.
pub fn build(tools: &Tools<'_>) -> Result<[BenchImage; 2]> {
    let lab = tools.lab;
    let root = lab.debian_root("bench-root", SUITE, &lab.packages("bench")?)?;
    let mut inputs =
        Inputs::default().text(root.to_string_lossy()).text(format!("{BULK} {SPLIT}")).file(&tools.peer)?;
    for script in ["bench-tree.sh", "bench-commit.sh", "bench-derived.sh"] {
        inputs = inputs.file(&lab.own("scripts").join(script))?;
    }
    let dir = lab.cache.artefact("bench-image", inputs, |dir| {
        eprintln!("making the image to pull; some minutes");
        make(tools, &root, dir)
    })?;
    Ok([BenchImage::at("gzip", dir.join("gzip"))?, BenchImage::at("zstd", dir.join("zstd"))?])
}

fn make(tools: &Tools<'_>, root: &Path, dir: &Path) -> Result<()> {
    let lab = tools.lab;
    let (tree, repo, gzip) = (dir.join("tree"), dir.join("repo"), dir.join("gzip"));
    cmd::run(cmd::words("bash", [lab.own("scripts/bench-tree.sh")]).args([root, &tree]))?;
    let mut commit = lab.script("bench-commit.sh", [tree.as_os_str(), repo.as_os_str(), BRANCH.as_ref()]);
    cmd::run(commit.arg(format!("--selinux-policy={}", tree.display())))?;
    remove(&tree)?;

    let mut list = lab.tool(["ostree", "ls", "-R", "-C", "--repo"]);
    let listing = cmd::stdout(list.arg(&repo).args([BRANCH, "/"]))?;
    let meta = regroup(chunks::content_meta(&listing, root)?, &repo)?;
    encapsulate(tools, &repo, BRANCH, &meta, &gzip)?;

    cmd::run(cmd::words("bash", [lab.own("scripts/bench-derived.sh")]).args([root, dir]))?;
    let read = |name: &str| fs::read(dir.join(name)).with_context(|| format!("reading {name}"));
    let layout = Layout::at(&gzip);
    add_layer(&layout, read("layer.tar")?, read("layer.tar.gz")?, "COPY layer /")?;
    let layers = layout.image()?.manifest["layers"].as_array().map_or(0, Vec::len);
    ensure!(layers >= MIN_LAYERS, "making the image: it has only {layers} layers");
    for name in ["layer.tar", "layer.tar.gz"] {
        fs::remove_file(dir.join(name)).with_context(|| format!("removing {name}"))?;
    }

    let mut copy = lab.tool(["skopeo", "--insecure-policy", "copy", "--quiet"]);
    copy.args(["--dest-compress", "--dest-compress-format", "zstd", "--dest-force-compress-format"]);
    cmd::run(copy.args([format!("oci:{}", gzip.display()), format!("oci:{}", dir.join("zstd").display())]))?;
    remove(&repo)
}

/// Have the reference tool make an image of a commit.
pub fn encapsulate(tools: &Tools<'_>, repo: &Path, branch: &str, meta: &Value, to: &Path) -> Result<()> {
    let path = tools.work().join("contentmeta.json");
    fs::write(&path, meta.to_string()).context("writing the content meta")?;
    let mut command = tools.lab.tool([&tools.peer]);
    command.args(["container", "encapsulate"]);
    command.arg(format!("--repo={}", repo.display())).arg(format!("--contentmeta={}", path.display()));
    cmd::run(command.arg(branch).arg(format!("oci:{}", to.display())))
}

/// Put the biggest chunks together until they are half of all bytes; split those that packages share.
fn regroup(mut meta: Value, repo: &Path) -> Result<Value> {
    let mapping = meta["mapping"].as_object_mut().context("reading the content meta")?;
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for (object, chunk) in mapping.iter() {
        let path = repo.join("objects").join(&object[..2]).join(format!("{}.file", &object[2..]));
        let size = fs::symlink_metadata(&path).with_context(|| format!("examining {}", path.display()))?.len();
        *sizes.entry(chunk.as_str().unwrap_or_default().to_owned()).or_default() += size;
    }
    let bulk = biggest_half(&sizes);
    let mut names = BTreeSet::new();
    for (object, chunk) in mapping.iter_mut() {
        let old = chunk.as_str().unwrap_or_default();
        let name = if bulk.contains(old) {
            BULK.to_owned()
        } else if old.starts_with("packages-") {
            format!("{old}-{}", usize::from(object.as_bytes()[0]) % SPLIT)
        } else {
            old.to_owned()
        };
        names.insert(name.clone());
        *chunk = name.into();
    }
    meta["layers"] =
        names.into_iter().map(|name| (name.clone(), Value::from(name))).collect::<serde_json::Map<_, _>>().into();
    Ok(meta)
}

fn biggest_half(sizes: &BTreeMap<String, u64>) -> BTreeSet<String> {
    let total: u64 = sizes.values().sum();
    let mut by_size: Vec<_> = sizes.iter().collect();
    by_size.sort_by_key(|(_, size)| std::cmp::Reverse(**size));
    let (mut sum, mut bulk) = (0, BTreeSet::new());
    for (name, size) in by_size {
        if sum + size <= total / 2 {
            sum += size;
            bulk.insert(name.clone());
        }
    }
    bulk
}

/// What the images are.
pub fn describe(images: &[BenchImage]) -> Result<()> {
    println!("\n| image | layers | compressed, MiB | largest layer, MiB |\n| --- | ---: | ---: | ---: |");
    for image in images {
        let manifest = Layout::at(&image.dir).image()?.manifest;
        let sizes: Vec<u64> =
            manifest["layers"].as_array().into_iter().flatten().filter_map(|layer| layer["size"].as_u64()).collect();
        let (sum, largest) = (sizes.iter().sum::<u64>(), sizes.iter().max().copied().unwrap_or_default());
        println!("| {} | {} | {} | {} |", image.name, sizes.len(), sum >> 20, largest >> 20);
    }
    Ok(())
}

/// A content meta that deals a repository's file objects out to so many chunks.
pub fn dealt_out(objects: impl Iterator<Item = String>, chunks: usize) -> Value {
    let name = |n: usize| format!("chunk-{n:03}");
    let mapping: serde_json::Map<_, _> =
        objects.enumerate().map(|(n, object)| (object, Value::from(name(n % chunks)))).collect();
    let layers: serde_json::Map<_, _> = (0..chunks).map(|n| (name(n), Value::from(name(n)))).collect();
    json!({ "version": 1, "layers": layers, "mapping": mapping })
}

#[cfg(test)]
mod tests {
    use super::{biggest_half, dealt_out};

    #[test]
    fn half_of_the_bytes() {
        let sizes = [("a", 50), ("b", 30), ("c", 15), ("d", 5)].map(|(name, size)| (name.to_owned(), size));
        let bulk = biggest_half(&sizes.into_iter().collect());
        assert_eq!(bulk.into_iter().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn objects_are_dealt_out() {
        let meta = dealt_out(["x", "y", "z"].map(str::to_owned).into_iter(), 2);
        assert_eq!(meta["mapping"]["z"], meta["mapping"]["x"]);
        assert_ne!(meta["mapping"]["y"], meta["mapping"]["x"]);
        assert_eq!(meta["layers"].as_object().map(serde_json::Map::len), Some(2));
    }
}
