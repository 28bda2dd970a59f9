// SPDX-License-Identifier: Apache-2.0 OR MIT
//! policy.json (containers-policy.json(5)): what an image has to have besides its digest.
//!
//! We cannot check signatures. So an image whose scope asks for one is refused, and the MCO, which can, pivots as
//! usual: anything else would be a way around the policy.

use anyhow::{Context, Result, bail};
use contract::files::Files;
use contract::names::ImageReference;
use contract::shape;
use contract::shape::Shape;
use serde_json::Value;

/// The first of these that is there counts. Tools fail when there is none; ostree's `ostree-unverified-image`, which is
/// what an OpenShift node uses, asks for none, and so do we.
const PATHS: [&str; 2] = ["/etc/containers/policy.json", "/usr/share/containers/policy.json"];
/// The one requirement that we meet.
const ACCEPT: &str = "insecureAcceptAnything";
const REJECT: &str = "reject";
/// The transport that node images come by, whatever our source is: the origin names a registry.
const TRANSPORT: &str = "docker";

const REQUIREMENTS: Shape = Shape::List(&Shape::Object(&[("type", Shape::Text, true)]));
const SCOPES: Shape = Shape::Map(&REQUIREMENTS);
const POLICY: Shape = Shape::Object(&[("default", REQUIREMENTS, true), ("transports", Shape::Map(&SCOPES), false)]);

/// Returns why the policy refuses an image; `None` if its requirements are met. That the file cannot be read is an error.
pub(super) fn refusal(files: &dyn Files, image: &ImageReference) -> Result<Option<String>> {
    for path in PATHS {
        if let Some(bytes) = files.read(path)? {
            let policy = parse(&bytes).with_context(|| format!("reading {path}"))?;
            let refused = |reason| format!("checking {image} against {path}: {reason}");
            return Ok(decide(&policy, image).err().map(refused));
        }
    }
    Ok(None)
}

/// Parse a policy. Unknown keys beside `default` and `transports` could mean more than we know.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value> {
    let keys = shape::parse(bytes, Shape::Set, "policy")?;
    let mut keys = keys.as_object().into_iter().flatten().map(|(key, _)| key);
    if let Some(key) = keys.find(|key| !matches!(key.as_str(), "default" | "transports")) {
        bail!("policy has the unknown key {key:?}");
    }
    shape::parse(bytes, POLICY, "policy")
}

fn decide(policy: &Value, image: &ImageReference) -> Result<(), String> {
    let scopes = policy.get("transports").and_then(|transports| transports.get(TRANSPORT));
    let found = scopes_of(image).into_iter().find_map(|scope| Some((scopes?.get(&scope)?, scope)));
    let (requirements, scope) = match &found {
        Some((requirements, scope)) => (*requirements, format!("scope {scope:?} of transport {TRANSPORT}")),
        None => (policy.get("default").unwrap_or(&Value::Null), "default".to_owned()),
    };
    let list = requirements.as_array().map(Vec::as_slice).unwrap_or_default();
    let types: Vec<&str> = list.iter().filter_map(|one| one.get("type")?.as_str()).collect();
    match types.as_slice() {
        [] => Err(format!("its {scope} has no requirement")),
        list if list.contains(&REJECT) => Err(format!("its {scope} says {REJECT}: this image may not be used")),
        [ACCEPT] => Ok(()),
        list => Err(format!(
            "its {scope} requires {}, and slipstream can only do {ACCEPT}; the MCO, which checks signatures, is left to \
             pull it",
            list.join(" and ")
        )),
    }
}

/// The names under which a policy may speak of an image, the closest first.
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
    use super::*;
    use crate::containers::fixtures::{image, root};

    #[test]
    fn scopes_from_the_closest() {
        let scopes = scopes_of(&image("a.b.example:5000/x/y"));
        let expected =
            ["a.b.example:5000/x/y", "a.b.example:5000/x", "a.b.example:5000", "*.b.example", "*.example", ""];
        assert!(scopes[0].starts_with("a.b.example:5000/x/y@sha256:"));
        assert_eq!(scopes[1..], expected);
    }

    #[test]
    fn decisions() {
        let accept = r#"[{"type": "insecureAcceptAnything"}]"#;
        let signed = r#"[{"type": "sigstoreSigned", "keyPath": "/k", "signedIdentity": {"type": "matchRepository"}}]"#;
        let with = |default: &str, scopes: &str| format!(r#"{{"default": {default}, "transports": {{{scopes}}}}}"#);
        let docker = |default: &str, scopes: &str| with(default, &format!(r#""docker": {{{scopes}}}"#));
        let reject = r#"[{"type": "reject"}]"#;
        for (label, policy, expected) in [
            ("default accepts", with(accept, ""), None),
            ("null transports", format!(r#"{{"default": {accept}, "transports": null}}"#), None),
            ("default rejects", with(reject, ""), Some("its default says reject: this image may not be used")),
            (
                "default signed",
                with(signed, ""),
                Some("its default requires sigstoreSigned, and slipstream can only do"),
            ),
            (
                "repository",
                docker(accept, &format!(r#""quay.io/os/node": {signed}"#)),
                Some("scope \"quay.io/os/node\" of"),
            ),
            (
                "namespace",
                docker(accept, &format!(r#""quay.io/os": {signed}"#)),
                Some("scope \"quay.io/os\" of transport"),
            ),
            ("host", docker(accept, &format!(r#""quay.io": {signed}"#)), Some("scope \"quay.io\" of transport docker")),
            (
                "wildcard",
                docker(accept, &format!(r#""*.io": {reject}"#)),
                Some("scope \"*.io\" of transport docker says"),
            ),
            ("transport", docker(accept, &format!(r#""": {reject}"#)), Some("scope \"\" of transport docker says")),
            ("closest wins", docker(reject, &format!(r#""quay.io": {reject}, "quay.io/os": {accept}"#)), None),
            (
                "closest wins over wildcard",
                docker(accept, &format!(r#""*.io": {accept}, "quay.io": {reject}"#)),
                Some("\"quay.io\""),
            ),
            ("other scope", docker(accept, &format!(r#""quay.io/other": {signed}, "*.quay.io": {reject}"#)), None),
            ("other transport", with(accept, &format!(r#""docker-daemon": {{"": {reject}}}"#)), None),
            (
                "two requirements",
                with(r#"[{"type": "insecureAcceptAnything"}, {"type": "signedBy"}]"#, ""),
                Some("requires insecureAcceptAnything and signedBy"),
            ),
            (
                "accepted and rejected",
                with(r#"[{"type": "insecureAcceptAnything"}, {"type": "reject"}]"#, ""),
                Some("reject"),
            ),
            ("unknown", with(r#"[{"type": "newThing"}]"#, ""), Some("requires newThing")),
            ("no requirement", with("[]", ""), Some("its default has no requirement")),
            (
                "null scope",
                docker(accept, r#""quay.io": null"#),
                Some("scope \"quay.io\" of transport docker has no requirement"),
            ),
            ("no default", r#"{"transports": {}}"#.to_owned(), Some("policy has no default")),
            (
                "unknown key",
                format!(r#"{{"default": {accept}, "more": 1}}"#),
                Some("policy has the unknown key \"more\""),
            ),
            ("no type", with("[{}]", ""), Some("default has no type")),
            ("not JSON", "{".to_owned(), Some("reading /etc/containers/policy.json: parsing policy: EOF")),
            ("twice", docker(accept, &format!(r#""a": {accept}, "a": {reject}"#)), Some("field \"a\" twice")),
        ] {
            let (_dir, files) = root(&[("/etc/containers/policy.json", &policy)]);
            match (refusal(files.as_ref(), &image("quay.io/os/node")), expected) {
                (Ok(None), None) => {}
                (Ok(Some(reason)), Some(text)) => assert!(reason.contains(text), "{label}: {reason}"),
                (Err(error), Some(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn the_administrators_file_comes_first() {
        let reject = r#"{"default": [{"type": "reject"}]}"#;
        let accept = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        for (label, files, accepted) in [
            ("none", vec![], true),
            ("vendor", vec![(PATHS[1], reject)], false),
            ("both", vec![(PATHS[0], accept), (PATHS[1], reject)], true),
        ] {
            let (_dir, files) = root(&files);
            let refused = refusal(files.as_ref(), &image("quay.io/os/node")).unwrap();
            assert_eq!(refused.is_none(), accepted, "{label}: {refused:?}");
        }
    }
}
