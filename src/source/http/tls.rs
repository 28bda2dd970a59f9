// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whom to trust, and who we are.
//!
//! libcurl of RHEL 9 (7.76) takes CA certificates from a file only; later ones from memory, too. A file in memory that
//! is named by its descriptor serves all of them and leaves nothing on a disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use anyhow::{Context, Result};
use curl::easy::Easy2;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::http::Secret;
use crate::http::transfer::Sink;

/// The system's CA certificates: Fedora and RHEL, Debian, older Fedora. The first one that is there counts.
const SYSTEM_BUNDLES: [&str; 3] = [
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// How to do TLS with a host.
#[derive(Clone, Debug)]
pub struct Tls {
    verify: bool,
    /// The system's CA certificates and those given; `None`: libcurl's own default.
    ca: Option<Arc<File>>,
    client: Option<Arc<(Secret, Secret)>>,
}

impl Tls {
    /// The system's CA certificates and these, in PEM. `client` is a certificate and its key, in PEM.
    pub fn new(extra: &[Vec<u8>], client: Option<(Secret, Secret)>) -> Result<Self> {
        let ca = if extra.is_empty() { None } else { Some(Arc::new(bundle(extra)?)) };
        Ok(Self { verify: true, ca, client: client.map(Arc::new) })
    }

    /// The same, but whoever answers is believed.
    pub fn unverified(self) -> Self {
        Self { verify: false, ..self }
    }

    /// Returns the same for another host, which must not see who we are.
    pub(super) fn without_client(&self) -> Self {
        self.with_client(None)
    }

    /// Returns the same for another host, which is to see this certificate and its key.
    pub(crate) fn with_client(&self, client: Option<(Secret, Secret)>) -> Self {
        Self { client: client.map(Arc::new), ..self.clone() }
    }

    /// Set the options of a transfer.
    pub(super) fn apply(&self, easy: &mut Easy2<Sink>) -> Result<(), curl::Error> {
        easy.ssl_verify_peer(self.verify)?;
        easy.ssl_verify_host(self.verify)?;
        easy.ssl_version(curl::easy::SslVersion::Tlsv12)?;
        if let Some(file) = &self.ca {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            easy.cainfo(&path)?;
            easy.proxy_cainfo(&path)?;
        }
        if let Some(client) = &self.client {
            let (certificate, key) = &**client;
            easy.ssl_cert_type("PEM")?;
            easy.ssl_cert_blob(certificate.reveal().as_bytes())?;
            easy.ssl_key_type("PEM")?;
            easy.ssl_key_blob(key.reveal().as_bytes())?;
        }
        Ok(())
    }
}

/// The system's certificates and the given ones in one file in memory.
fn bundle(extra: &[Vec<u8>]) -> Result<File> {
    let doing = "collecting CA certificates";
    let mut file = File::from(memfd_create("ca-certificates", MemfdFlags::CLOEXEC).context(doing)?);
    if let Some(system) = system_bundle()? {
        file.write_all(&system).context(doing)?;
    }
    for certificate in extra {
        // A file need not end with a line feed.
        file.write_all(b"\n").and_then(|()| file.write_all(certificate)).context(doing)?;
    }
    Ok(file)
}

fn system_bundle() -> Result<Option<Vec<u8>>> {
    for path in SYSTEM_BUNDLES {
        match fs::read(path) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {path}")),
        }
    }
    log::warn!("this system has no CA certificates at {}", SYSTEM_BUNDLES.join(", "));
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn given_certificates_come_after_those_of_the_system_and_keys_are_not_printed() {
        let client = Some((Secret::new("certificate"), Secret::new("hush")));
        let tls = Tls::new(&[b"one".to_vec(), b"two".to_vec()], client).unwrap();
        assert!(!format!("{tls:?}").contains("hush"), "{tls:?}");
        let mut file = tls.ca.as_ref().unwrap().try_clone().unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("\none\ntwo"), "{text}");
        assert!(tls.without_client().client.is_none() && tls.without_client().ca.is_some());
        assert!(Tls::new(&[], None).unwrap().ca.is_none(), "libcurl's default");
    }
}
