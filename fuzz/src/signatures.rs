// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a policy asks of an image, and what is attached to one as its signature.

use anyhow::Result;
use contract::base64;
use contract::files::Files;
use contract::names::ImageReference;
use signature::payload::Payload;
use signature::reference::Reference;
use signature::rekor::Bundle;
use signature::{Decision, Policy, decide, verify};

const IMAGE: &str = "quay.io/os/node@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A policy in memory, and any other path is a key.
struct Memory<'d> {
    policy: &'d [u8],
    key: &'d [u8],
}

impl Files for Memory<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let bytes = if path == "/etc/containers/policy.json" { self.policy } else { self.key };
        Ok(Some(bytes.to_vec()))
    }

    fn list(&self, _: &str) -> Result<Option<Vec<String>>> {
        Ok(None)
    }
}

/// policy.json, and behind a NUL the file of every key in it.
pub fn policy(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0);
    let (text, key) = at.map_or((data, &[][..]), |at| (&data[..at], &data[at + 1..]));
    let Ok(policy) = Policy::load(&Memory { policy: text, key }) else { return };
    let image = ImageReference::parse(IMAGE).expect("a good pullspec");
    match decide(policy.as_ref(), &image) {
        Decision::Accepted => {
            let (requirements, _) = policy.as_ref().expect("a policy").for_image(&image);
            assert!(!requirements.is_empty(), "accepted by no requirement");
        }
        Decision::Refused(why) => assert!(!why.is_empty()),
        Decision::NeedsSignatures(needed) => {
            assert!(!needed.is_empty());
            verify(&needed, &image, &[image.digest()], &[]).expect_err("no signature");
        }
    }
}

/// The payload of a signature, and the name in it.
pub fn payload(data: &[u8]) {
    let Ok(payload) = Payload::parse(data) else { return };
    if let Ok(reference) = Reference::parse(&payload.reference) {
        let text = reference.to_string();
        assert_eq!(Reference::parse(&text).expect("a normalized name is a name"), reference);
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

/// The bundle of a log: its signed entry timestamp.
pub fn set(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(bundle) = Bundle::parse(text) else { return };
    drop(bundle.entry());
    let again = format!(r#"{{"Payload":{},"SignedEntryTimestamp":"{}"}}"#, bundle.signed(), base64::encode(b"x"));
    // The limit is one of the text as it comes.
    if let Ok(again) = Bundle::parse(&again) {
        assert_eq!(again.signed(), bundle.signed(), "the canonical form is its own");
    } else {
        assert!(again.len() > signature::rekor::MAX_BUNDLE, "{again}");
    }
}
