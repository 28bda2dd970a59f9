// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the configuration of a host says about registries, as the registry client wants to know it.

use std::fmt;

use anyhow::Result;

use crate::oci::ImageReference;
use crate::source::http::{Proxy, Secret};

/// A place that may have the image: the registry that its name says, or a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host[:port]/repository`.
    pub location: String,
    /// Certificates are not verified, and plain HTTP will do.
    pub insecure: bool,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

/// Who we are for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password, or what passes as one.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token, for the token server.
    IdentityToken(Secret),
}

/// Certificates for a host.
#[derive(Clone, Debug, Default)]
pub struct Certs {
    /// CA certificates besides those of the system, in PEM.
    pub ca: Vec<Vec<u8>>,
    /// A client certificate and its key, in PEM.
    pub client: Option<(Secret, Secret)>,
}

/// The configuration of a host.
pub trait HostConfig: Send + Sync {
    /// Where to ask for an image, in order.
    fn endpoints(&self, image: &ImageReference) -> Result<Vec<Endpoint>>;
    /// The credentials for `host[:port]/repository`.
    fn credentials(&self, location: &str) -> Result<Option<Credentials>>;
    /// The certificates for `host[:port]`.
    fn certs(&self, host: &str) -> Result<Certs>;
    /// The proxies.
    fn proxy(&self) -> Result<Proxy>;
}

/// No configuration: the registry that the image's name says, nobody in particular, no proxy.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConfig;

impl HostConfig for NoConfig {
    fn endpoints(&self, image: &ImageReference) -> Result<Vec<Endpoint>> {
        let location = image.as_str().split('@').next().unwrap_or_default().to_owned();
        Ok(vec![Endpoint { location, insecure: false }])
    }

    fn credentials(&self, _: &str) -> Result<Option<Credentials>> {
        Ok(None)
    }

    fn certs(&self, _: &str) -> Result<Certs> {
        Ok(Certs::default())
    }

    fn proxy(&self) -> Result<Proxy> {
        Ok(Proxy::default())
    }
}
