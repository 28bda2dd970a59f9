// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names of refs, as ostree-ext writes them (`refescape.rs`).

use contract::names::{Digest, ImageReference};

/// Below it: one ref per layer.
pub const LAYER_PREFIX: &str = "ostree/container/blob";
/// Below it: one ref per image, on its merge commit.
pub const IMAGE_PREFIX: &str = "ostree/container/image";
/// Below these are commits whose images must stay as well: deployments, rpm-ostree's bases, pinned bases.
pub const OTHER_ROOTS: [&str; 4] = ["ostree/0", "ostree/1", "rpmostree/base", "ostree/container/baseimage"];

/// The ref of a layer.
pub fn layer_ref(digest: &Digest) -> String {
    format!("{LAYER_PREFIX}/{}", escape(&digest.to_string()))
}

/// The ref of an image that came from a registry, whatever source its bytes had. The transport `registry` prints as
/// `docker://`.
pub fn image_ref(image: &ImageReference) -> String {
    format!("{IMAGE_PREFIX}/{}", escape(&format!("docker://{image}")))
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    let mut previous = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => out.push(c),
            '_' => out.push_str("__"),
            '/' if previous.is_some_and(|c: char| c.is_ascii_alphanumeric()) && rest.peek().is_some() => out.push('/'),
            other => out.push_str(&format!("_{:02X}_", u32::from(other))),
        }
        previous = Some(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_table() {
        for (text, expected) in [
            ("sha256:abcd", "sha256_3A_abcd"),
            ("docker://quay.io/example/node:latest", "docker_3A__2F__2F_quay_2E_io/example/node_3A_latest"),
            (
                "docker://quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:12",
                "docker_3A__2F__2F_quay_2E_io/openshift-release-dev/ocp-v4_2E_0-art-dev_40_sha256_3A_12",
            ),
            ("oci:/srv/img/base", "oci_3A__2F_srv/img/base"),
            ("docker://localhost:5000/a_b/c-d:v1.2", "docker_3A__2F__2F_localhost_3A_5000/a__b/c-d_3A_v1_2E_2"),
            ("a-/b", "a-_2F_b"),
            ("a/", "a_2F_"),
            ("é", "_E9_"),
        ] {
            assert_eq!(escape(text), expected, "{text}");
        }
    }
}
