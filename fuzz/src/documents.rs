// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Manifest, index, config, and the name of an image.

use contract::names::{Digest, ImageReference};
use image::oci::{Document, ImageConfig, ImageLayers, find_signatures, parse_document, parse_signatures};
use repo::refs;

/// A manifest or index, perhaps of signatures, and behind a NUL a config.
pub fn manifest_config(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0);
    let (document, config) = at.map_or((data, data), |at| (&data[..at], &data[at + 1..]));
    if let Ok(signatures) = parse_signatures(document) {
        assert!(signatures.iter().all(|layer| layer.descriptor.size <= 64 << 10) && signatures.len() <= 32);
    }
    drop(find_signatures(document, Digest::of(b"")));
    let config = ImageConfig::parse(config).ok();
    if let Some(config) = &config {
        let text = config.canonical_json();
        let again = ImageConfig::parse(text.as_bytes()).expect("canonical JSON can be read again");
        assert_eq!(text, again.canonical_json());
        drop((config.final_diff_id(), config.ensure_bootable(), config.architecture(), config.kernel(), config.version()));
    }
    let Ok(Document::Manifest(manifest)) = parse_document(document, Digest::of(document), "amd64") else { return };
    let text = manifest.canonical_json();
    match parse_document(text.as_bytes(), manifest.digest, "amd64") {
        Ok(Document::Manifest(again)) => assert_eq!(text, again.canonical_json()),
        other => panic!("canonical JSON reads as {other:?}"),
    }
    if let Some(layers) = config.and_then(|config| ImageLayers::of(&manifest, &config).ok()) {
        assert_eq!(layers.all().count(), manifest.layers.len());
    }
}

/// A pullspec, and the ref of it.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(image) = ImageReference::parse(text) else { return };
    assert_eq!(image.as_str(), text);
    let name = refs::image_ref(&image);
    let tail = name.strip_prefix(refs::IMAGE_PREFIX).and_then(|tail| tail.strip_prefix('/')).expect("the prefix");
    // As rpm-ostree and bootc get the name of the image back.
    assert_eq!(unescape(tail), format!("docker://{text}"));
    // A part that is too long for a file's name is refused before the import, by its plan.
    assert!(tail.split('/').all(|part| !part.is_empty()), "{name} is no name of files");
    assert!(tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte)), "{name}");
}

/// The inverse of the escaping, written apart from it.
fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let end = tail.find('_').expect("an escape has an end");
        match &tail[..end] {
            "" => out.push('_'),
            hex => out.push(char::from_u32(u32::from_str_radix(hex, 16).expect("hex")).expect("a character")),
        }
        rest = &tail[end + 1..];
    }
    out + rest
}
