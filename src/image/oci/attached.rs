// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures that are attached to an image in its repository, as sigstore's tools and skopeo do it.
//!
//! The signatures of an image are a manifest of their own, which has a tag that follows from the image's digest. Each
//! of its layers is what was signed, and the layer's annotations have the signature. Nothing is verified here: a manifest
//! by tag is whatever the registry says.

use anyhow::{Context, Result, bail, ensure};
use contract::names::Digest;
use contract::shape::{self, Shape};
use serde_json::Value;

use crate::oci::manifest::{DOCUMENT, OCI_MANIFEST};
use crate::oci::{Descriptor, MAX_JSON_SIZE};

/// The media type of a layer that is what was signed. Other layers (attestations, say) are for others.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotations of such a layer.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const BUNDLE: &str = "dev.sigstore.cosign/bundle";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
/// The annotation that names an image in the index of a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Most signatures of an image. Each one costs a request and a verification; images have one or two.
const MAX_SIGNATURES: usize = 32;
/// Largest payload, in bytes. It names an image and has a few annotations: some 300 bytes.
const MAX_PAYLOAD: u64 = 64 << 10;
/// Most bytes of all payloads of an image.
const MAX_PAYLOADS: u64 = 1 << 20;
/// How much of a text that is not what it should be goes into an error, in characters.
const SHOWN: usize = 100;

/// The index of a layout, as far as it names images.
const LAYOUT_INDEX: Shape = Shape::Object(&[("manifests", Shape::List(&NAMED), false)]);
const NAMED: Shape = Shape::Object(&[
    ("mediaType", Shape::Text, true),
    ("digest", Shape::Text, true),
    ("size", Shape::Count, true),
    ("annotations", Shape::Texts, false),
]);

/// A signature as it was found, not verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachedSignature {
    /// The signed bytes: the blob of a layer of the signature's manifest.
    pub payload: Vec<u8>,
    /// Annotation `dev.cosignproject.cosign/signature`: base64.
    pub signature: String,
    /// Annotation `dev.sigstore.cosign/bundle`: Rekor's signed entry timestamp, JSON.
    pub bundle: Option<String>,
    /// Annotation `dev.sigstore.cosign/certificate`: PEM.
    pub certificate: Option<String>,
    /// Annotation `dev.sigstore.cosign/chain`: PEM, the leaf's issuer first.
    pub chain: Option<String>,
    /// Where it was found, for the account.
    pub endpoint: String,
}

/// A signature whose payload is not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLayer {
    /// The blob that was signed.
    pub descriptor: Descriptor,
    /// What the annotations have.
    unread: AttachedSignature,
}

impl SignatureLayer {
    /// Returns the signature with its payload, and with the place that it is from.
    pub fn with_payload(self, payload: Vec<u8>, endpoint: &str) -> AttachedSignature {
        AttachedSignature { payload, endpoint: endpoint.to_owned(), ..self.unread }
    }

    /// Reads a layer; `None`: it is not a signature.
    fn read(layer: &Value) -> Result<Option<Self>> {
        if layer.get("mediaType").and_then(Value::as_str) != Some(PAYLOAD) {
            return Ok(None);
        }
        let annotation = |key: &str| Some(layer.get("annotations")?.get(key)?.as_str()?.to_owned());
        let Some(signature) = annotation(SIGNATURE) else { return Ok(None) };
        let unread = AttachedSignature {
            signature,
            bundle: annotation(BUNDLE),
            certificate: annotation(CERTIFICATE),
            chain: annotation(CHAIN),
            ..AttachedSignature::default()
        };
        Ok(Some(Self { descriptor: Descriptor::read(layer)?, unread }))
    }
}

/// Returns the tag at which a repository has the signatures of what has this digest. In a layout it is the name.
pub fn signature_tag(digest: Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// Parses the manifest that has this tag.
pub fn parse_signatures(bytes: &[u8]) -> Result<Vec<SignatureLayer>> {
    let document = shape::parse(bytes, DOCUMENT, "signature manifest")?;
    // OCI made the field optional, Docker did not.
    check_media_type(document.get("mediaType").and_then(Value::as_str).unwrap_or(OCI_MANIFEST))?;
    ensure!(
        document.get("schemaVersion").is_some_and(|version| *version == 2),
        "signature manifest has no schemaVersion 2"
    );
    ensure!(document.get("manifests").is_none(), "signature manifest has manifests");
    let layers = document.get("layers").and_then(Value::as_array).context("signature manifest has no layers")?;
    let read = |(n, layer)| {
        SignatureLayer::read(layer).with_context(|| format!("reading layers[{n}] of a signature manifest")).transpose()
    };
    let found = layers.iter().enumerate().filter_map(read).collect::<Result<Vec<_>>>()?;
    check_limits(&found)?;
    Ok(found)
}

/// Finds the manifest with the signatures of `digest` in the index of a layout, which is not verified. That is where
/// `skopeo copy docker://REPO:TAG oci:DIR:TAG` leaves it.
pub fn find_signatures(index: &[u8], digest: Digest) -> Result<Option<Descriptor>> {
    let index = shape::parse(index, LAYOUT_INDEX, "index.json")?;
    let tag = signature_tag(digest);
    let is_wanted = |entry: &&Value| {
        entry.get("annotations").and_then(|all| all.get(REF_NAME)).and_then(Value::as_str) == Some(tag.as_str())
    };
    let mut entries = index.get("manifests").and_then(Value::as_array).into_iter().flatten();
    let Some(entry) = entries.find(is_wanted) else { return Ok(None) };
    let descriptor = Descriptor::read(entry).with_context(|| format!("reading {tag} in index.json"))?;
    check_media_type(&descriptor.media_type)?;
    let size = descriptor.size;
    ensure!(size <= MAX_JSON_SIZE, "signature manifest of {size} bytes is over the limit of {MAX_JSON_SIZE}");
    Ok(Some(descriptor))
}

fn check_media_type(media_type: &str) -> Result<()> {
    if media_type != OCI_MANIFEST {
        let shown: String = media_type.chars().take(SHOWN).collect();
        bail!("signature manifest has media type {shown:?}, not {OCI_MANIFEST}");
    }
    Ok(())
}

fn check_limits(found: &[SignatureLayer]) -> Result<()> {
    let count = found.len();
    ensure!(count <= MAX_SIGNATURES, "signature manifest has {count} signatures, the limit is {MAX_SIGNATURES}");
    if let Some(Descriptor { digest, size, .. }) =
        found.iter().map(|layer| &layer.descriptor).find(|descriptor| descriptor.size > MAX_PAYLOAD)
    {
        bail!("signature payload {digest} of {size} bytes is over the limit of {MAX_PAYLOAD}");
    }
    let all: u64 = found.iter().map(|layer| layer.descriptor.size).sum();
    ensure!(all <= MAX_PAYLOADS, "signature payloads have {all} bytes together, the limit is {MAX_PAYLOADS}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layer(media_type: &str, size: u64, annotations: &Value) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"payload").to_string(), "size": size,
            "annotations": annotations})
    }

    fn signed(size: u64) -> Value {
        layer(PAYLOAD, size, &json!({SIGNATURE: "c2ln"}))
    }

    fn manifest(layers: &[Value]) -> Value {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": layers,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(b"config").to_string(), "size": 6}})
    }

    /// A manifest with another value in one field.
    fn with(field: &str, value: Value) -> Vec<u8> {
        let mut manifest = manifest(&[signed(7)]);
        manifest[field] = value;
        manifest.to_string().into_bytes()
    }

    #[test]
    fn reads_payloads_and_their_annotations() {
        let all = json!({SIGNATURE: "c2ln", BUNDLE: "{}", CERTIFICATE: "leaf", CHAIN: "ca", "other": "x"});
        let layers = [
            layer("application/vnd.dsse.envelope.v1+json", 1 << 30, &all),
            layer(PAYLOAD, 7, &all),
            layer(PAYLOAD, 7, &json!({"other": "x"})),
            signed(8),
        ];
        let text = manifest(&layers).to_string();
        let found = parse_signatures(text.as_bytes()).unwrap();
        let sizes: Vec<_> = found.iter().map(|layer| layer.descriptor.size).collect();
        assert_eq!(sizes, [7, 8], "attestations and payloads without a signature are left out");
        let mut found = found.into_iter().map(|layer| layer.with_payload(b"payload".to_vec(), "a.example/b"));
        let text = |text: &str| Some(text.to_owned());
        let full = AttachedSignature {
            payload: b"payload".to_vec(),
            signature: "c2ln".to_owned(),
            bundle: text("{}"),
            certificate: text("leaf"),
            chain: text("ca"),
            endpoint: "a.example/b".to_owned(),
        };
        assert_eq!(found.next(), Some(full.clone()));
        assert_eq!(found.next(), Some(AttachedSignature { bundle: None, certificate: None, chain: None, ..full }));
    }

    #[test]
    fn counts_what_is_acceptable() {
        for (label, document, expected) in [
            ("no layers", manifest(&[]), 0),
            ("no media type", json!({"schemaVersion": 2, "layers": [signed(7)]}), 1),
            ("no annotations", with_layer(&json!(null)), 0),
            ("annotation is null", with_layer(&json!({SIGNATURE: null})), 0),
            ("as many as there may be", manifest(&vec![signed(7); 32]), 32),
            ("the largest payload", manifest(&[signed(64 << 10)]), 1),
            ("as much as there may be", manifest(&vec![signed(64 << 10); 16]), 16),
            ("other layers", manifest(&vec![layer("text/plain", 1 << 40, &json!({})); 1000]), 0),
            ("a long annotation", with_layer(&json!({SIGNATURE: "a".repeat(3 << 20)})), 1),
        ] {
            let found = parse_signatures(document.to_string().as_bytes()).map(|found| found.len());
            assert_eq!(found.ok(), Some(expected), "{label}");
        }
    }

    fn with_layer(annotations: &Value) -> Value {
        manifest(&[layer(PAYLOAD, 7, annotations)])
    }

    #[test]
    fn refuses_what_is_not_a_signature_manifest() {
        let edited = |field: &str, value: Value| {
            let mut layer = signed(7);
            layer[field] = value;
            manifest(&[layer]).to_string().into_bytes()
        };
        let twice = format!("{{{SIGNATURE:?}: \"a\", {SIGNATURE:?}: \"b\"}}");
        let twice = with_layer(&json!("HERE")).to_string().replace("\"HERE\"", &twice).into_bytes();
        let many = |count, size| manifest(&vec![signed(size); count]).to_string().into_bytes();
        let docker = json!("application/vnd.docker.distribution.manifest.v2+json");
        let index = json!("application/vnd.oci.image.index.v1+json");
        for (label, bytes, expected) in [
            ("not JSON", b"<html>".to_vec(), "parsing signature manifest"),
            ("empty", Vec::new(), "EOF while parsing"),
            ("list", b"[]".to_vec(), "expected signature manifest to be a map"),
            ("Docker's", with("mediaType", docker), "has media type \"application/vnd.docker"),
            ("index", with("mediaType", index), "has media type \"application/vnd.oci.image.index"),
            ("huge media type", with("mediaType", json!("x".repeat(1 << 20))), "xx\", not application/vnd.oci"),
            ("schema 1", with("schemaVersion", json!(1)), "has no schemaVersion 2"),
            ("no schema", with("schemaVersion", json!(null)), "has no schemaVersion 2"),
            ("no layers", with("layers", json!(null)), "has no layers"),
            ("layers no list", with("layers", json!({"a": 1})), "expected layers to be a list"),
            ("both", with("manifests", json!([])), "signature manifest has manifests"),
            ("no size", edited("size", json!(null)), "has no size"),
            ("negative size", edited("size", json!(-1)), "expected size to be a count"),
            ("sha512", edited("digest", json!("sha512:00")), "reading layers[0] of a signature manifest: digest"),
            ("path", edited("digest", json!("sha256:../x")), "hex digits instead of 64"),
            ("annotations no map", edited("annotations", json!("x")), "expected annotations to be a map"),
            ("annotation no text", edited("annotations", json!({SIGNATURE: 1})), "to be a string"),
            ("duplicate key", twice, "has the field \"dev.cosignproject.cosign/signature\" twice"),
            ("too many", many(33, 7), "signature manifest has 33 signatures, the limit is 32"),
            ("far too many", many(5000, 7), "signature manifest has more than 20000 items"),
            ("large payload", many(1, (64 << 10) + 1), "of 65537 bytes is over the limit of 65536"),
            ("large payloads", many(17, 64 << 10), "have 1114112 bytes together, the limit is 1048576"),
            ("huge payload", many(1, u64::MAX), "size is not a number up to"),
        ] {
            let error = format!("{:#}", parse_signatures(&bytes).expect_err(label));
            assert!(error.contains(expected), "{label}: {error}");
            assert!(error.len() < 500, "{label}: an error of {} bytes", error.len());
        }
    }

    #[test]
    fn finds_the_entry_of_a_layout() {
        let (image, other) = (Digest::of(b"image"), Digest::of(b"other"));
        let entry = |name: &str, media_type: &str, size: u64| {
            json!({"mediaType": media_type, "digest": Digest::of(name.as_bytes()).to_string(), "size": size,
                "annotations": {REF_NAME: name}})
        };
        let tag = signature_tag(image);
        assert_eq!(tag, format!("sha256-{}.sig", image.hex()));
        let sound = [entry("latest", OCI_MANIFEST, 5), entry(&tag, OCI_MANIFEST, 6), entry(&tag, OCI_MANIFEST, 7)];
        let index = |entries: &[Value]| json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let find = |text: &str, digest| find_signatures(text.as_bytes(), digest);
        let found = find(&index(&sound), image).unwrap().map(|descriptor| descriptor.size);
        assert_eq!(found, Some(6), "the first one, as skopeo has it");
        assert_eq!(find(&index(&sound), other).unwrap(), None);
        let bare = json!({"mediaType": "x", "digest": "sha512:00", "size": 1});
        for (label, text) in [("no images", index(&[])), ("null", "{}".to_owned()), ("no names", index(&[bare]))] {
            assert_eq!(find(&text, image).unwrap(), None, "{label}");
        }
        for (label, text, expected) in [
            ("type", index(&[entry(&tag, "text/html", 5)]), "has media type \"text/html\""),
            ("large", index(&[entry(&tag, OCI_MANIFEST, 5 << 20)]), "of 5242880 bytes is over the limit of 4194304"),
            ("not JSON", "{".to_owned(), "parsing index.json"),
            ("list", "[]".to_owned(), "expected index.json to be a map"),
        ] {
            let error = format!("{:#}", find(&text, image).expect_err(label));
            assert!(error.contains(expected), "{label}: {error}");
        }
    }
}
