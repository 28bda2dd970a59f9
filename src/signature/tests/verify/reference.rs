// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The reference: what containers/image, as skopeo has it, makes of the same policy and the same signatures.
//!
//! It is asked about every case here if `SLIPSTREAM_TOOLS_ROOT` names a root directory with a skopeo that knows
//! sigstore; `make differential` does that. skopeo then copies an image from a registry that has these signatures.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use image::oci::AttachedSignature;
use serde_json::json;
use testkit::layout::{OCI_MANIFEST, digits};
use testkit::server::{Reply, Server};
use testkit::signature::{PAYLOAD, SIGNATURE, Signatures};
use testkit::tools::{INSIDE, ROOT, Tools, said, variable};

use crate::kit::{CONFIG, IMAGE, NAME, index, pullspec};

/// What becomes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may be used.
    Accepts,
    /// It may not.
    Refuses,
    /// The policy is none.
    Invalid,
}

/// Where the answers differ on purpose: a part of our reason, skopeo's answer, and why. docs/registries.md has the table.
const DIFFERENCES: [(&str, Answer, &str); 7] = [
    ("an RSA key of 1024 bits is too short", Answer::Accepts, "a key has at least 2048 bits"),
    ("has 33 signatures, more than 32", Answer::Accepts, "there are at most 32 signatures"),
    ("bytes, more than 65536", Answer::Accepts, "a payload has at most 64 KiB"),
    ("its default requires newThing", Answer::Invalid, "an unknown requirement is refused by its name"),
    ("insecureAcceptAnything and signedBaseLayer", Answer::Invalid, "what is not verified is not read further"),
    ("its default has no requirement", Answer::Invalid, "an empty list is refused where it counts"),
    ("keyDatas of sigstoreSigned is not a list of strings", Answer::Refuses, "null is no string"),
];

/// Asks skopeo about a policy, files that it names, and signatures of the image; panics if it says otherwise than we.
pub fn compare(policy: &str, files: &Path, signatures: &[AttachedSignature], ours: Answer, reason: &str) {
    let Some(tools) = tools() else { return };
    let (theirs, said) = ask(tools, policy, files, signatures);
    if theirs == ours {
        println!("skopeo and slipstream: {ours:?}");
        return;
    }
    let known = DIFFERENCES.iter().find(|(part, answer, _)| reason.contains(part) && *answer == theirs);
    let (_, _, why) =
        known.unwrap_or_else(|| panic!("skopeo: {theirs:?}: {said}\n  ours: {ours:?}: {reason}\n{policy}"));
    println!("skopeo {theirs:?}, slipstream {ours:?}: {why}");
}

/// Returns the tools, if there are any.
fn tools() -> Option<&'static Tools> {
    static TOOLS: OnceLock<Option<Tools>> = OnceLock::new();
    let make = |root| Tools::new(root, Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    TOOLS.get_or_init(|| variable(ROOT).map(make)).as_ref()
}

const COPY: &str = r#"
skopeo --policy "$1/policy.json" --registries.d "$1/registries.d" --registries-conf "$1/registries.conf" \
  copy --quiet --remove-signatures "docker://$2" "dir:$1/image"
"#;

fn ask(tools: &Tools, policy: &str, files: &Path, signatures: &[AttachedSignature]) -> (Answer, String) {
    let registry = serve(signatures);
    let dir = tempfile::tempdir_in(tools.work()).unwrap();
    let inside = format!("{INSIDE}/{}", dir.path().file_name().unwrap().to_str().unwrap());
    for entry in fs::read_dir(files).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
    }
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    // Files are named by their path.
    write("policy.json", &policy.replace("\"/", &format!("\"{inside}/")));
    let (prefix, host) = (NAME.rsplit_once('/').unwrap().0, registry.host());
    write(
        "registries.conf",
        &format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{host}/os\"\ninsecure = true\n"),
    );
    fs::create_dir(dir.path().join("registries.d")).unwrap();
    write("registries.d/default.yaml", "default-docker:\n  use-sigstore-attachments: true\n");
    let output = tools.run(COPY, &[&inside, &pullspec().to_string()]).unwrap();
    let said = said(&output);
    let answer = if output.status.success() {
        Answer::Accepts
    } else if said.contains("Source image rejected") {
        Answer::Refuses
    } else if said.contains("Error loading trust policy") {
        Answer::Invalid
    } else {
        panic!("asking skopeo: {said}");
    };
    // What it refuses must have been there to be seen.
    let asked = registry.asked();
    assert!(answer != Answer::Accepts || asked.iter().any(|ask| ask.path.ends_with(".sig")) || signatures.is_empty());
    (answer, said)
}

/// Serves the image with its signatures.
fn serve(signatures: &[AttachedSignature]) -> Server {
    let digest = index().to_string();
    let mut attached = Signatures::of(&digest);
    for signature in signatures {
        let mut annotations = vec![(SIGNATURE, signature.signature.as_str())];
        for (name, value) in [
            ("dev.sigstore.cosign/bundle", &signature.bundle),
            ("dev.sigstore.cosign/certificate", &signature.certificate),
            ("dev.sigstore.cosign/chain", &signature.chain),
        ] {
            annotations.extend(value.as_deref().map(|value| (name, value)));
        }
        attached = attached.layer(PAYLOAD, &signature.payload, &annotations);
    }
    let mut blobs: HashMap<_, _> = if signatures.is_empty() { HashMap::new() } else { attached.served() };
    blobs.insert(digits(&digest).to_owned(), IMAGE.as_bytes().to_vec());
    blobs.insert(digits(&testkit::blob::digest(CONFIG.as_bytes())).to_owned(), CONFIG.as_bytes().to_vec());
    let manifest = format!("Content-Type: {OCI_MANIFEST}");
    Server::start(Arc::new(blobs), move |ask| match ask.path.contains("/manifests/") {
        true if ask.content.is_none() => {
            let unknown = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]});
            Reply::new("404 Not Found", unknown.to_string()).header("Content-Type: application/json")
        }
        true => Reply::good(ask).header(&manifest),
        false => Reply::good(ask),
    })
    .unwrap()
}
