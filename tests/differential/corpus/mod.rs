// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The corpus: small images of one purpose each, and what is expected of them.

pub mod base;
pub mod commit;
pub mod compare;
pub mod formats;
pub mod images;
pub mod layers;
pub mod metadata;
pub mod refused;
pub mod selinux;
pub mod tools;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use base::Base;
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::layout::Layout;
use tools::Tools;

/// What the two importers are expected to do with an image.
#[derive(Clone)]
pub enum Expect {
    /// Both import it; what they write is equal.
    Same,
    /// Both import it, with these differences and no other. Of trees: `merge` or
    /// `layer`, then `-` (the peer's) or `+` (ours) and the path. Of the merge commit:
    /// `metadata`, then the key and the place in its JSON.
    Differs { lines: &'static [&'static str], why: &'static str },
    /// Both refuse it.
    Refused,
    /// The peer as published refuses it; ours imports it and the merge tree has
    /// these lines of `ostree ls -R`.
    OursOnly { lines: &'static [&'static str], why: &'static str },
    /// The peer imports it, ours refuses.
    PeerOnly { why: &'static str },
}

/// One image.
pub struct Case {
    pub label: &'static str,
    base: Option<Base>,
    layers: Vec<Blob>,
    edit: Option<fn(&mut Image) -> Result<()>>,
    pub expect: Expect,
}

/// A case on a base; `Same` unless it says otherwise.
pub fn case(label: &'static str, base: Base) -> Case {
    Case { label, base: Some(base), layers: Vec::new(), edit: None, expect: Expect::Same }
}

/// A case with no ostree in it.
pub fn plain(label: &'static str) -> Case {
    Case { label, base: None, layers: Vec::new(), edit: None, expect: Expect::Same }
}

impl Case {
    /// Adds a gzip layer that `fill` writes.
    pub fn layer(self, fill: impl FnOnce(&mut Layer)) -> Self {
        self.packed(Packing::Gzip, fill)
    }

    pub fn packed(self, packing: Packing, fill: impl FnOnce(&mut Layer)) -> Self {
        let mut layer = Layer::new();
        fill(&mut layer);
        self.blob(Blob::new(layer.finish(), packing))
    }

    pub fn blob(mut self, blob: Blob) -> Self {
        self.layers.push(blob);
        self
    }

    /// Changes the image's metadata after all layers are in.
    pub fn edit(mut self, edit: fn(&mut Image) -> Result<()>) -> Self {
        self.edit = Some(edit);
        self
    }

    pub fn refused(mut self) -> Self {
        self.expect = Expect::Refused;
        self
    }

    pub fn differs(mut self, why: &'static str, lines: &'static [&'static str]) -> Self {
        self.expect = Expect::Differs { lines, why };
        self
    }

    pub fn ours_only(mut self, why: &'static str, lines: &'static [&'static str]) -> Self {
        self.expect = Expect::OursOnly { lines, why };
        self
    }

    pub fn peer_only(mut self, why: &'static str) -> Self {
        self.expect = Expect::PeerOnly { why };
        self
    }

    /// Writes the image's layout into `dir` and returns its digest.
    pub fn write(&self, tools: &Tools, dir: &Path) -> Result<String> {
        let mut image = match self.base {
            Some(base) => Image::load(&Layout::at(&base.layout(tools))).context("loading the base")?,
            None => Image::plain(),
        };
        for layer in &self.layers {
            image.push(layer)?;
        }
        if let Some(edit) = self.edit {
            edit(&mut image).context("editing the image")?;
        }
        image.write(dir)
    }
}

/// Builds the bases and returns every case.
pub fn cases(tools: &Tools) -> Result<Vec<Case>> {
    let mut objects = BTreeMap::new();
    for base in base::ALL {
        objects.insert(base, base.build(tools)?);
    }
    let mut cases = images::cases();
    cases.extend(layers::cases());
    cases.extend(layers::sysroot_cases(&objects[&Base::Composefs]));
    cases.extend(formats::cases());
    cases.extend(refused::cases());
    cases.extend(selinux::cases());
    Ok(cases)
}
