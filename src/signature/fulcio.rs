// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `fulcio` of a policy: signatures by a certificate that Fulcio gave to somebody who had logged in, for minutes. A log says
//! when the signature was made, and the certificate has to have been valid then.
//!
//! Tested by `src/signature/tests/verify/logins.rs`

use anyhow::{Context, Result, bail, ensure};
use contract::files::Files;
use image::oci::AttachedSignature;
use serde_json::Value;

use crate::chain::{Anchors, Leaf, parse_cas};
use crate::der::{self, Extensions};
use crate::json::Fields;
use crate::keys::Key;
use crate::material::Material;
use crate::rekor;

/// Fulcio's extension with the issuer of a login: 1.3.6.1.4.1.57264.1.1, its bytes as they are.
const ISSUER: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x01];
/// The newer one: 1.3.6.1.4.1.57264.1.8, a string in DER.
const ISSUER_V2: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08];

/// Whose logins are trusted.
#[derive(Clone, Debug)]
pub(crate) struct Fulcio {
    anchors: Anchors,
    issuer: String,
    email: String,
}

/// What a policy says, before its certificates are parsed.
#[derive(Debug)]
pub(crate) struct Source {
    roots: Material,
    issuer: String,
    email: String,
}

impl Source {
    /// Parses `fulcio`.
    pub(crate) fn parse(value: &Value, files: &dyn Files) -> Result<Self> {
        let fields = Fields::of(value, "fulcio", &["caPath", "caData", "oidcIssuer", "subjectEmail"])?;
        let name = |key: &str| {
            let text = fields.need_text(key)?;
            ensure!(!text.is_empty(), "{key} of fulcio is empty");
            Ok(text.to_owned())
        };
        let (issuer, email) = (name("oidcIssuer")?, name("subjectEmail")?);
        let roots =
            Material::one(&fields, ["caPath", "caData"], files)?.context("fulcio has neither caPath nor caData")?;
        Ok(Self { roots, issuer, email })
    }

    /// Returns what it is called in messages.
    pub(crate) fn name(&self) -> String {
        format!("fulcio for {} of {}", self.email, self.issuer)
    }

    /// Parses the certificates.
    pub(crate) fn read(self) -> Result<Fulcio> {
        let roots = self.roots.read(parse_cas)?;
        Ok(Fulcio { anchors: Anchors::of(roots, Vec::new()), issuer: self.issuer, email: self.email })
    }
}

impl Fulcio {
    /// Verifies the certificate of a signature, whose bytes are `raw`, with the keys of logs, and returns it.
    pub(crate) fn verify(&self, logs: &[Key], signature: &AttachedSignature, raw: &[u8]) -> Result<Leaf> {
        let leaf = Leaf::parse(signature.certificate.as_deref())?;
        let time = rekor::verify(logs, signature.bundle.as_deref(), leaf.der(), raw, &signature.payload)?;
        self.anchors.verify(&leaf, signature.chain.as_deref(), time, None)?;
        let issuer = issuer(leaf.der())?;
        ensure!(issuer == self.issuer, "its certificate is for a login at {issuer:?}, not at {:?}", self.issuer);
        leaf.ensure_email(&self.email)?;
        Ok(leaf)
    }
}

/// Returns where somebody had logged in to get a certificate.
fn issuer(certificate: &[u8]) -> Result<String> {
    let extensions = Extensions::of(certificate)?;
    let text =
        |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).context("reading the login of its certificate");
    let old = extensions.get(ISSUER).map(text).transpose()?;
    let new = extensions.get(ISSUER_V2).map(|value| der::string(value).and_then(text)).transpose()?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => bail!("its certificate is for a login at {old:?} and at {new:?}"),
        (Some(issuer), _) | (None, Some(issuer)) => Ok(issuer),
        (None, None) => bail!("its certificate does not say where somebody had logged in"),
    }
}
