// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures that skopeo 1.18.0 has made, of an index and of the manifest in it: `skopeo/skopeo.gen.sh`.

use contract::base64;
use contract::names::{Digest, ImageReference};
use image::oci::AttachedSignature;
use serde_json::Value;
use signature::{Decision, decide, verify};

use crate::kit::{NAME, policy, signed};

const KEY: &[u8] = include_bytes!("skopeo/key.pub");
const INDEX: &[u8] = include_bytes!("skopeo/index.json");
const INSTANCE: &[u8] = include_bytes!("skopeo/instance.json");

/// Reads a signature as skopeo writes it into a directory.
fn read(text: &str) -> AttachedSignature {
    let value: Value = serde_json::from_str(text).unwrap();
    AttachedSignature {
        payload: base64::decode(value["payload"].as_str().unwrap()).unwrap(),
        signature: value["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap().to_owned(),
        ..AttachedSignature::default()
    }
}

#[test]
fn signatures_by_skopeo_meet_the_policy() {
    let (index, instance) = (Digest::of(INDEX), Digest::of(INSTANCE));
    let of_index = read(include_str!("skopeo/index.signature.json"));
    let of_instance = read(include_str!("skopeo/instance.signature.json"));
    let key = base64::encode(KEY);
    let plain = signed(&format!(r#""keyData": "{key}""#));
    let remap = r#"{"type": "remapIdentity", "prefix": "quay.io/mine", "signedPrefix": "quay.io/os"}"#;
    let remapped = signed(&format!(r#""keyData": "{key}", "signedIdentity": {remap}"#));
    let exact = |kind: &str, name: &str| {
        signed(&format!(
            r#""keyData": "{key}", "signedIdentity": {{"type": "{kind}", "docker{}": "{name}"}}"#,
            &kind[5..]
        ))
    };
    for (label, requirement, name, digests, signature, expected) in [
        ("index", &plain, NAME, vec![index, instance], &of_index, Some(index)),
        ("instance", &plain, NAME, vec![index, instance], &of_instance, Some(instance)),
        ("an image without an index", &plain, NAME, vec![instance], &of_instance, Some(instance)),
        ("the index is not asked for", &plain, NAME, vec![instance], &of_index, None),
        ("another image", &plain, NAME, vec![Digest::of(b"other")], &of_index, None),
        ("another repository", &plain, "quay.io/os/other", vec![index], &of_index, None),
        ("remapped", &remapped, "quay.io/mine/node", vec![index], &of_index, Some(index)),
        ("exact reference", &exact("exactReference", &format!("{NAME}:v1")), NAME, vec![index], &of_index, Some(index)),
        ("other reference", &exact("exactReference", &format!("{NAME}:v2")), NAME, vec![index], &of_index, None),
        ("exact repository", &exact("exactRepository", NAME), "quay.io/any/name", vec![index], &of_index, Some(index)),
    ] {
        let image = ImageReference::parse(&format!("{name}@{}", digests[0])).unwrap();
        let Decision::NeedsSignatures(needed) = decide(Some(&policy(requirement)), &image) else { panic!("{label}") };
        let got = verify(&needed, &image, &digests, std::slice::from_ref(signature));
        assert_eq!(got.as_ref().ok().map(|met| met[0].digest), expected, "{label}: {got:?}");
    }
}
