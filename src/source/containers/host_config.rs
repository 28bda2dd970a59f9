// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configuration of a machine, file by file.

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use contract::files::Files;
use contract::names::ImageReference;

use super::auth::{self, Credentials};
use super::certs::{self, Certs};
use super::endpoint::Endpoint;
use super::{anchors, proxy, registries};
use crate::http::Proxy;

/// The configuration of a machine.
#[derive(Clone)]
pub struct HostConfig {
    files: Arc<dyn Files>,
}

impl HostConfig {
    /// The configuration that these files are. They are read when they are needed: a broken registries.conf is no
    /// reason to refuse an image that is staged on a disk.
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files }
    }

    /// Returns why nobody must be asked for an image: every endpoint is blocked. `None` if one may be asked.
    pub fn blocked(&self, image: &ImageReference) -> Result<Option<String>> {
        let mut reasons: Vec<String> = Vec::new();
        for endpoint in self.endpoints(image)? {
            let Some(reason) = endpoint.blocked else { return Ok(None) };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        Ok(Some(reasons.join("; ")))
    }

    /// Where to look for an image, in this order: mirrors first, the place that it names last.
    pub fn endpoints(&self, image: &ImageReference) -> Result<Vec<Endpoint>> {
        registries::load(self.files.as_ref())?.endpoints(&image.canonical())
    }

    /// Who we are at `location`, which is `host[:port]` or `host[:port]/repo`.
    pub fn credentials(&self, location: &str) -> Result<Option<Credentials>> {
        auth::find(self.files.as_ref(), location)
    }

    /// CA and client certificates for `host[:port]`, as it was written in the location.
    pub fn certs(&self, host: &str) -> Result<Certs> {
        certs::of_host(self.files.as_ref(), host)
    }

    /// CA certificates in PEM that the administrator has added to those of the system.
    pub fn anchors(&self) -> Result<Vec<Vec<u8>>> {
        anchors::load(self.files.as_ref())
    }

    /// The proxies of the machine.
    pub fn proxy(&self) -> Result<Proxy> {
        proxy::load(self.files.as_ref())
    }
}

/// Without the files: they have secrets in them.
impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use contract::files::RootFiles;
    use contract::request::ignition::{Ignition, IgnitionFiles};

    use super::*;
    use crate::containers::fixtures::{ONE, image, root};

    #[test]
    fn a_bare_machine_asks_the_registry_itself() {
        let (_dir, files) = root(&[]);
        let config = HostConfig::new(files);
        let quay = image("quay.io/os/node");
        let endpoint =
            Endpoint { location: "quay.io/os/node".to_owned(), insecure: false, mirror: false, blocked: None };
        assert_eq!(config.blocked(&quay).unwrap(), None);
        assert_eq!(config.endpoints(&quay).unwrap(), [endpoint]);
        assert!(config.credentials("quay.io/os/node").unwrap().is_none());
        assert_eq!(config.certs("quay.io").unwrap(), Certs::default());
        assert!(config.anchors().unwrap().is_empty());
        assert_eq!(config.proxy().unwrap(), Proxy::default());
    }

    #[test]
    fn a_node_of_a_cluster() {
        let (_dir, files) = root(&[
            (
                "/etc/containers/registries.conf",
                "unqualified-search-registries = [\"a.example\"]\n[[registry]]\nprefix = \"\"\nlocation = \"quay.io/os\"\n\
                 mirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"mirror.example:5000/os\"\n",
            ),
            ("/var/lib/kubelet/config.json", r#"{"auths": {"mirror.example:5000": {"auth": "dTpodXNo"}}}"#),
            ("/etc/docker/certs.d/mirror.example:5000/ca.crt", ONE),
            ("/etc/mco/proxy.env", "HTTPS_PROXY=http://u:hush@proxy.example:3128\nNO_PROXY=.cluster.local\n"),
        ]);
        let config = HostConfig::new(files);
        let quay = image("quay.io/os/node");
        let locations: Vec<_> = config.endpoints(&quay).unwrap().into_iter().map(|e| (e.location, e.mirror)).collect();
        assert_eq!(locations, [("mirror.example:5000/os/node".into(), true), ("quay.io/os/node".into(), false)]);
        assert!(config.credentials("mirror.example:5000/os/node").unwrap().is_some());
        assert!(config.credentials("quay.io/os/node").unwrap().is_none());
        assert_eq!(config.certs("mirror.example:5000").unwrap().ca.len(), 1);
        assert_eq!(config.proxy().unwrap().no_proxy, ".cluster.local");
    }

    #[test]
    fn links_of_the_ignition_config_count() {
        let (dir, _) = root(&[
            ("/usr/share/site/block.conf", "[[registry]]\nlocation='quay.io'\nblocked=true\n"),
            ("/usr/share/site/ca.pem", ONE),
        ]);
        let text = r#"{"ignition": {"version": "3.4.0"}, "storage": {"links": [
            {"path": "/etc/containers/registries.conf.d/10-site.conf", "target": "/usr/share/site/block.conf"},
            {"path": "/etc/containers/certs.d/quay.io/ca.crt", "target": "../../../../usr/share/site/ca.pem"},
            {"path": "/etc/pki/ca-trust/source/anchors/site.pem", "target": "/usr/share/site/ca.pem", "hard": true}]}}"#;
        let ignition = Arc::new(Ignition::parse(text.as_bytes()).unwrap());
        let config = HostConfig::new(Arc::new(IgnitionFiles::new(ignition, RootFiles::new(dir.path()))));
        let reason = config.blocked(&image("quay.io/os/node")).unwrap().unwrap();
        assert!(reason.contains("/etc/containers/registries.conf.d/10-site.conf has blocked = true"), "{reason}");
        assert_eq!(config.certs("quay.io").unwrap().ca, [ONE.as_bytes()]);
        assert_eq!(config.anchors().unwrap(), [ONE.as_bytes()]);
    }

    #[test]
    fn what_is_not_text_is_not_printed() {
        let (dir, files) = root(&[("/etc/mco/proxy.env", "")]);
        std::fs::write(dir.path().join("etc/mco/proxy.env"), b"hush\xff").unwrap();
        let error = format!("{:#}", HostConfig::new(files).proxy().unwrap_err());
        assert_eq!(error, "reading /etc/mco/proxy.env: byte 4 is not UTF-8");
    }
}
