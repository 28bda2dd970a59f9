// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures by keys that a log has to have seen.

use image::oci::AttachedSignature;

use crate::kit::{bundle, curve, ec, entry, fingerprint, good, key_data, logged, refusal, rsa, sign, signed, verdict};

#[test]
fn a_logged_signature_meets_the_policy() {
    for (label, key, log) in
        [("P-256", ec(), ec()), ("RSA", rsa(2048), ec()), ("log with P-384", ec(), curve(openssl::nid::Nid::SECP384R1))]
    {
        let data = [key_data(&key), key_data(&ec()), key_data(&log)];
        let requirement =
            signed(&format!(r#""keyData": "{}", "rekorPublicKeyDatas": ["{}", "{}"]"#, data[0], data[1], data[2]));
        let met = verdict(&requirement, &[good(&key), logged(&key, &log)]).unwrap();
        assert_eq!(met[0].key, Some(fingerprint(&key)), "{label}");
        assert_eq!(met[0].requirement, "sigstoreSigned by keyData and rekorPublicKeyDatas, rekorPublicKeyDatas");
    }
}

/// Every way in which a bundle can be one of something else.
#[test]
fn other_entries_are_refused() {
    let (key, log) = (ec(), ec());
    let requirement =
        signed(&format!(r#""keyData": "{}", "rekorPublicKeyData": "{}""#, key_data(&key), key_data(&log)));
    let signature = logged(&key, &log);
    let raw = contract::base64::decode(&signature.signature).unwrap();
    let pem = key.public_key_to_pem().unwrap();
    let own = entry(&pem, &raw, &signature.payload);
    let with = |bundle: String| AttachedSignature { bundle: Some(bundle), ..signature.clone() };
    assert!(verdict(&requirement, &[with(bundle(&log, &own, 1))]).is_ok());
    let of_log = format!("its bundle was not signed with the log's key {}", fingerprint(&log));
    let moved = bundle(&log, &own, 1).replace("\"integratedTime\":1,", "\"integratedTime\":2,");
    let swapped = bundle(&log, &own, 1).replace(
        &contract::base64::encode(own.as_bytes()),
        &contract::base64::encode(own.replace("0.0.1", "0.0.2").as_bytes()),
    );
    for (label, signature, expected) in [
        ("no bundle", good(&key), "it has no bundle of a log".to_owned()),
        ("no JSON", with("x".to_owned()), "parsing bundle: expected value".to_owned()),
        ("another log", with(bundle(&ec(), &own, 1)), of_log.clone()),
        ("another time", with(moved), of_log.clone()),
        ("another body than was signed", with(swapped), of_log.clone()),
        (
            "another key",
            with(bundle(&log, &entry(&ec().public_key_to_pem().unwrap(), &raw, &signature.payload), 1)),
            "the entry of the log is for another key or certificate".to_owned(),
        ),
        (
            "another signature",
            with(bundle(&log, &entry(&pem, &sign(&key, &signature.payload), &signature.payload), 1)),
            "the entry of the log is for another signature".to_owned(),
        ),
        (
            "another payload",
            with(bundle(&log, &entry(&pem, &raw, b"other"), 1)),
            "the entry of the log is for another payload".to_owned(),
        ),
        (
            "two keys",
            with(bundle(&log, &entry(&[&pem[..], &pem[..]].concat(), &raw, &signature.payload), 1)),
            "reading the signer of the entry: reading PEM: something follows its first block".to_owned(),
        ),
        (
            "another kind",
            with(bundle(&log, &own.replace("hashedrekord", "intoto"), 1)),
            "the entry is of kind intoto 0.0.1 sha256, not hashedrekord 0.0.1 sha256".to_owned(),
        ),
        (
            "logged, but not signed",
            AttachedSignature { payload: b"other".to_vec(), ..signature.clone() },
            format!("it was not made with key {}", fingerprint(&key)),
        ),
    ] {
        let error = refusal(&requirement, &[signature]);
        let prefix = "sigstoreSigned by keyData and rekorPublicKeyData: signature 1: ";
        let got = error.strip_prefix(prefix).unwrap_or(&error).split(" at line ").next();
        assert_eq!(got, Some(expected.as_str()), "{label}");
    }
}
