// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images that are legal and as large as they can be in one respect. Memory must not follow.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::image::{BenchImage, dealt_out, encapsulate};
use super::layout::{Layer, Writer};
use super::measure::measure;
use super::place::{Filesystem, Place, clear};
use super::pulls::pull_command;
use super::report::{Bars, mib};
use super::tools::Tools;
use crate::lab::cache::{Inputs, remove};
use crate::lab::cmd;

/// Changes with the images below.
const VERSION: &str = "2";
const FILES: usize = 200_000;
const LAYERS: usize = 128;
/// The reference tool makes no more chunks.
const CHUNKS: usize = 63;
/// What Linux takes (`XATTR_SIZE_MAX`).
const XATTR: usize = 64 << 10;
/// The largest manifest that slipstream reads has 4 MiB; the rest of it is this small.
const ANNOTATIONS: usize = (4 << 20) - (32 << 10);

/// slipstream reads 20,000 items; the rest of the manifest has under 500.
const ITEMS: usize = 19_500;

/// Name, what it is, and where it is imported to.
const IMAGES: &[(&str, &str, Filesystem)] = &[
    ("file", "one file of 4 GiB", Filesystem::Tmpfs),
    ("files", "200,000 files in a derived layer", Filesystem::Tmpfs),
    ("objects", "200,000 files in 63 chunks", Filesystem::Tmpfs),
    ("layers", "128 derived layers", Filesystem::Tmpfs),
    ("xattr", "an xattr of 64 KiB", Filesystem::Xfs),
    ("text", "a manifest of 4 MiB: one long annotation", Filesystem::Tmpfs),
    ("keys", "a manifest of 4 MiB: 63 layers with as many annotations as may be", Filesystem::Tmpfs),
];

/// Pull each, and print the peak of memory.
pub fn run(tools: &Tools<'_>, bars: &mut Bars) -> Result<()> {
    println!(
        "\n| image | wall, s | CPU, s | peak RSS, MiB |\n\
         | --- | ---: | ---: | ---: |"
    );
    for (name, what, filesystem) in IMAGES {
        let dir = build(tools, name).with_context(|| format!("making the image with {what}"))?;
        let image = BenchImage::at("gzip", dir.join("image"))?;
        let place = Place::mount(tools, *filesystem)?;
        let repo = tools.init_repo(&place.dir, "ours")?;
        let (sample, _) = measure(tools, &place.dir, &pull_command(tools, &image, &repo))
            .with_context(|| format!("pulling the image with {what}"))?;
        println!("| {what} | {:.2} | {:.2} | {:.1} |", sample.wall, sample.cpu(), mib(sample.rss));
        bars.check_rss(what, sample.rss);
        clear(&repo)?;
        place.close()?;
    }
    Ok(())
}

fn build(tools: &Tools<'_>, name: &str) -> Result<PathBuf> {
    let inputs = Inputs::default().text(name).text(VERSION);
    tools.lab.cache.artefact(&format!("hostile-{name}"), inputs, |dir| {
        let image = dir.join("image");
        match name {
            "file" => one_layer(&image, |layer| {
                file(layer, "usr/lib/large", 4 << 30, Pattern::default());
            }),
            "files" => one_layer(&image, |layer| {
                for n in 0..FILES {
                    text(layer, &small_file(n), &format!("{n}\n"));
                }
            }),
            "objects" => chunked(tools, dir, &image),
            "layers" => many_layers(&image),
            "xattr" => one_layer(&image, |layer| {
                layer.xattr("user.large", &vec![b'x'; XATTR]);
                text(layer, "usr/lib/file", "x");
            }),
            "text" => {
                annotated(&image, 1, |_| [("a".to_owned(), "x".repeat(ANNOTATIONS).into())].into_iter().collect())
            }
            "keys" => annotated(&image, CHUNKS, |_| {
                let each = ITEMS / CHUNKS;
                // Quotes, colon and comma of `"key":"value",` make six bytes beside key and value.
                let value = "x".repeat(ANNOTATIONS / CHUNKS / each - 11);
                (0..each).map(|n| (format!("{n:x>5x}"), value.clone().into())).collect()
            }),
            other => bail!("there is no hostile image {other}"),
        }
    })
}

fn small_file(n: usize) -> String {
    format!("usr/share/files/{:03}/a-file-with-a-name-{n}", n % 1000)
}

/// Adds a file that is as old as those of a build.
fn file(layer: &mut Layer, path: &str, size: u64, content: impl Read) {
    layer.mtime(1).read_file(path, size, content);
}

fn text(layer: &mut Layer, path: &str, content: &str) {
    layer.mtime(1).file(path, content);
}

fn one_layer(dir: &Path, fill: impl FnOnce(&mut Layer)) -> Result<()> {
    let mut image = Writer::create(dir)?;
    image.layer(fill)?;
    image.finish()
}

fn many_layers(dir: &Path) -> Result<()> {
    let mut image = Writer::create(dir)?;
    for n in 0..LAYERS {
        image.layer(|layer| {
            let content = Pattern { state: n as u64 + 1, zeros: 0 };
            file(layer, &format!("usr/lib/large-{n}"), 4 << 20, content);
            for small in 0..100 {
                text(layer, &format!("usr/share/layer-{n}/{small}"), &format!("{n} {small}\n"));
            }
        })?;
    }
    image.finish()
}

fn annotated(dir: &Path, layers: usize, annotations: impl Fn(usize) -> Map<String, Value>) -> Result<()> {
    let mut image = Writer::create(dir)?;
    for n in 0..layers {
        image.layer(|layer| text(layer, "usr/lib/file", &n.to_string()))?;
        image.annotate(annotations(n))?;
    }
    image.finish()
}

/// The many files again, as an ostree commit in chunks.
fn chunked(tools: &Tools<'_>, dir: &Path, image: &Path) -> Result<()> {
    let (tree, repo) = (dir.join("tree"), dir.join("repo"));
    for n in 0..FILES {
        let path = tree.join(small_file(n));
        let parent = path.parent().context("finding the parent")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        fs::write(&path, format!("{n}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    let arguments = [tree.as_os_str(), repo.as_os_str(), "bench/many".as_ref()];
    cmd::run(tools.lab.script("bench-commit.sh", arguments).arg("--consume"))?;
    let mut objects = Vec::new();
    for prefix in fs::read_dir(repo.join("objects")).context("listing objects")? {
        let prefix = prefix.context("listing objects")?;
        for entry in fs::read_dir(prefix.path()).context("listing objects")? {
            let name = entry.context("listing objects")?.file_name().to_string_lossy().into_owned();
            if let Some(rest) = name.strip_suffix(".file") {
                objects.push(format!("{}{rest}", prefix.file_name().to_string_lossy()));
            }
        }
    }
    encapsulate(tools, &repo, "bench/many", &dealt_out(objects.into_iter(), CHUNKS), image)?;
    remove(&repo)
}

/// Blocks of 64 KiB, a sixteenth of them noise and the rest zeros: gzip makes little of it and not nothing.
struct Pattern {
    state: u64,
    zeros: usize,
}

impl Default for Pattern {
    fn default() -> Self {
        Self { state: 1, zeros: 60 << 10 }
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block = (4 << 10) + self.zeros;
        let n = buffer.len().min(block);
        buffer[..n].fill(0);
        for byte in buffer[..n].iter_mut().take(4 << 10) {
            // xorshift64: https://www.jstatsoft.org/v08/i14/
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *byte = self.state as u8;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::Pattern;

    #[test]
    fn the_pattern_has_noise_and_zeros() {
        let mut bytes = vec![1; 64 << 10];
        Pattern::default().read_exact(&mut bytes).expect("endless");
        assert!(bytes[..64].iter().any(|byte| *byte != bytes[0]));
        assert!(bytes[4 << 10..].iter().all(|byte| *byte == 0));
    }
}
