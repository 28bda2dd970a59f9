// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The name of a staging device, as fstab has it.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};

/// `LABEL=x`, `UUID=x`, `PARTLABEL=x`, `PARTUUID=x` or a path below /dev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    text: String,
    node: PathBuf,
}

impl Device {
    /// Parse the name of a device.
    pub fn parse(text: &str) -> Result<Self> {
        let by = |directory: &str, value: &str| -> Result<PathBuf> {
            let plain = !value.is_empty() && !value.contains('/') && !matches!(value, "." | "..");
            ensure!(plain, "device {text:?} has a bad value");
            Ok(Path::new("/dev/disk").join(directory).join(encode(value)))
        };
        let node = if let Some(value) = text.strip_prefix("LABEL=") {
            by("by-label", value)?
        } else if let Some(value) = text.strip_prefix("UUID=") {
            by("by-uuid", value)?
        } else if let Some(value) = text.strip_prefix("PARTLABEL=") {
            by("by-partlabel", value)?
        } else if let Some(value) = text.strip_prefix("PARTUUID=") {
            by("by-partuuid", value)?
        } else {
            let path = PathBuf::from(text);
            let plain = path.starts_with("/dev") && !path.components().any(|part| part == Component::ParentDir);
            ensure!(plain, "device {text:?} is neither LABEL=, UUID=, PARTLABEL=, PARTUUID= nor a path below /dev");
            path
        };
        Ok(Self { text: text.to_owned(), node })
    }

    /// Returns the path of the device's node, which need not exist yet.
    pub fn node(&self) -> &Path {
        &self.node
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Encode a label as udev does in the names of its links: what is not in its allow-list becomes `\xNN`.
fn encode(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{:02x}", u32::from(c)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_device_nodes() {
        for (text, node) in [
            ("LABEL=nodeimage", "/dev/disk/by-label/nodeimage"),
            ("LABEL=node image", "/dev/disk/by-label/node\\x20image"),
            ("UUID=8E1C-12AB", "/dev/disk/by-uuid/8E1C-12AB"),
            ("PARTLABEL=node", "/dev/disk/by-partlabel/node"),
            ("/dev/vdb", "/dev/vdb"),
        ] {
            assert_eq!(Device::parse(text).unwrap().node, Path::new(node), "{text}");
        }
    }
}
