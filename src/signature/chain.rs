// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Certificates, and whether a chain leads from one to a CA that a policy trusts.
//!
//! libcrypto builds the chain. What containers tools check beside it, and libcrypto only does for purposes that it knows, is
//! checked here: that every certificate of the chain may be for code signing.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use openssl::asn1::Asn1Time;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509StoreContext, X509StoreContextRef};

use crate::der::Extensions;
use crate::keys::Key;
use crate::{der, pem};

/// Most CAs of a policy: a distribution's bundle has 150.
const MAX_CAS: usize = 1000;
/// Most certificates that come with a signature. Fulcio's chains have two or three.
const MAX_CHAIN: usize = 16;
/// Longest text of certificates that comes with a signature, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// libcrypto's level 2: RSA of 2048 bits, curves of 224, no SHA-1. It is RHEL's default, and at least what Go accepts.
const SECURITY_LEVEL: i32 = 2;

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// The certificate of a signature, not verified.
#[derive(Debug)]
pub(crate) struct Leaf {
    certificate: X509,
    der: Vec<u8>,
}

impl Leaf {
    /// Parses the certificate that comes with a signature: one, and nothing after it.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self> {
        let text = text.context("it has no certificate")?;
        ensure!(text.len() <= MAX_TEXT, "its certificate has {} bytes, more than {MAX_TEXT}", text.len());
        let block = pem::only(text.as_bytes()).context("reading its certificate")?;
        let certificate = certificate(&block).context("reading its certificate")?;
        Ok(Self { certificate, der: block.der })
    }

    /// Returns the DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the public key.
    pub(crate) fn key(&self) -> Result<Key> {
        self.certificate
            .public_key()
            .map_err(Into::into)
            .and_then(Key::of)
            .context("reading the key of its certificate")
    }

    /// Fails unless the certificate is for an email address, which has to be written in the same way.
    pub(crate) fn ensure_email(&self, email: &str) -> Result<()> {
        let names = self.certificate.subject_alt_names();
        let emails: Vec<_> = names.iter().flatten().filter_map(|name| name.email()).collect();
        ensure!(emails.contains(&email), "its certificate is for the emails {emails:?}, not for {email}");
        Ok(())
    }
}

/// CAs that a policy trusts.
#[derive(Clone, Debug)]
pub(crate) struct Anchors {
    roots: Vec<X509>,
    intermediates: Vec<X509>,
}

impl Anchors {
    /// Trusts these roots. The intermediates are only what chains may be built of.
    pub(crate) fn of(roots: Vec<X509>, intermediates: Vec<X509>) -> Self {
        Self { roots, intermediates }
    }

    /// Verifies that a chain leads from the certificate to a root, that it was valid at a time, in seconds since 1970, and
    /// that it is for code signing, and for a host if there is one.
    pub(crate) fn verify(&self, leaf: &Leaf, chain: Option<&str>, time: i64, host: Option<&str>) -> Result<()> {
        let mut others = Stack::new()?;
        for one in self.intermediates.iter().cloned().chain(intermediates(chain)?) {
            others.push(one)?;
        }
        let store = self.store(time, host)?;
        let verify = |context: &mut X509StoreContextRef| Ok((context.verify_cert()?, context.error(), ders(context)?));
        let (verified, error, ders) = X509StoreContext::new()?.init(&store, &leaf.certificate, &others, verify)?;
        if !verified {
            let date = Asn1Time::from_unix(time)?;
            bail!("its certificate is not trusted as of {}: {}", &*date, error.error_string());
        }
        ensure!(!ders.is_empty(), "its certificate has no chain");
        for (n, der) in ders.iter().enumerate() {
            check_usage(der, n > 0).with_context(|| format!("checking certificate {n} of its chain"))?;
        }
        Ok(())
    }

    fn store(&self, time: i64, host: Option<&str>) -> Result<X509Store> {
        let mut builder = X509StoreBuilder::new()?;
        for root in &self.roots {
            builder.add_cert(root.clone())?;
        }
        let mut param = X509VerifyParam::new()?;
        // What a policy calls a root is one, also if something else has issued it.
        param.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        param.set_time(time);
        param.set_auth_level(SECURITY_LEVEL);
        if let Some(host) = host {
            // libcrypto would take any subdomain for a name with a dot in front.
            ensure!(!host.is_empty() && !host.starts_with('.'), "{host:?} is not a host name");
            param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
            match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
                Ok(address) => param.set_ip(address)?,
                Err(_) => param.set_host(host)?,
            }
        }
        builder.set_param(&param)?;
        Ok(builder.build())
    }
}

/// Parses the certificates of a policy.
pub(crate) fn parse_cas(text: &[u8]) -> Result<Vec<X509>> {
    let blocks = pem::blocks(text, MAX_CAS)?;
    ensure!(!blocks.is_empty(), "it has no certificate");
    blocks.iter().map(certificate).collect()
}

/// Parses what comes with a signature to build a chain of. Its last certificate is the signer's root, which only the policy
/// can make one.
fn intermediates(text: Option<&str>) -> Result<Vec<X509>> {
    let text = text.unwrap_or_default();
    ensure!(text.len() <= MAX_TEXT, "its chain has {} bytes, more than {MAX_TEXT}", text.len());
    let blocks = pem::blocks(text.as_bytes(), MAX_CHAIN).context("reading its chain")?;
    let mut chain: Vec<_> = blocks.iter().map(certificate).collect::<Result<_>>().context("reading its chain")?;
    chain.pop();
    Ok(chain)
}

fn certificate(block: &pem::Block<'_>) -> Result<X509> {
    ensure!(block.label == "CERTIFICATE", "a {} is not a certificate", block.label);
    der::ensure_whole(&block.der)?;
    X509::from_der(&block.der).map_err(|error| anyhow!("parsing a certificate: {error}"))
}

/// Returns the DER of each certificate of the chain that was built, the leaf first.
fn ders(context: &X509StoreContextRef) -> Result<Vec<Vec<u8>>, openssl::error::ErrorStack> {
    context.chain().into_iter().flatten().map(|one| one.to_der()).collect()
}

/// Checks that a certificate may be for code signing, or for anything, and that it is one of a CA if others are below it.
fn check_usage(certificate: &[u8], is_ca: bool) -> Result<()> {
    let extensions = Extensions::of(certificate)?;
    if let Some(usage) = extensions.get(EXTENDED_KEY_USAGE) {
        let usages = der::list(usage, der::OID).context("reading its extended key usage")?;
        let may = usages.iter().any(|usage| [ANY_USAGE, CODE_SIGNING].contains(usage));
        ensure!(may, "it is not for code signing");
    }
    if is_ca {
        let constraints = extensions.get(BASIC_CONSTRAINTS).context("it has no basic constraints")?;
        ensure!(der::begins_with_true(constraints)?, "it is not one of a CA");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_with_a_signature_is_bounded() {
        let text = |label: &str, der: &str| format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n");
        let leaf = |text: &str| Leaf::parse(Some(text)).map(drop);
        let chain = |text: &str| intermediates(Some(text)).map(drop);
        let long = " ".repeat(MAX_TEXT + 1);
        assert!(intermediates(None).unwrap().is_empty() && intermediates(Some("")).unwrap().is_empty());
        for (label, result, expected) in [
            ("no certificate", Leaf::parse(None).map(drop), "it has no certificate"),
            ("empty", leaf(""), "reading its certificate: reading PEM: it has no block"),
            (
                "two",
                leaf(&text("CERTIFICATE", "").repeat(2)),
                "reading its certificate: reading PEM: something follows its first block",
            ),
            ("key", leaf(&text("PUBLIC KEY", "")), "reading its certificate: a PUBLIC KEY is not a certificate"),
            (
                "trailing bytes",
                leaf(&text("CERTIFICATE", "MAAA")),
                "reading its certificate: reading DER: something follows",
            ),
            ("long", leaf(&long), "its certificate has 65537 bytes, more than 65536"),
            ("long chain", chain(&long), "its chain has 65537 bytes, more than 65536"),
            (
                "many",
                chain(&text("CERTIFICATE", "").repeat(17)),
                "reading its chain: reading PEM: it has more than 16 blocks",
            ),
            ("no DER", chain(&text("CERTIFICATE", "")), "reading its chain: reading DER: it is cut short"),
            ("empty bundle", parse_cas(b"# nothing").map(drop), "it has no certificate"),
        ] {
            assert_eq!(format!("{:#}", result.unwrap_err()), expected, "{label}");
        }
        let error = format!("{:#}", leaf(&text("CERTIFICATE", "MAA=")).unwrap_err());
        assert!(error.starts_with("reading its certificate: parsing a certificate: error:"), "{error}");
    }
}
