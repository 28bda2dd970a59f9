// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the cases share: keys, payloads, signatures, and a machine with a policy.

use std::path::Path;

use contract::base64;
use contract::files::RootFiles;
use contract::names::{Digest, ImageReference};
use image::oci::AttachedSignature;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use serde_json::json;
use signature::{Decision, Met, Policy, decide, verify};

use crate::reference::{Answer, compare};

/// The repository of the image.
pub const NAME: &str = "quay.io/os/node";

/// The manifest of the image, and the config that it names: an image without layers.
pub const IMAGE: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:dc570f145a7f2862c9ef3c30b8d6ae2feaceb0d364e4b2e08e67ae18815427d9","size":90},"layers":[]}"#;
pub const CONFIG: &str =
    r#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;

/// Returns the digest by which the image is asked for: that of an index, for all that is verified here.
pub fn index() -> Digest {
    Digest::of(IMAGE.as_bytes())
}

/// Returns the digest of the manifest that is chosen from the index.
pub fn instance() -> Digest {
    Digest::of(b"instance")
}

/// Returns the pullspec.
pub fn pullspec() -> ImageReference {
    ImageReference::parse(&format!("{NAME}@{}", index())).unwrap()
}

/// Returns a new ECDSA key, of the kind that cosign and skopeo make.
pub fn ec() -> PKey<Private> {
    curve(Nid::X9_62_PRIME256V1)
}

/// Returns a new ECDSA key of a curve.
pub fn curve(curve: Nid) -> PKey<Private> {
    PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
}

/// Returns a new RSA key.
pub fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

/// Returns the fingerprint that a key is reported by.
pub fn fingerprint(key: &PKey<Private>) -> String {
    Digest::of(&key.public_key_to_der().unwrap()).hex()
}

/// Returns base64 of a key's PEM, for a policy.
pub fn key_data(key: &PKey<Private>) -> String {
    base64::encode(&key.public_key_to_pem().unwrap())
}

/// Returns the text that is signed.
pub fn payload(digest: &Digest, reference: &str) -> String {
    format!(
        "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"{reference}\"}},\"image\":{{\"docker-manifest-digest\":\
         \"{digest}\"}},\"type\":\"cosign container image signature\"}},\"optional\":null}}"
    )
}

/// Returns a signature of bytes.
pub fn sign(key: &PKey<Private>, bytes: &[u8]) -> Vec<u8> {
    let digest = MessageDigest::sha256();
    let signer = if matches!(key.id(), Id::ED25519 | Id::ED448) {
        Signer::new_without_digest(key)
    } else {
        Signer::new(digest, key)
    };
    signer.unwrap().sign_oneshot_to_vec(bytes).unwrap()
}

/// Returns a text, signed, as it is found beside an image.
pub fn attached(key: &PKey<Private>, payload: &str) -> AttachedSignature {
    AttachedSignature {
        payload: payload.as_bytes().to_vec(),
        signature: base64::encode(&sign(key, payload.as_bytes())),
        endpoint: "mirror.example/os/node".to_owned(),
        ..AttachedSignature::default()
    }
}

/// Returns a good signature of the image.
pub fn good(key: &PKey<Private>) -> AttachedSignature {
    attached(key, &payload(&index(), &format!("{NAME}:v1")))
}

/// Returns a machine's policy of these requirements.
pub fn policy(requirements: &str) -> Policy {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &policy_text(requirements)).unwrap()
}

/// Returns the text of a policy of these requirements.
pub fn policy_text(requirements: &str) -> String {
    format!(r#"{{"default": [{{"type": "reject"}}], "transports": {{"docker": {{"quay.io": [{requirements}]}}}}}}"#)
}

/// Reads a policy on a machine with this root.
pub fn load(root: &Path, text: &str) -> anyhow::Result<Policy> {
    std::fs::create_dir_all(root.join("etc/containers")).unwrap();
    std::fs::write(root.join("etc/containers/policy.json"), text).unwrap();
    Policy::load(&RootFiles::new(root)).map(Option::unwrap)
}

/// Returns `sigstoreSigned` with these fields.
pub fn signed(fields: &str) -> String {
    format!(r#"{{"type": "sigstoreSigned", {fields}}}"#)
}

/// Verifies signatures of the image against requirements, from policy to verdict. The reference has to come to the same.
pub fn verdict(requirements: &str, signatures: &[AttachedSignature]) -> Result<Vec<Met>, String> {
    let verdict = verdict_alone(requirements, signatures);
    let (answer, reason) = match &verdict {
        Ok(_) => (Answer::Accepts, ""),
        Err(reason) => (Answer::Refuses, reason.as_str()),
    };
    let files = tempfile::tempdir().unwrap();
    // The reference is older than this requirement.
    if !requirements.contains("\"pki\"") {
        compare(&policy_text(requirements), files.path(), signatures, answer, reason);
    }
    verdict
}

/// Verifies as [`verdict`] does, what the reference has no word for.
pub fn verdict_alone(requirements: &str, signatures: &[AttachedSignature]) -> Result<Vec<Met>, String> {
    match decide(Some(&policy(requirements)), &pullspec()) {
        Decision::NeedsSignatures(needed) => verify(&needed, &pullspec(), &[index(), instance()], signatures),
        Decision::Refused(why) => Err(why),
        Decision::Accepted => Err("it is accepted without a signature".to_owned()),
    }
}

/// Returns why signatures do not meet requirements, without what every reason begins with.
pub fn refusal(requirements: &str, signatures: &[AttachedSignature]) -> String {
    let error = verdict(requirements, signatures).unwrap_err();
    let prefix = format!("{} has no signature that meets ", pullspec());
    error.strip_prefix(&prefix).unwrap_or(&error).to_owned()
}

/// Returns an entry of a log: a signature of a payload, and by whom, as PEM.
pub fn entry(signer: &[u8], signature: &[u8], payload: &[u8]) -> String {
    json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": Digest::of(payload).hex()}},
        "signature": {"content": base64::encode(signature), "publicKey": {"content": base64::encode(signer)}},
    }})
    .to_string()
}

/// Returns the bundle of an entry that a log has signed.
pub fn bundle(log: &PKey<Private>, entry: &str, time: i64) -> String {
    let payload = json!({
        "body": base64::encode(entry.as_bytes()), "integratedTime": time, "logIndex": 4_000_000_000_u64,
        "logID": fingerprint(log),
    });
    let timestamp = base64::encode(&sign(log, payload.to_string().as_bytes()));
    json!({"SignedEntryTimestamp": timestamp, "Payload": payload}).to_string()
}

/// Returns a good signature of the image that a log has seen.
pub fn logged(key: &PKey<Private>, log: &PKey<Private>) -> AttachedSignature {
    let signature = good(key);
    let raw = base64::decode(&signature.signature).unwrap();
    let entry = entry(&key.public_key_to_pem().unwrap(), &raw, &signature.payload);
    AttachedSignature { bundle: Some(bundle(log, &entry, 1)), ..signature }
}
