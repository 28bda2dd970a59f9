// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The origin of a deployment: which image it is of.
//!
//! Tested by `src/slipstream/tests/boot/agreement.rs`.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use contract::names::ImageReference;
use contract::places::{DeploymentPath, PhysicalRoot};

/// What rpm-ostree and the MCO write before the pullspec: from a registry, by the policy of containers-policy.json(5).
const ORIGIN_SCHEME: &str = "ostree-unverified-registry:";
/// The key in the file.
const KEY: &str = "container-image-reference=";

/// Returns the text that a deployment of `image` has as its origin.
pub fn origin(image: &ImageReference) -> String {
    format!("{ORIGIN_SCHEME}{image}")
}

/// Returns the origin of a deployment, read from its file without libostree; `None` if it has none,
/// or is of no image.
pub fn origin_of(root: &PhysicalRoot, deployment: &DeploymentPath) -> Result<Option<String>> {
    let path = root.path().join(deployment.origin());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let value = text.lines().find_map(|line| line.strip_prefix(KEY));
    Ok(value.map(|value| value.trim().to_owned()))
}

/// Returns whether an origin names `image`. Scheme and transport do not matter, as for the MCO.
pub fn is_of_image(origin: &str, image: &ImageReference) -> bool {
    origin.strip_suffix(image.as_str()).is_some_and(|scheme| scheme.ends_with(':') || scheme.ends_with("://"))
}
