// SPDX-License-Identifier: Apache-2.0 OR MIT
//! policy.json (containers-policy.json(5)): what an image has to have besides its digest.
//!
//! It is read as strictly as containers tools read it. What is not known rejects the whole file: it could mean more.

use anyhow::{Context, Result, ensure};
use contract::files::Files;
use contract::names::ImageReference;
use serde_json::{Map, Value};

use crate::json::{self, Fields};
use crate::sigstore::Sigstore;

/// The first of these that is there counts. Tools fail when there is none; ostree's `ostree-unverified-image`, which is
/// what an OpenShift node uses, asks for none, and so does slipstream.
const PATHS: [&str; 2] = ["/etc/containers/policy.json", "/usr/share/containers/policy.json"];
pub(crate) const ACCEPT: &str = "insecureAcceptAnything";
pub(crate) const REJECT: &str = "reject";
pub(crate) const SIGSTORE: &str = "sigstoreSigned";
const SIGNED_BY: &str = "signedBy";
const SIGNED_BASE_LAYER: &str = "signedBaseLayer";
/// The transport that node images come by, whatever the source is: the origin names a registry. Requirements of the others
/// are only checked, so that no key file is read for them.
const TRANSPORT: &str = "docker";

/// What an image has to have.
#[derive(Clone, Debug)]
pub enum Requirement {
    /// Nothing.
    Accept,
    /// What no image has.
    Reject,
    /// A signature by one of these keys.
    Sigstore(Box<Sigstore>),
    /// What slipstream cannot check, by its name.
    Unsupported(String),
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file that it was read from.
    path: String,
    default: Vec<Requirement>,
    /// Those for images of a registry, by scope.
    scopes: Vec<(String, Vec<Requirement>)>,
}

impl Policy {
    /// Reads the policy of a machine, with the keys that it names. `None` if there is none.
    pub fn load(files: &dyn Files) -> Result<Option<Self>> {
        for path in PATHS {
            if let Some(bytes) = files.read(path)? {
                return Self::parse(&bytes, path, files).with_context(|| format!("reading {path}")).map(Some);
            }
        }
        Ok(None)
    }

    /// Parses the policy that was read from `path`.
    fn parse(bytes: &[u8], path: &str, files: &dyn Files) -> Result<Self> {
        let value = json::parse(bytes, "policy")?;
        let fields = Fields::of(&value, "policy", &["default", "transports"])?;
        let default = requirements(fields.need("default")?, files).context("reading its default")?;
        let mut scopes = Vec::new();
        let none = Value::Object(Map::new());
        for (transport, value) in object(fields.get("transports").unwrap_or(&none), "transports")? {
            let of_transport = || format!("reading its transport {transport:?}");
            for (scope, value) in object(value, transport).with_context(of_transport)? {
                let of_scope = || format!("reading scope {scope:?} of its transport {transport:?}");
                let is_ours = transport == TRANSPORT;
                let list = requirements(value, if is_ours { files } else { &NoFiles }).with_context(of_scope)?;
                if is_ours {
                    scopes.push((scope.clone(), list));
                }
            }
        }
        Ok(Self { path: path.to_owned(), default, scopes })
    }

    /// Returns what an image has to have, all of it, and the scope that says so, for messages.
    pub fn for_image(&self, image: &ImageReference) -> (&[Requirement], String) {
        let found = scopes_of(image).into_iter().find_map(|scope| self.scopes.iter().find(|(name, _)| *name == scope));
        match found {
            Some((scope, list)) => (list, format!("scope {scope:?} of transport {TRANSPORT}")),
            None => (&self.default, "default".to_owned()),
        }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// No file.
#[derive(Debug)]
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn list(&self, _: &str) -> Result<Option<Vec<String>>> {
        Ok(None)
    }
}

fn object<'v>(value: &'v Value, name: &str) -> Result<&'v Map<String, Value>> {
    value.as_object().with_context(|| format!("{name} is not an object"))
}

/// Parses a list of requirements. An empty one is an image that cannot be had: tools reject the file then.
fn requirements(value: &Value, files: &dyn Files) -> Result<Vec<Requirement>> {
    let list = value.as_array().context("its requirements are not a list")?;
    list.iter().map(|one| requirement(one, files)).collect()
}

fn requirement(value: &Value, files: &dyn Files) -> Result<Requirement> {
    object(value, "a requirement")?;
    let kind = value.get("type").and_then(Value::as_str).context("a requirement has no type")?;
    let plain = |requirement| Fields::of(value, kind, &["type"]).map(|_| requirement);
    let unsupported = Requirement::Unsupported(kind.to_owned());
    match kind {
        ACCEPT => plain(Requirement::Accept),
        REJECT => plain(Requirement::Reject),
        SIGSTORE => Ok(Requirement::Sigstore(Box::new(Sigstore::parse(value, files)?))),
        SIGNED_BY => {
            let known = ["type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"];
            Fields::of(value, kind, &known).map(|_| unsupported)
        }
        SIGNED_BASE_LAYER => Fields::of(value, kind, &["type", "baseLayerIdentity"]).map(|_| unsupported),
        // What tools may learn. It is refused where it holds, so its fields do not matter.
        other => {
            ensure!(!other.is_empty(), "a requirement has an empty type");
            Ok(unsupported)
        }
    }
}

/// Returns the names under which a policy may speak of an image, the closest first.
fn scopes_of(image: &ImageReference) -> Vec<String> {
    let mut scopes = vec![image.as_str().to_owned()];
    let mut name = image.name();
    loop {
        scopes.push(name.to_owned());
        match name.rsplit_once('/') {
            Some((shorter, _)) => name = shorter,
            None => break,
        }
    }
    // Upstream cuts at the first colon, which for an IPv6 address is nonsense, but such hosts have no domains.
    let mut host = name.split(':').next().unwrap_or_default();
    while let Some((_, domain)) = host.split_once('.') {
        scopes.push(format!("*.{domain}"));
        host = domain;
    }
    scopes.push(String::new());
    scopes
}

#[cfg(test)]
mod tests {
    use contract::files::RootFiles;

    use super::*;
    use crate::{Decision, decide};

    fn image(name: &str) -> ImageReference {
        ImageReference::parse(&format!("{name}@sha256:{}", "a".repeat(64))).unwrap()
    }

    /// Reads a policy from a file.
    fn load(path: &str, text: &str) -> Result<Option<Policy>> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("etc/containers")).unwrap();
        std::fs::create_dir_all(root.join("usr/share/containers")).unwrap();
        std::fs::write(root.join(path.trim_start_matches('/')), text).unwrap();
        Policy::load(&RootFiles::new(root))
    }

    #[test]
    fn scopes_from_the_closest() {
        let scopes = scopes_of(&image("a.b.example:5000/x/y"));
        let expected =
            ["a.b.example:5000/x/y", "a.b.example:5000/x", "a.b.example:5000", "*.b.example", "*.example", ""];
        assert!(scopes[0].starts_with("a.b.example:5000/x/y@sha256:"));
        assert_eq!(scopes[1..], expected);
    }

    #[test]
    fn the_administrators_file_comes_first() {
        let reject = r#"{"default": [{"type": "reject"}]}"#;
        assert!(matches!(decide(None, &image("quay.io/os/node")), Decision::Accepted));
        for path in PATHS {
            assert_eq!(load(path, reject).unwrap().unwrap().path(), path);
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(Policy::load(&RootFiles::new(dir.path())).unwrap().is_none());
        for path in PATHS {
            let path = dir.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, reject).unwrap();
        }
        assert_eq!(Policy::load(&RootFiles::new(dir.path())).unwrap().unwrap().path(), PATHS[0]);
    }
}
