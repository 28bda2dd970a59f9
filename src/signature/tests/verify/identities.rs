// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The names that a signature may have, by `signedIdentity`.

use crate::kit::{NAME, attached, ec, index, instance, key_data, payload, signed, verdict};
use crate::policies::required;

#[test]
fn kinds_parse_strictly() {
    for (text, expected) in [
        (r#"{"type": "matchExact"}"#, None),
        (r#"{"type": "matchRepoDigestOrExact"}"#, None),
        (r#"{"type": "matchRepository"}"#, None),
        (r#"{"type": "exactReference", "dockerReference": "a.b/c:v1"}"#, None),
        (r#"{"type": "exactRepository", "dockerRepository": "a.b/c"}"#, None),
        (r#"{"type": "remapIdentity", "prefix": "a.b/c", "signedPrefix": "d.e"}"#, None),
        ("null", Some("signedIdentity has no type")),
        ("[]", Some("signedIdentity has no type")),
        (r#"{"type": 1}"#, Some("signedIdentity has no type")),
        (r#"{"type": "matchAnything"}"#, Some("signedIdentity has the unknown type \"matchAnything\"")),
        (r#"{"type": "matchExact", "x": 1}"#, Some("signedIdentity has the unknown key \"x\"")),
        (r#"{"type": "exactReference"}"#, Some("signedIdentity has no dockerReference")),
        (
            r#"{"type": "exactReference", "dockerReference": "a.b/c"}"#,
            Some("dockerReference a.b/c has neither tag nor digest"),
        ),
        (r#"{"type": "exactReference", "dockerReference": "A"}"#, Some("\"A\" has a bad repository")),
        (
            r#"{"type": "exactRepository", "dockerRepository": 1}"#,
            Some("dockerRepository of signedIdentity is not a string"),
        ),
        (r#"{"type": "remapIdentity", "prefix": "a.b"}"#, Some("signedIdentity has no signedPrefix")),
        (
            r#"{"type": "remapIdentity", "prefix": "a.b/", "signedPrefix": "c"}"#,
            Some("prefix \"a.b/\" of signedIdentity is not one of names"),
        ),
    ] {
        let got = required(&format!(r#""keyPath": "/k", "signedIdentity": {text}"#)).err();
        let prefix = "reading /etc/containers/policy.json: reading its default: ";
        let got = got.map(|error| format!("{error:#}").replace(prefix, ""));
        assert_eq!(got.as_deref(), expected, "{text}");
    }
}

/// Each kind, and which names it accepts for `quay.io/os/node@DIGEST`.
#[test]
fn each_kind_accepts_its_names() {
    let (key, own, other) = (ec(), index(), instance());
    let remap =
        |from: &str, to: &str| format!(r#"{{"type": "remapIdentity", "prefix": "{from}", "signedPrefix": "{to}"}}"#);
    let name = NAME.to_owned();
    let [tag, both] = [format!("{name}:v1"), format!("{name}:v1@{own}")];
    let [own, other] = [format!("{name}@{own}"), format!("{name}@{other}")];
    let foreign = own.replace("os/node", "os/other");
    let mirror = own.replace("quay.io", "mirror.example");
    let all = [&name, &tag, &own, &other, &both, &foreign, &mirror];
    for (identity, expected) in [
        (r#"{"type": "matchExact"}"#.to_owned(), vec![&own]),
        (r#"{"type": "matchRepoDigestOrExact"}"#.to_owned(), vec![&tag, &own, &other, &both]),
        (r#"{"type": "matchRepository"}"#.to_owned(), vec![&name, &tag, &own, &other, &both]),
        (format!(r#"{{"type": "exactReference", "dockerReference": "{tag}"}}"#), vec![&tag]),
        (format!(r#"{{"type": "exactReference", "dockerReference": "{foreign}"}}"#), vec![&foreign]),
        (r#"{"type": "exactRepository", "dockerRepository": "quay.io/os/other"}"#.to_owned(), vec![&foreign]),
        (remap("quay.io", "mirror.example"), vec![&mirror]),
        (remap("quay.io/os", "mirror.example/os"), vec![&mirror]),
        (remap("quay.io/os/node", "quay.io/os/other"), vec![&foreign]),
        // Not at the border of a part: nothing is replaced.
        (remap("quay.io/o", "mirror.example/o"), vec![&tag, &own, &other, &both]),
        (remap("other.example", "mirror.example"), vec![&tag, &own, &other, &both]),
        // The remapped name would be one of Docker Hub.
        (remap("quay.io", "mirror"), vec![]),
    ] {
        let requirement = signed(&format!(r#""keyData": "{}", "signedIdentity": {identity}"#, key_data(&key)));
        let is_accepted = |name: &&String| verdict(&requirement, &[attached(&key, &payload(&index(), name))]).is_ok();
        let accepted: Vec<_> = all.into_iter().filter(is_accepted).collect();
        assert_eq!(accepted, expected, "{identity}");
    }
}
