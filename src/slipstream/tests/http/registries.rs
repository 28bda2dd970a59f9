// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configuration of registries.

/// The places of images.
pub const REGISTRIES: &str = "etc/containers/registries.conf";
/// The credentials.
pub const AUTH: &str = "etc/ostree/auth.json";

/// Configures a registry at the last of these locations, with the others as mirrors.
pub fn registries(locations: &[String]) -> String {
    let mut text = "[[registry]]\nprefix = \"registry.example/os/node\"\n".to_owned();
    let Some((location, mirrors)) = locations.split_last() else { return text };
    text += &format!("location = \"{location}\"\ninsecure = true\n");
    for mirror in mirrors {
        text += &format!("[[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = true\n");
    }
    text
}
