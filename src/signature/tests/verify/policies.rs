// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Policies: which requirements an image has, and what rejects the file.

use anyhow::Result;
use contract::base64;
use signature::{Decision, Sigstore, decide};

use crate::kit::{load, pullspec};
use crate::reference::{Answer, compare};

const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECr5OL03lCedpoO0UHpAmwU46MThn\n\
    w0zqjZh2MXGTRaiL5zU0UsMzSnfQwlomJjQjmdxIkaA5CW1xi74B1JMk1w==\n-----END PUBLIC KEY-----\n";

const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAxH765vwR6e5IEiwKLvyBfXQUVymdruyhzSC7nRO0LfQ=\n-----END PUBLIC KEY-----\n";

const FULCIO: &str = r#"{"caPath": "/ca", "oidcIssuer": "https://login.example", "subjectEmail": "os@example.com"}"#;
const PKI: &str = r#"{"caRootsPath": "/ca", "subjectEmail": "os@example.com", "subjectHostname": "os.example.com"}"#;

/// What becomes of the image, which has no signature: why it is refused, or the names of the requirements. The reference has to
/// come to the same.
fn decided(text: &str) -> Result<String> {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [("k", KEY), ("ed25519", ED25519), ("empty", "")] {
        std::fs::write(root.path().join(name), text).unwrap();
    }
    let decided = load(root.path(), text).map(|policy| match decide(Some(&policy), &pullspec()) {
        Decision::Accepted => "accepted".to_owned(),
        Decision::Refused(why) => why,
        Decision::NeedsSignatures(needed) => needed.iter().map(Sigstore::name).collect::<Vec<_>>().join(", "),
    });
    let (answer, reason) = match &decided {
        Ok(text) if text == "accepted" => (Answer::Accepts, text.clone()),
        Ok(text) => (Answer::Refuses, text.clone()),
        Err(error) => (Answer::Invalid, format!("{error:#}")),
    };
    // The reference is older than this requirement.
    if !text.contains("\"pki\"") {
        compare(text, root.path(), &[], answer, &reason);
    }
    decided
}

/// What becomes of a requirement with these fields: whether it can be met, or why the policy is rejected.
pub fn required(fields: &str) -> Result<Result<String, String>> {
    let data = base64::encode(KEY.as_bytes());
    let lines = format!("{}\\n{}", &data[..76], &data[76..]);
    let fields = fields.replace("DATA", &data).replace("LINES", &lines).replace("FULCIO", FULCIO).replace("PKI", PKI);
    let decided = decided(&format!(r#"{{"default": [{{"type": "sigstoreSigned", {fields}}}]}}"#))?;
    Ok(match decided.split_once(", which no signature can meet: ") {
        Some((_, why)) => Err(why.to_owned()),
        None => Ok(decided),
    })
}

#[test]
fn decisions() {
    let accept = r#"[{"type": "insecureAcceptAnything"}]"#;
    let reject = r#"[{"type": "reject"}]"#;
    let signed = r#"[{"type": "sigstoreSigned", "keyPath": "/k", "signedIdentity": {"type": "matchRepository"}}]"#;
    let key = r#"{"type": "sigstoreSigned", "keyPath": "/k"}"#;
    let gone = r#"[{"type": "sigstoreSigned", "keyPath": "/gone"}]"#;
    let gpg = r#"[{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]"#;
    let with = |default: &str, scopes: &str| format!(r#"{{"default": {default}, "transports": {{{scopes}}}}}"#);
    let docker = |default: &str, scopes: &str| with(default, &format!(r#""docker": {{{scopes}}}"#));
    let met = "sigstoreSigned by keyPath /k";
    let refused = "its default says reject: this image may not be used";
    let able = "and slipstream can only do insecureAcceptAnything and sigstoreSigned; the MCO, which checks such \
                signatures, is left to pull it";
    for (label, policy, expected) in [
        ("default accepts", with(accept, ""), "accepted".to_owned()),
        ("no transports", format!(r#"{{"default": {accept}}}"#), "accepted".to_owned()),
        ("default rejects", with(reject, ""), refused.to_owned()),
        ("default signed", with(signed, ""), met.to_owned()),
        ("repository", docker(reject, &format!(r#""quay.io/os/node": {signed}"#)), met.to_owned()),
        ("namespace", docker(reject, &format!(r#""quay.io/os": {signed}"#)), met.to_owned()),
        ("host", docker(reject, &format!(r#""quay.io": {signed}"#)), met.to_owned()),
        (
            "wildcard",
            docker(accept, &format!(r#""*.io": {reject}"#)),
            "its scope \"*.io\" of transport docker says reject: this image may not be used".to_owned(),
        ),
        (
            "transport",
            docker(accept, &format!(r#""": {reject}"#)),
            "its scope \"\" of transport docker says reject: this image may not be used".to_owned(),
        ),
        (
            "closest wins",
            docker(reject, &format!(r#""quay.io": {reject}, "quay.io/os": {accept}"#)),
            "accepted".to_owned(),
        ),
        (
            "closest wins over wildcard",
            docker(reject, &format!(r#""*.io": {reject}, "quay.io": {signed}"#)),
            met.to_owned(),
        ),
        (
            "other scope",
            docker(accept, &format!(r#""quay.io/other": {gone}, "*.quay.io": {reject}"#)),
            "accepted".to_owned(),
        ),
        ("other transport", with(accept, &format!(r#""docker-daemon": {{"": {reject}}}"#)), "accepted".to_owned()),
        ("unsupported", with(gpg, ""), format!("its default requires signedBy, {able}")),
        (
            "unsupported and supported",
            with(r#"[{"type": "insecureAcceptAnything"}, {"type": "signedBaseLayer"}]"#, ""),
            format!("its default requires insecureAcceptAnything and signedBaseLayer, {able}"),
        ),
        ("unknown", with(r#"[{"type": "newThing", "key": 1}]"#, ""), format!("its default requires newThing, {able}")),
        (
            "accepted and rejected",
            with(r#"[{"type": "insecureAcceptAnything"}, {"type": "reject"}]"#, ""),
            refused.to_owned(),
        ),
        (
            "accepted twice",
            with(r#"[{"type": "insecureAcceptAnything"}, {"type": "insecureAcceptAnything"}]"#, ""),
            "accepted".to_owned(),
        ),
        ("accepted and signed", with(&format!(r#"[{{"type": "insecureAcceptAnything"}}, {key}]"#), ""), met.to_owned()),
        (
            "signed twice",
            with(&format!("[{key}, {}]", key.replace(r#""keyPath": "/k""#, r#""keyPaths": ["/k", "/k"]"#)), ""),
            format!("{met}, sigstoreSigned by keyPaths /k, keyPaths /k"),
        ),
        ("no requirement", with("[]", ""), "its default has no requirement".to_owned()),
        (
            "no key file",
            with(gone, ""),
            "its default requires sigstoreSigned by keyPath /gone, which no signature can meet: reading keyPath \
             /gone: /gone does not exist"
                .to_owned(),
        ),
    ] {
        let got = decided(&policy).unwrap();
        let prefix = format!("checking {} against /etc/containers/policy.json: ", pullspec());
        assert_eq!(got.strip_prefix(&prefix).unwrap_or(&got), expected, "{label}");
    }
}

#[test]
fn what_is_not_known_rejects_the_file() {
    let accept = r#"[{"type": "insecureAcceptAnything"}]"#;
    let scope = |scopes: &str| format!(r#"{{"default": {accept}, "transports": {{"docker": {scopes}}}}}"#);
    let one = |requirement: &str| format!(r#"{{"default": [{requirement}]}}"#);
    for (label, policy, expected) in [
        ("not JSON", "{".to_owned(), "parsing policy: EOF while parsing an object"),
        ("trailing bytes", format!("{} x", one("{}")), "parsing policy: trailing characters"),
        ("no default", r#"{"transports": {}}"#.to_owned(), "policy has no default"),
        ("null default", r#"{"default": null}"#.to_owned(), "reading its default: its requirements are not a list"),
        ("unknown key", format!(r#"{{"default": {accept}, "more": 1}}"#), "policy has the unknown key \"more\""),
        ("null transports", format!(r#"{{"default": {accept}, "transports": null}}"#), "transports is not an object"),
        ("null transport", scope("null"), "reading its transport \"docker\": docker is not an object"),
        (
            "null scope",
            scope(r#"{"quay.io": null}"#),
            "reading scope \"quay.io\" of its transport \"docker\": its requirements are not a list",
        ),
        (
            "scope twice",
            scope(&format!(r#"{{"a": {accept}, "a": {accept}}}"#)),
            "parsing policy: policy has the field \"a\" twice",
        ),
        (
            "key twice far inside",
            one(r#"{"type": "signedBy", "signedIdentity": {"type": "a", "type": "b"}}"#),
            "parsing policy: policy has the field \"type\" twice",
        ),
        ("text", one("\"reject\""), "reading its default: a requirement is not an object"),
        ("list", one("[]"), "reading its default: a requirement is not an object"),
        ("no type", one("{}"), "reading its default: a requirement has no type"),
        ("type null", one(r#"{"type": null}"#), "reading its default: a requirement has no type"),
        ("empty type", one(r#"{"type": ""}"#), "reading its default: a requirement has an empty type"),
        (
            "more than accept",
            one(r#"{"type": "insecureAcceptAnything", "keyPath": "/k"}"#),
            "reading its default: insecureAcceptAnything has the unknown key \"keyPath\"",
        ),
        (
            "more than reject",
            one(r#"{"type": "reject", "a": 1}"#),
            "reading its default: reject has the unknown key \"a\"",
        ),
        (
            "more than signedBy",
            one(r#"{"type": "signedBy", "keyTypo": 1}"#),
            "reading its default: signedBy has the unknown key \"keyTypo\"",
        ),
        (
            "more than signedBaseLayer",
            one(r#"{"type": "signedBaseLayer", "a": 1}"#),
            "reading its default: signedBaseLayer has the unknown key \"a\"",
        ),
        (
            "another transport's",
            format!(r#"{{"default": {accept}, "transports": {{"atomic": {{"": [{{"type": "reject", "a": 1}}]}}}}}}"#),
            "reading scope \"\" of its transport \"atomic\": reject has the unknown key \"a\"",
        ),
    ] {
        let error = format!("{:#}", decided(&policy).unwrap_err());
        let expected = format!("reading /etc/containers/policy.json: {expected}");
        assert_eq!(error.split(" at line ").next(), Some(expected.as_str()), "{label}");
    }
}

#[test]
fn keys_are_given_in_four_ways() {
    for (fields, expected) in [
        (r#""keyPath": "/k""#, Ok("sigstoreSigned by keyPath /k")),
        (r#""keyPaths": ["/k", "/k"]"#, Ok("sigstoreSigned by keyPaths /k, keyPaths /k")),
        (r#""keyData": "DATA""#, Ok("sigstoreSigned by keyData")),
        (r#""keyData": "LINES""#, Ok("sigstoreSigned by keyData")),
        (r#""keyDatas": ["DATA", "DATA"]"#, Ok("sigstoreSigned by keyDatas, keyDatas")),
        (
            r#""keyPath": "/k", "rekorPublicKeyPaths": ["/k"]"#,
            Ok("sigstoreSigned by keyPath /k and rekorPublicKeyPaths /k"),
        ),
        (
            r#""keyPath": "/k", "rekorPublicKeyPath": "/ed25519""#,
            Err("reading rekorPublicKeyPath /ed25519: it is not an ECDSA key"),
        ),
        (r#""fulcio": FULCIO, "rekorPublicKeyPath": "/k""#, Err("reading caPath /ca: /ca does not exist")),
        (r#""pki": PKI"#, Err("reading caRootsPath /ca: /ca does not exist")),
        (r#""keyPath": "/gone""#, Err("reading keyPath /gone: /gone does not exist")),
        (r#""keyPath": "/empty""#, Err("reading keyPath /empty: reading PEM: it has no block")),
        (r#""keyPaths": ["/k", "k"]"#, Err("reading keyPaths k: path \"k\" is not absolute")),
        (r#""keyData": """#, Err("reading keyData: reading PEM: it has no block")),
    ] {
        assert_eq!(required(fields).unwrap(), expected.map(str::to_owned).map_err(str::to_owned), "{fields}");
    }
}

#[test]
fn other_fields_reject_the_policy() {
    let one = "sigstoreSigned has not exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki";
    let more = "sigstoreSigned has more than one of keyPath, keyPaths, keyData, keyDatas";
    for (fields, expected) in [
        (r#""signedIdentity": {"type": "matchExact"}"#, one),
        (r#""keyPath": "/k", "pki": PKI"#, one),
        (r#""fulcio": FULCIO, "pki": PKI, "rekorPublicKeyPath": "/k""#, one),
        (
            r#""fulcio": FULCIO"#,
            "sigstoreSigned has fulcio, but none of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData, \
             rekorPublicKeyDatas",
        ),
        (
            r#""pki": PKI, "rekorPublicKeyPath": "/k""#,
            "sigstoreSigned has pki, and with it one of rekorPublicKeyPath, rekorPublicKeyPaths, \
             rekorPublicKeyData, rekorPublicKeyDatas",
        ),
        (r#""fulcio": null"#, "fulcio is not an object"),
        (r#""fulcio": {"oidcIssuer": "i"}"#, "fulcio has no subjectEmail"),
        (r#""fulcio": {"oidcIssuer": "", "subjectEmail": "e"}"#, "oidcIssuer of fulcio is empty"),
        (r#""fulcio": {"oidcIssuer": "i", "subjectEmail": "e"}"#, "fulcio has neither caPath nor caData"),
        (
            r#""fulcio": {"oidcIssuer": "i", "subjectEmail": "e", "caPath": "/k", "caData": "DATA"}"#,
            "fulcio has more than one of caPath, caData",
        ),
        (r#""fulcio": {"subjectURI": "u"}"#, "fulcio has the unknown key \"subjectURI\""),
        (r#""pki": []"#, "pki is not an object"),
        (r#""pki": {"caRootsPath": "/k", "subjectEmail": ""}"#, "pki has neither subjectEmail nor subjectHostname"),
        (r#""pki": {"subjectEmail": "e"}"#, "pki has neither caRootsPath nor caRootsData"),
        (
            r#""pki": {"subjectEmail": "e", "caRootsPath": "/k", "caIntermediatesPath": "", "caIntermediatesData": ""}"#,
            "pki has more than one of caIntermediatesPath, caIntermediatesData",
        ),
        (r#""pki": {"caRootsPath": "/k", "subjectEmail": "e", "x": 1}"#, "pki has the unknown key \"x\""),
        (r#""keyPath": "/k", "keyData": "DATA""#, more),
        (r#""keyPaths": ["/k"], "keyDatas": ["DATA"]"#, more),
        (r#""keyPath": """#, "keyPath of sigstoreSigned is empty"),
        (r#""keyPath": null"#, "keyPath of sigstoreSigned is not a string"),
        (r#""keyPath": ["/k"]"#, "keyPath of sigstoreSigned is not a string"),
        (r#""keyPaths": []"#, "keyPaths of sigstoreSigned is empty"),
        (r#""keyPaths": "/k""#, "keyPaths of sigstoreSigned is not a list of strings"),
        (r#""keyData": "x""#, "decoding keyData: base64 of 1 characters is no multiple of 4"),
        (r#""keyDatas": ["DATA", null]"#, "keyDatas of sigstoreSigned is not a list of strings"),
        (r#""keyPath": "/k", "keypath": "/k""#, "sigstoreSigned has the unknown key \"keypath\""),
        (r#""keyPath": "/k", "signedIdentity": null"#, "signedIdentity has no type"),
        (
            r#""keyPath": "/k", "rekorPublicKeyPath": "/k", "rekorPublicKeyData": "DATA""#,
            "sigstoreSigned has more than one of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData, \
             rekorPublicKeyDatas",
        ),
    ] {
        let expected = format!("reading /etc/containers/policy.json: reading its default: {expected}");
        assert_eq!(format!("{:#}", required(fields).unwrap_err()), expected, "{fields}");
    }
}
