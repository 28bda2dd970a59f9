// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A node of OpenShift: an initramfs with Ignition and a network, and the config that the MCO's server would give it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use contract::base64;
use serde_json::{Value, json};

use super::trees::{self, Role};
use crate::lab::Lab;
use crate::lab::cache::Inputs;
use crate::lab::cmd;
use crate::lab::kernels;
use crate::lab::registry::{AUTH, Registry};

/// Debian's Ignition knows specifications up to this one, and the MCO's server translates for whom it serves.
const SPECIFICATION: &str = "3.3.0";
/// What the initramfs is made by, beside the packages and the module.
const FILES: &[&str] = &["scripts/enter.sh", "scripts/ignition-initramfs.sh", "scripts/initramfs.sh"];
/// On the registry, but the node image is not there.
const MIRROR: &str = "mirror/os";

/// Returns an artefact: an initramfs of the bootimage's kernel, to be used in place of the bootimage's own. Ignition fetches its config
/// in it, and does nothing else.
pub fn initramfs(lab: &Lab) -> Result<PathBuf> {
    with_module(lab, "fetch-ignition", "network-manager")
}

/// Returns another one, in which Ignition runs with all its stages.
pub fn initramfs_with_all_stages(lab: &Lab) -> Result<PathBuf> {
    with_module(lab, "kola-ignition", "")
}

/// An initramfs with a dracut module of ours in place of Ignition's own, and with others.
fn with_module(lab: &Lab, module: &str, others: &str) -> Result<PathBuf> {
    let base = trees::root(lab, Role::Bootimage)?;
    let root = trees::extended_root(lab, "ignition-root", &base, &lab.packages("ignition")?)?;
    let kernel = kernels::both(lab)?.join("boot");
    let slipstream = trees::slipstream(lab)?;
    let mut inputs = Inputs::default().text(others).tree(&lab.own(&format!("dracut/60{module}")))?;
    for part in [&root, &kernel, &slipstream] {
        inputs = inputs.text(part.to_string_lossy());
    }
    for name in FILES {
        inputs = inputs.file(&lab.own(name))?;
    }
    let version = kernels::version_of(&kernel)?;
    let dir = lab.cache.artefact(&format!("{module}-initramfs"), inputs, |dir| {
        let copy = dir.join("root");
        cmd::run(cmd::words("cp", ["-a"]).args([&root, &copy]))?;
        for part in [&kernel, &slipstream] {
            cmd::run(cmd::words("cp", ["-a"]).args([part.join("."), copy.clone()]))?;
        }
        let script = lab.own("scripts/ignition-initramfs.sh");
        cmd::run(cmd::words("bash", [script, copy.clone()]).args([version.as_str(), "initramfs.img", module, others]))?;
        fs::rename(copy.join("initramfs.img"), dir.join("initramfs.img")).context("moving the initramfs")?;
        fs::remove_dir_all(&copy).with_context(|| format!("removing {}", copy.display()))
    })?;
    Ok(dir.join("initramfs.img"))
}

/// What a node is told, beside its image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Node<'a> {
    /// Further lines of slipstream.conf.
    pub keys: &'a str,
    /// The public key, in PEM, by which images of the registry have to be signed. Without one, all are accepted.
    pub signer: Option<&'a str>,
}

/// Returns the config of a node whose pool has slipstream switched on, and whose image is this one in this registry;
/// `mirror` is the address of a mirror that is to be asked first.
pub fn config(lab: &Lab, registry: &Registry, mirror: &str, image: &str, node: Node<'_>) -> Result<String> {
    let Node { keys, signer } = node;
    let address = registry.address();
    let path = lab.source.join("src/slipstream/tests/mco/machine-configs/worker.json");
    let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut machine: Value = serde_json::from_slice(&text).with_context(|| format!("parsing {}", path.display()))?;
    machine["spec"]["osImageURL"] = image.into();
    let mirrors = format!(
        "unqualified-search-registries = [\"registry.access.example\", \"docker.io\"]\nshort-name-mode = \"\"\n\n\
         [[registry]]\n  prefix = \"\"\n  location = \"{address}/os\"\n\n  [[registry.mirror]]\n    \
         location = \"{mirror}/{MIRROR}\"\n    pull-from-mirror = \"digest-only\"\n"
    );
    let secret = json!({"auths": {&address: {"auth": AUTH, "email": "node@example.com"}}});
    let accept = json!([{"type": "insecureAcceptAnything"}]);
    let mut policy = json!({"default": &accept, "transports": {"docker-daemon": {"": &accept}}});
    if let Some(key) = signer {
        // As OpenShift 4.22 has it for the images of its releases.
        let identity = json!({"type": "matchRepoDigestOrExact"});
        let key = base64::encode(key.as_bytes());
        let signed = json!([{"type": "sigstoreSigned", "keyData": key, "signedIdentity": identity}]);
        for transport in ["atomic", "docker"] {
            policy["transports"][transport] = json!({format!("{address}/os"): signed});
        }
    }
    let ca = format!("/etc/docker/certs.d/{address}/ca.crt");
    let files: Vec<_> = [
        ("/etc/containers/policy.json", 0o644, policy.to_string()),
        ("/etc/containers/registries.conf", 0o644, mirrors),
        (ca.as_str(), 0o644, registry.ca()?),
        ("/etc/ignition-machine-config-encapsulated.json", 0o644, machine.to_string()),
        ("/etc/slipstream.conf", 0o644, format!("[slipstream]\nimage = auto\n{keys}")),
        ("/var/lib/kubelet/config.json", 0o600, secret.to_string()),
    ]
    .into_iter()
    .map(|(path, mode, text): (&str, u32, String)| {
        let contents = json!({"source": data_url(&text)});
        json!({"path": path, "mode": mode, "overwrite": true, "user": {"name": "root"}, "contents": contents})
    })
    .collect();
    Ok(json!({"ignition": {"version": SPECIFICATION}, "storage": {"files": files}}).to_string())
}

/// Returns a URL as the MCO writes it: what is not a letter or a digit is escaped.
fn data_url(text: &str) -> String {
    let mut url = "data:,".to_owned();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(byte.into());
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::data_url;

    #[test]
    fn escapes() {
        assert_eq!(data_url("a b\n{\"1\"}"), "data:,a%20b%0A%7B%221%22%7D");
    }
}
