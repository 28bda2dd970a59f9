// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A place that may be asked for an image.

/// Where a repository may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host[:port]/repo`.
    pub location: String,
    /// TLS without verification, or none at all, will do.
    pub insecure: bool,
    /// It is not the place that the pullspec names.
    pub mirror: bool,
    /// Why it must not be asked, if so.
    pub blocked: Option<String>,
}
