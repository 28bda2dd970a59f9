// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Libraries that inflate gzip, on the largest layers.

use anyhow::{Context, Result};
use testkit::layout::Layout;

use super::image::BenchImage;
use crate::lab::Lab;
use crate::lab::cmd;

/// How many layers.
const LAYERS: usize = 3;
/// flate2 has one backend in a program: three programs.
const PROGRAMS: [&str; 3] = ["zlib-rs,libdeflate,isal", "zlib-ng", "zlib"];

/// Print a table for the first image.
pub fn run(lab: &Lab, images: &[BenchImage]) -> Result<()> {
    let image = images.first().context("no image")?;
    let layout = Layout::at(&image.dir);
    let manifest = layout.image()?.manifest;
    let mut layers: Vec<(u64, &str)> = manifest["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|layer| Some((layer["size"].as_u64()?, layer["digest"].as_str()?)))
        .collect();
    layers.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    layers.truncate(LAYERS);
    print!("\n| library |");
    for (size, _) in &layers {
        print!(" layer of {} MiB, MB/s |", size >> 20);
    }
    println!(" program, KiB |\n| --- |{}", " ---: |".repeat(layers.len() + 1));
    for features in PROGRAMS {
        let target = lab.source.join("target/inflate");
        let mut build = cmd::words("cargo", ["build", "--release", "--locked", "--features", features]);
        build.arg("--manifest-path").arg(lab.own("bench-inflate/Cargo.toml")).arg("--target-dir").arg(&target);
        cmd::run(&mut build).context("building bench-inflate: it needs cmake, nasm, autoconf, automake and libtool")?;
        let program = target.join("release/bench-inflate");
        let size = program.metadata().with_context(|| format!("examining {}", program.display()))?.len() >> 10;
        let blobs = layers.iter().map(|(_, digest)| layout.blob(digest));
        let rows = cmd::stdout(&mut cmd::words(&program.to_string_lossy(), blobs))?;
        for row in rows.lines() {
            println!("| {} | {size} |", row.replace('\t', " | "));
        }
    }
    Ok(())
}
