// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a guest of these images is to do, and what it is asked for.

use std::path::PathBuf;

use anyhow::Result;

use super::set::Images;
use super::trees::Role;
use crate::lab::guest::Job;
use crate::lab::peer;

/// Returns the request for the node image, staged like this, for a first boot.
pub fn request(images: &Images<'_>, source: &str) -> String {
    format!("ignition.firstboot slipstream.image={} slipstream.source={source}", images.node.reference)
}

/// Returns a job of these scripts, with what they compare with.
pub fn job(images: &Images<'_>, scripts: &[&str], mark: &str, more: &[(&str, &str)]) -> Result<Job> {
    let node = &images.node;
    let known = [
        ("NODE_IMAGE", node.reference.as_str()),
        ("NODE_KERNEL", &node.kernel),
        ("NODE_VERSION", Role::Node.version()),
        ("BOOT_KERNEL", &images.bootimage.kernel),
        ("BOOT_VERSION", Role::Bootimage.version()),
    ];
    let environment = known.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let programs: Vec<PathBuf> = if scripts.iter().any(|script| script.contains("operations")) {
        vec![peer::binary(images.lab)?]
    } else {
        vec![]
    };
    Ok(Job {
        scripts: scripts.iter().map(|script| (*script).to_owned()).collect(),
        mark: mark.to_owned(),
        environment,
        programs,
    })
}
