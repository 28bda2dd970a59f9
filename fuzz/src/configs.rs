// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configuration of containers tools.

use std::sync::Arc;

use anyhow::Result;
use contract::files::Files;
use contract::names::ImageReference;
use signature::{Decision, Policy, decide};
use source::containers::HostConfig;

const IMAGE: &str = "quay.io/os/node";
const DIGEST: &str = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PATHS: [&str; 7] = [
    "/etc/containers/registries.conf",
    "/etc/containers/registries.conf.d/1.conf",
    "/var/lib/kubelet/config.json",
    "/etc/containers/policy.json",
    "/etc/mco/proxy.env",
    "/etc/containers/certs.d/quay.io/ca.crt",
    "/etc/pki/ca-trust/source/anchors/ca.pem",
];

/// Files in memory: what is between NULs, in the order of `PATHS`.
struct Memory(Vec<Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let at = PATHS.iter().position(|known| *known == path);
        Ok(at.and_then(|at| self.0.get(at)).filter(|bytes| !bytes.is_empty()).cloned())
    }

    fn list(&self, dir: &str) -> Result<Option<Vec<String>>> {
        let start = format!("{dir}/");
        let names: Vec<_> = PATHS.iter().filter_map(|path| path.strip_prefix(&start).map(str::to_owned)).collect();
        Ok((!names.is_empty()).then_some(names))
    }
}

/// registries.conf, a drop-in, auth.json, policy.json, proxy.env, a CA of a registry and one for all, with NULs between
/// them.
pub fn containers(data: &[u8]) {
    let files = Memory(data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect());
    let has_policy = files.0.get(3).is_some_and(|policy| !policy.is_empty());
    let image = ImageReference::parse(&format!("{IMAGE}{DIGEST}")).expect("a good pullspec");
    let policy = Policy::load(&files).ok().flatten();
    let refused = matches!(decide(policy.as_ref(), &image), Decision::Refused(_));
    assert!(!refused || has_policy, "refused by a policy that is not there");
    let config = HostConfig::new(Arc::new(files));
    for endpoint in config.endpoints(&image).unwrap_or_default() {
        let text = format!("{}{DIGEST}", endpoint.location);
        assert_eq!(ImageReference::parse(&text).expect("an endpoint is a pullspec").digest(), image.digest());
        drop(config.credentials(&endpoint.location));
        drop(config.certs(endpoint.location.split('/').next().unwrap_or_default()));
    }
    for pem in config.anchors().unwrap_or_default() {
        assert!(pem.starts_with(b"-----BEGIN CERTIFICATE-----\n"), "an anchor is not in PEM");
    }
    let proxy = config.proxy().unwrap_or_default();
    assert!(!proxy.no_proxy.chars().any(char::is_control), "NO_PROXY has control characters");
}
