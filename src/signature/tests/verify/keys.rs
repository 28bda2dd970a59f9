// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures by keys.

use openssl::nid::Nid;
use openssl::pkey::PKey;
use signature::{MAX_SIGNATURES, Met};

use crate::kit::{
    NAME, attached, curve, ec, fingerprint, good, index, instance, key_data, payload, pullspec, refusal, rsa, sign,
    signed, verdict, verdict_alone,
};

#[test]
fn a_signature_by_each_algorithm_meets_the_policy() {
    for (label, key) in [
        ("RSA-4096", rsa(4096)),
        ("P-224", curve(Nid::SECP224R1)),
        ("P-256", ec()),
        ("P-384", curve(Nid::SECP384R1)),
        ("P-521", curve(Nid::SECP521R1)),
        ("Ed25519", PKey::generate_ed25519().unwrap()),
    ] {
        let met = Met {
            requirement: "sigstoreSigned by keyData".to_owned(),
            key: Some(fingerprint(&key)),
            identity: format!("{NAME}:v1"),
            digest: index(),
            endpoint: "mirror.example/os/node".to_owned(),
        };
        let requirement = signed(&format!(r#""keyData": "{}""#, key_data(&key)));
        assert_eq!(verdict(&requirement, &[good(&key)]), Ok(vec![met]), "{label}");
    }
}

#[test]
fn index_or_instance_is_signed() {
    let key = ec();
    let requirement = signed(&format!(r#""keyData": "{}""#, key_data(&key)));
    for (label, digest) in [("index only", index()), ("instance only", instance())] {
        let signature = attached(&key, &payload(&digest, &format!("{NAME}@{digest}")));
        assert_eq!(verdict_alone(&requirement, &[signature]).unwrap()[0].digest, digest, "{label}");
    }
}

#[test]
fn any_signature_and_any_key_will_do() {
    let (old, new, other) = (rsa(2048), ec(), ec());
    let requirement = signed(&format!(r#""keyDatas": ["{}", "{}"]"#, key_data(&old), key_data(&new)));
    let met = verdict(&requirement, &[good(&other), good(&new)]).unwrap();
    assert_eq!(met[0].key, Some(fingerprint(&new)));
    assert_eq!(verdict(&requirement, &[good(&old), good(&new)]).unwrap()[0].key, Some(fingerprint(&old)));
}

#[test]
fn every_requirement_has_to_be_met() {
    let (first, second) = (ec(), ec());
    let both = [&first, &second].map(|key| signed(&format!(r#""keyData": "{}""#, key_data(key)))).join(",");
    let met = verdict(&both, &[good(&second), good(&first)]).unwrap();
    assert_eq!(
        met.iter().map(|one| one.key.clone().unwrap()).collect::<Vec<_>>(),
        [fingerprint(&first), fingerprint(&second)]
    );
    let error = refusal(&both, &[good(&first)]);
    let expected = format!("sigstoreSigned by keyData: signature 1: it was not made with key {}", fingerprint(&second));
    assert_eq!(error, expected);
}

/// Everything that is almost a signature of the image.
#[test]
fn other_signatures_are_refused() {
    let key = ec();
    let name = format!("{NAME}:v1");
    let text = payload(&index(), &name);
    let other = contract::names::Digest::of(b"other");
    let signature = good(&key);
    let by = |text: &str| attached(&key, text);
    let with =
        |signature_text: String| image::oci::AttachedSignature { signature: signature_text, ..signature.clone() };
    let lines = signature.signature[..64].to_owned() + "\n" + &signature.signature[64..] + "\n";
    let requirement = signed(&format!(r#""keyData": "{}""#, key_data(&key)));
    assert!(verdict(&requirement, &[with(lines.clone())]).is_ok(), "base64 in lines, as tools accept it");
    let wanted = format!("not as {NAME} with a tag or digest");
    for (label, signature, expected) in [
        ("wrong key", good(&ec()), format!("it was not made with key {}", fingerprint(&key))),
        ("other digest", by(&payload(&other, &name)), format!("it signs {other}")),
        ("name without tag or digest", by(&payload(&index(), NAME)), format!("it was signed as {NAME}, {wanted}")),
        (
            "other repository",
            by(&payload(&index(), "quay.io/os/other:v1")),
            format!("it was signed as quay.io/os/other:v1, {wanted}"),
        ),
        (
            "the mirror",
            by(&payload(&index(), "mirror.example/os/node:v1")),
            format!("it was signed as mirror.example/os/node:v1, {wanted}"),
        ),
        (
            "duplicate key",
            by(&text.replace("\"optional\"", "\"critical\":{},\"optional\"")),
            "parsing payload: payload has the field \"critical\" twice".to_owned(),
        ),
        (
            "extra field",
            by(&text.replace("\"optional\"", "\"more\":1,\"optional\"")),
            "payload has the unknown key \"more\"".to_owned(),
        ),
        (
            "other type",
            by(&text.replace("cosign container image signature", "atomic container signature")),
            "payload has the type \"atomic container signature\", not \"cosign container image signature\"".to_owned(),
        ),
        ("trailing bytes", by(&format!("{text}x")), "parsing payload: trailing characters".to_owned()),
        (
            "trailing bytes that are not signed",
            image::oci::AttachedSignature { payload: format!("{text} ").into_bytes(), ..signature.clone() },
            format!("it was not made with key {}", fingerprint(&key)),
        ),
        (
            "other payload",
            image::oci::AttachedSignature { payload: payload(&instance(), &name).into_bytes(), ..signature.clone() },
            format!("it was not made with key {}", fingerprint(&key)),
        ),
        (
            "broken base64",
            with(signature.signature.replace('=', "").replace(['A', 'B', 'C', 'D', 'E'], "-")),
            "decoding signature: ".to_owned(),
        ),
        ("base64 with spaces", with(lines.replace('\n', " ")), "decoding signature: ".to_owned()),
        ("no signature", with(String::new()), format!("it was not made with key {}", fingerprint(&key))),
        ("long signature", with("A".repeat(4100)), "signature has 4100 characters, more than 4096".to_owned()),
        (
            "sha256 twice",
            with(contract::base64::encode(&sign(&key, index().as_bytes()))),
            format!("it was not made with key {}", fingerprint(&key)),
        ),
        (
            "large payload",
            by(&text.replace("null", &format!("null{}", " ".repeat(1 << 16)))),
            "payload has 65770 bytes, more than 65536".to_owned(),
        ),
    ] {
        let error = refusal(&requirement, &[signature]);
        let got = error
            .strip_prefix("sigstoreSigned by keyData: signature 1: ")
            .unwrap_or(&error)
            .split(" at line ")
            .next()
            .unwrap();
        let matches = if expected.ends_with(": ") { got.starts_with(&expected) } else { got == expected };
        assert!(matches, "{label}: {got}, not {expected}");
    }
}

#[test]
fn number_of_signatures_is_limited() {
    let key = ec();
    let requirement = signed(&format!(r#""keyData": "{}""#, key_data(&key)));
    let mut signatures = vec![good(&ec()); MAX_SIGNATURES - 1];
    signatures.push(good(&key));
    assert!(verdict(&requirement, &signatures).is_ok(), "32 signatures");
    signatures.push(good(&key));
    let expected = format!("{} has 33 signatures, more than 32", pullspec());
    assert_eq!(verdict(&requirement, &signatures).unwrap_err(), expected);
    let expected = format!("{} has no signature, and its policy requires sigstoreSigned by keyData", pullspec());
    assert_eq!(verdict(&requirement, &[]).unwrap_err(), expected);
}

/// A reason quotes what a signer wrote, on one line of the log.
#[test]
fn reasons_are_short_and_printable() {
    let key = ec();
    let requirement = signed(&format!(r#""keyData": "{}""#, key_data(&key)));
    let long = attached(&key, &payload(&index(), &format!("quay.io/{}", "é".repeat(10_000))));
    let error = refusal(&requirement, &vec![long.clone(); 32]);
    assert!(error.len() < 1100 && error.ends_with('…'), "{} bytes: {error}", error.len());
    let error = refusal(&requirement, &[long]);
    assert!(error.len() < 300 && error.ends_with('…'), "{} bytes: {error}", error.len());
    let control = attached(&key, &payload(&index(), "quay.io/os\\n\\u001b[31m"));
    let error = refusal(&requirement, &[control]);
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn a_weak_key_meets_nothing() {
    let curves = "a key on an elliptic curve other than P-224, P-256, P-384 and P-521 is not supported";
    let kinds = "a key that is neither RSA nor ECDSA nor Ed25519 is not supported";
    for (key, expected) in [
        (rsa(1024), "an RSA key of 1024 bits is too short: 2048 are the least"),
        (curve(Nid::SECP256K1), curves),
        (PKey::generate_ed448().unwrap(), kinds),
    ] {
        let signature = good(&key);
        let why = verdict(&signed(&format!(r#""keyData": "{}""#, key_data(&key))), &[signature]).unwrap_err();
        let expected = format!(
            "checking {} against /etc/containers/policy.json: its scope \"quay.io\" of transport docker requires \
             sigstoreSigned by keyData, which no signature can meet: reading keyData: {expected}",
            pullspec()
        );
        assert_eq!(why, expected);
    }
}
