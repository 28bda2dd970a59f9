// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `pki` of a policy: signatures by a certificate of the administrator's own CA, which has to be valid now.
//!
//! Tested by `src/signature/tests/verify/certificates.rs`

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use contract::files::Files;
use image::oci::AttachedSignature;
use serde_json::Value;

use crate::chain::{Anchors, Leaf, parse_cas};
use crate::json::Fields;
use crate::material::Material;

/// Whose certificates are trusted.
#[derive(Clone, Debug)]
pub(crate) struct Pki {
    anchors: Anchors,
    email: Option<String>,
    host: Option<String>,
}

/// What a policy says, before its certificates are parsed.
#[derive(Debug)]
pub(crate) struct Source {
    roots: Material,
    intermediates: Option<Material>,
    email: Option<String>,
    host: Option<String>,
}

impl Source {
    /// Parses `pki`.
    pub(crate) fn parse(value: &Value, files: &dyn Files) -> Result<Self> {
        let known = [
            "caRootsPath",
            "caRootsData",
            "caIntermediatesPath",
            "caIntermediatesData",
            "subjectEmail",
            "subjectHostname",
        ];
        let fields = Fields::of(value, "pki", &known)?;
        let name =
            |key: &str| Ok::<_, anyhow::Error>(fields.text(key)?.filter(|text| !text.is_empty()).map(str::to_owned));
        let (email, host) = (name("subjectEmail")?, name("subjectHostname")?);
        ensure!(email.is_some() || host.is_some(), "pki has neither subjectEmail nor subjectHostname");
        let roots = Material::one(&fields, ["caRootsPath", "caRootsData"], files)?;
        let intermediates = Material::one(&fields, ["caIntermediatesPath", "caIntermediatesData"], files)?;
        Ok(Self { roots: roots.context("pki has neither caRootsPath nor caRootsData")?, intermediates, email, host })
    }

    /// Returns what it is called in messages.
    pub(crate) fn name(&self) -> String {
        let names: Vec<_> = [&self.email, &self.host].into_iter().flatten().map(String::as_str).collect();
        format!("pki for {}", names.join(" at "))
    }

    /// Parses the certificates.
    pub(crate) fn read(self) -> Result<Pki> {
        let roots = self.roots.read(parse_cas)?;
        let intermediates = self.intermediates.map(|one| one.read(parse_cas)).transpose()?.unwrap_or_default();
        Ok(Pki { anchors: Anchors::of(roots, intermediates), email: self.email, host: self.host })
    }
}

impl Pki {
    /// Verifies the certificate of a signature, and returns it.
    pub(crate) fn verify(&self, signature: &AttachedSignature) -> Result<Leaf> {
        let leaf = Leaf::parse(signature.certificate.as_deref())?;
        // Nothing says when the signature was made.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
        self.anchors.verify(&leaf, signature.chain.as_deref(), now.try_into()?, self.host.as_deref())?;
        if let Some(email) = &self.email {
            leaf.ensure_email(email)?;
        }
        Ok(leaf)
    }
}
