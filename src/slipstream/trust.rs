// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether the machine's policy lets an image be used: by its name, and by its signatures.
//!
//! Tested by `src/slipstream/tests/boot/signatures.rs`, `src/slipstream/tests/boot/agreement.rs`.

use std::ops::ControlFlow::{self, Break, Continue};

use anyhow::Result;
use contract::files::Files;
use contract::handoff::Signature;
use contract::names::ImageReference;
use signature::{Decision, Met, Policy, Sigstore, decide, verify};
use source::VerifiedImage;

use crate::stop::Stop;

/// Returns the signatures that an image has to have, for all that its name tells.
pub fn required(files: &dyn Files, image: &ImageReference) -> Result<ControlFlow<Stop, Vec<Sigstore>>> {
    Ok(match decide(Policy::load(files)?.as_ref(), &image.canonical()) {
        Decision::Accepted => Continue(Vec::new()),
        Decision::NeedsSignatures(needed) => Continue(needed),
        Decision::Refused(reason) => Break(Stop::Policy(reason)),
    })
}

/// Looks for the signatures of a verified image, and verifies that they are those that it has to have. Nothing is looked for if
/// it need not have any.
pub fn verify_signatures(
    needed: &[Sigstore],
    image: &ImageReference,
    verified: &VerifiedImage,
) -> Result<ControlFlow<Stop, Vec<Signature>>> {
    if needed.is_empty() {
        return Ok(Continue(Vec::new()));
    }
    let signatures = verified.signatures()?;
    Ok(match verify(needed, &image.canonical(), &verified.digests(), &signatures) {
        Ok(met) => Continue(met.into_iter().map(described).collect()),
        Err(reason) => Break(Stop::Policy(reason)),
    })
}

fn described(met: Met) -> Signature {
    let Met { requirement, key, identity, digest, endpoint } = met;
    log::info!("{identity}: {requirement}, signature from {endpoint}");
    Signature { requirement, key, identity, digest: digest.to_string(), endpoint }
}
