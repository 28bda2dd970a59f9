// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Everything that the tests boot, built in the order in which one thing needs another.

use std::path::PathBuf;
use std::thread;

use anyhow::{Result, anyhow};

use super::disk;
use super::node::{self, NodeImage};
use super::trees::{self, Flavour, Role, Tree};
use crate::lab::Lab;
use crate::lab::kernels;

/// The images of one state of the source.
pub struct Images<'a> {
    /// Where they are.
    pub lab: &'a Lab,
    /// What is deployed on the disks.
    pub bootimage: Tree,
    /// What slipstream is to boot.
    pub node: NodeImage,
    /// Whether the newest node image there is will do.
    pub keep_node_image: bool,
}

impl<'a> Images<'a> {
    /// Builds what is missing of the plain images.
    pub fn build(lab: &'a Lab, keep_node_image: bool) -> Result<Self> {
        Self::build_flavour(lab, Flavour::Plain, keep_node_image)
    }

    /// Builds what is missing of these images.
    pub fn build_flavour(lab: &'a Lab, flavour: Flavour, keep_node_image: bool) -> Result<Self> {
        let slipstream = trees::slipstream(lab)?;
        // Both trees start from the same things.
        kernels::both(lab)?;
        trees::root_of(lab, flavour, Role::Node)?;
        let kept = if keep_node_image { NodeImage::newest(lab, flavour)? } else { None };
        let build_node = || -> Result<NodeImage> {
            match kept {
                Some(node) => Ok(node),
                None => node::build(lab, &trees::tree_of(lab, flavour, Role::Node, &slipstream)?),
            }
        };
        // Making an initramfs keeps one core busy: the two trees are made side by side.
        thread::scope(|scope| {
            let node = scope.spawn(build_node);
            let bootimage = trees::tree_of(lab, flavour, Role::Bootimage, &slipstream)?;
            let node = node.join().map_err(|_| anyhow!("building the node image: the thread panicked"))??;
            Ok(Self { lab, bootimage, node, keep_node_image })
        })
    }

    /// Builds what is missing of an older bootimage for these node images; `None` if the programs of this build do not run there:
    /// the C library of the machine that built them is newer.
    pub fn older(&self) -> Result<Option<Images<'a>>> {
        let slipstream = trees::slipstream(self.lab)?;
        if !trees::runs_in(&trees::root_of(self.lab, Flavour::Older, Role::Bootimage)?, &slipstream)? {
            return Ok(None);
        }
        let bootimage = trees::tree_of(self.lab, Flavour::Older, Role::Bootimage, &slipstream)?;
        let (node, keep_node_image) = (self.node.clone(), self.keep_node_image);
        Ok(Some(Images { lab: self.lab, bootimage, node, keep_node_image }))
    }

    /// Returns a pristine disk with the bootimage, its root on this file system. It must not be written to.
    pub fn disk(&self, fstype: &str) -> Result<PathBuf> {
        disk::deployed(self.lab, &self.bootimage, fstype)
    }
}
