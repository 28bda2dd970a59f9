// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A CA, and what it issues.

use contract::base64;
use image::oci::AttachedSignature;
use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Extension, X509NameBuilder};

use crate::kit::{bundle, ec, entry, good, refusal};

/// The time at which the tests run, in seconds since 1970.
pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    pub key: PKey<Private>,
    pub certificate: X509,
}

impl Issued {
    /// Returns the certificate as PEM.
    pub fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    /// Returns the certificate's PEM in base64, for a policy.
    pub fn data(&self) -> String {
        base64::encode(self.pem().as_bytes())
    }

    /// Returns a good signature of the image with this certificate.
    pub fn sign(&self) -> AttachedSignature {
        AttachedSignature { certificate: Some(self.pem()), ..good(&self.key) }
    }

    /// Returns a good signature of the image with this certificate, that a log has seen.
    pub fn sign_logged(&self, log: &PKey<Private>, time: i64) -> AttachedSignature {
        let signature = self.sign();
        let raw = base64::decode(&signature.signature).unwrap();
        let entry = entry(self.pem().as_bytes(), &raw, &signature.payload);
        AttachedSignature { bundle: Some(bundle(log, &entry, time)), ..signature }
    }
}

/// What is in a certificate.
pub struct Wish {
    pub name: &'static str,
    pub key: PKey<Private>,
    /// From when to when it is valid.
    pub valid: (i64, i64),
    pub extensions: Vec<X509Extension>,
}

impl Wish {
    /// Returns what a signer's certificate has in it, besides names.
    pub fn leaf() -> Self {
        let usage = ExtendedKeyUsage::new().code_signing().build().unwrap();
        Self::plain("leaf", vec![usage])
    }

    /// Returns what a CA's certificate has in it.
    pub fn ca(name: &'static str) -> Self {
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        let usage = KeyUsage::new().critical().key_cert_sign().build().unwrap();
        Self::plain(name, vec![constraints, usage])
    }

    /// Returns a certificate that is valid for an hour on both sides of now.
    pub fn plain(name: &'static str, extensions: Vec<X509Extension>) -> Self {
        Self { name, key: ec(), valid: (now() - 3600, now() + 3600), extensions }
    }

    /// Adds an extension.
    pub fn with(mut self, extension: X509Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Sets from when to when it is valid.
    pub fn valid(self, from: i64, to: i64) -> Self {
        Self { valid: (from, to), ..self }
    }

    /// Issues the certificate, by itself if there is no issuer.
    pub fn issue(self, issuer: Option<&Issued>) -> Issued {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", self.name).unwrap();
        let name = name.build();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&Asn1Integer::from_bn(&BigNum::from_u32(7).unwrap()).unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(issuer.map_or(&name, |issuer| issuer.certificate.subject_name())).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(self.valid.0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(self.valid.1).unwrap()).unwrap();
        builder.set_pubkey(&self.key).unwrap();
        for extension in self.extensions {
            builder.append_extension(extension).unwrap();
        }
        builder.sign(issuer.map_or(&self.key, |issuer| &issuer.key), MessageDigest::sha256()).unwrap();
        Issued { certificate: builder.build(), key: self.key }
    }
}

/// Returns the names of a signer: an email, a host, an address.
pub fn names(email: Option<&str>, host: Option<&str>, address: Option<&str>) -> X509Extension {
    let mut names = SubjectAlternativeName::new();
    if let Some(email) = email {
        names.email(email);
    }
    if let Some(host) = host {
        names.dns(host);
    }
    if let Some(address) = address {
        names.ip(address);
    }
    names.build(&X509Builder::new().unwrap().x509v3_context(None, None)).unwrap()
}

/// Returns the email of a signer.
pub fn email(text: &str) -> X509Extension {
    names(Some(text), None, None)
}

/// Returns an extension of Fulcio's: where somebody had logged in.
pub fn login(number: u8, value: &[u8]) -> X509Extension {
    let id = Asn1Object::from_str(&format!("1.3.6.1.4.1.57264.1.{number}")).unwrap();
    X509Extension::new_from_der(&id, false, &Asn1OctetString::new_from_bytes(value).unwrap()).unwrap()
}

/// Returns the reason why the first signature does not meet a requirement, without the date in it.
pub fn reason(requirement: &str, signature: AttachedSignature) -> String {
    let error = refusal(requirement, &[signature]);
    let reason = error.split_once("signature 1: ").map_or(error.as_str(), |(_, reason)| reason);
    match reason.split_once(" as of ") {
        Some((what, rest)) => format!("{what}{}", rest.split_once(" GMT").map_or(rest, |(_, why)| why)),
        None => reason.to_owned(),
    }
}

/// Returns an old root: older than anything that it issues.
pub fn root() -> Issued {
    Wish::ca("root").valid(now() - 86_400, now() + 86_400).issue(None)
}
