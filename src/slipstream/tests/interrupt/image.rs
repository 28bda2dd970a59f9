// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The image that is pulled, and the numbers that it is made of.

use std::path::Path;

use anyhow::Result;
use testkit::base::Base;
use testkit::blob::{Blob, Packing};
use testkit::layer::Layer;
use testkit::objects::{Object, dirtree};

/// Writes a base of three chunks that share objects, and two layers on it.
pub fn write_image(dir: &Path) -> Result<String> {
    let mut random = Random(42);
    let mut noise = |length: usize| -> Vec<u8> { (0..length).map(|_| random.below(64) as u8).collect() };
    let mut base = Base::default();
    let (mut files, mut names) = (Vec::new(), Vec::new());
    for chunk in 0..3 {
        let mut objects: Vec<_> = (0..60).map(|n| Object::file(&noise(n * 150))).collect();
        objects.extend([
            Object::file(&noise(400_000)),
            Object::symlink(&format!("to-{chunk}")),
            Object::file(b"in all"),
        ]);
        for (n, object) in objects.iter().enumerate() {
            names.push((format!("{chunk}-{n:03}"), object.checksum()));
        }
        base.chunks.push(objects);
    }
    files.extend(names.iter().map(|(name, checksum)| (name.as_str(), *checksum)));
    let tree = base.dirtree(&dirtree(&files, &[]));
    let root = base.below(tree, &["lib", "usr"]);
    let mut image = base.finish(root).image()?;
    for layer in 0..2 {
        let mut tar = Layer::new();
        tar.dir("usr/lib/more").file("usr/lib/.wh.0-001", "").symlink(&format!("usr/lib/link-{layer}"), "more");
        for n in 0..40 {
            let text: String = noise(n * 200).into_iter().map(|byte| char::from(b' ' + byte)).collect();
            tar.file(&format!("usr/lib/more/{layer}-{n}"), &text);
        }
        image.push(&Blob::new(tar.finish(), if layer == 0 { Packing::Gzip } else { Packing::Zstd }))?;
    }
    image.write(dir)
}

/// Xorshift: the same numbers for the same seed.
pub struct Random(pub u64);

impl Random {
    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
