// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A signature that is attached to an image in its repository, as sigstore's tools and skopeo do it.

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
