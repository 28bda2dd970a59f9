// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image, and what is expected of it.

use std::path::Path;

use anyhow::{Context, Result};
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;

use super::base::Base;
use crate::lab::Lab;

/// The ending that is expected of each of the two importers.
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

/// Makes a layer.
type Make = Box<dyn FnOnce() -> Blob + Send>;

/// One image.
pub struct Case {
    /// Its name as a test.
    pub name: &'static str,
    base: Option<Base>,
    layers: Vec<Make>,
    edit: Option<fn(&mut Image) -> Result<()>>,
    pub expect: Expect,
}

/// Makes a case on a base; `Same` unless it says otherwise.
pub(super) fn case(name: &'static str, base: Base) -> Case {
    Case { base: Some(base), ..plain(name) }
}

/// Makes a case with no ostree in it.
pub(super) fn plain(name: &'static str) -> Case {
    Case { name, base: None, layers: Vec::new(), edit: None, expect: Expect::Same }
}

impl Case {
    /// Adds a gzip layer that `fill` writes.
    pub(super) fn layer(self, fill: impl FnOnce(&mut Layer) + Send + 'static) -> Self {
        self.packed(Packing::Gzip, fill)
    }

    pub(super) fn packed(mut self, packing: Packing, fill: impl FnOnce(&mut Layer) + Send + 'static) -> Self {
        self.layers.push(Box::new(move || Blob::of(packing, fill)));
        self
    }

    pub(super) fn blob(mut self, blob: Blob) -> Self {
        self.layers.push(Box::new(|| blob));
        self
    }

    /// Changes the image's metadata after all layers are in.
    pub(super) fn edit(mut self, edit: fn(&mut Image) -> Result<()>) -> Self {
        self.edit = Some(edit);
        self
    }

    pub(super) fn refused(mut self) -> Self {
        self.expect = Expect::Refused;
        self
    }

    pub(super) fn differs(mut self, why: &'static str, lines: &'static [&'static str]) -> Self {
        self.expect = Expect::Differs { lines, why };
        self
    }

    pub(super) fn ours_only(mut self, why: &'static str, lines: &'static [&'static str]) -> Self {
        self.expect = Expect::OursOnly { lines, why };
        self
    }

    pub(super) fn peer_only(mut self, why: &'static str) -> Self {
        self.expect = Expect::PeerOnly { why };
        self
    }

    /// Writes the image's layout into `dir` and returns its digest.
    pub fn write(self, lab: &Lab, dir: &Path) -> Result<String> {
        let mut image = match self.base {
            Some(base) => Image::load(&lab.base(base)?).context("loading the base")?,
            None => Image::plain(),
        };
        for make in self.layers {
            image.push(&make())?;
        }
        if let Some(edit) = self.edit {
            edit(&mut image).context("editing the image")?;
        }
        image.write(dir)
    }
}
