// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The signature of the image, as skopeo copies it.

use std::path::Path;

use anyhow::{Result, ensure};
use source::VerifiedImage;
use testkit::layout::Layout;
use testkit::signature::{Signatures, payload};

use crate::daemons::copy;

/// The repository of the registry that everything is pushed to, and of whom the signature says that the image is.
const REPOSITORY: &str = "open.example/os/node";
/// The signature. Nobody verifies it here.
const SIGNATURE: &str = "c2lnbmF0dXJl";

/// Pushes a signature of the image with this digest to the first registry, which others share the storage of.
pub fn push(dir: &Path, digest: &str) -> Result<()> {
    let layout = Layout::create(&dir.join("signature"))?;
    layout.write_index(&[])?;
    let signatures = Signatures::of(digest).sign(&payload(digest, REPOSITORY), SIGNATURE);
    signatures.write(&layout)?;
    let tag = &signatures.tag;
    copy(dir, &format!("oci:{}:{tag}", layout.dir().display()), &format!("docker://{REPOSITORY}:{tag}"))
}

/// Stages the image and its signature below the web server, as docs/registries.md says.
pub fn stage(dir: &Path, digest: &str) -> Result<()> {
    let tag = Signatures::of(digest).tag;
    let layout = dir.join("www/signed");
    for (from, name) in [(format!("@{digest}"), "node"), (format!(":{tag}"), &tag)] {
        copy(dir, &format!("docker://{REPOSITORY}{from}"), &format!("oci:{}:{name}", layout.display()))?;
    }
    Ok(())
}

/// Checks that an image has its one signature, and from where.
pub fn check(image: &VerifiedImage, digest: &str, endpoint: &str) -> Result<()> {
    let found = image.signatures()?;
    let [signature] = found.as_slice() else { anyhow::bail!("{found:?}") };
    ensure!(signature.payload == payload(digest, REPOSITORY), "{signature:?}");
    ensure!(signature.signature == SIGNATURE && signature.endpoint == endpoint, "{signature:?}");
    ensure!((&signature.bundle, &signature.certificate, &signature.chain) == (&None, &None, &None), "{signature:?}");
    Ok(())
}
