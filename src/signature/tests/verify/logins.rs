// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures by certificates of Fulcio.

use image::oci::AttachedSignature;
use openssl::pkey::{PKey, Private};

use crate::authority::{Issued, Wish, email, login, now, reason, root};
use crate::kit::{NAME, bundle, ec, entry, good, index, key_data, payload, sign, signed, verdict};

const EMAIL: &str = "os@example.com";
const LOGIN: &str = "https://login.example";

fn fulcio(root: &Issued, log: &PKey<Private>) -> String {
    signed(&format!(
        r#""fulcio": {{"caData": "{}", "oidcIssuer": "{LOGIN}", "subjectEmail": "{EMAIL}"}}, "rekorPublicKeyData": "{}""#,
        root.data(),
        key_data(log)
    ))
}

/// Returns a leaf as Fulcio issues it, valid for ten minutes, an hour ago.
fn login_leaf() -> Wish {
    Wish::leaf().with(email(EMAIL)).with(login(1, LOGIN.as_bytes())).valid(now() - 3600, now() - 3000)
}

#[test]
fn a_certificate_of_fulcio_was_valid_when_it_was_logged() {
    let (root, log) = (root(), ec());
    let intermediate = Wish::ca("intermediate").valid(now() - 7200, now() - 1800).issue(Some(&root));
    let then = now() - 3300;
    let direct = login_leaf().issue(Some(&root));
    let below = login_leaf().issue(Some(&intermediate));
    let v2 = [&[0x0c, u8::try_from(LOGIN.len()).unwrap()][..], LOGIN.as_bytes()].concat();
    let newer = Wish::leaf().with(email(EMAIL)).with(login(8, &v2)).valid(then - 60, then + 60).issue(Some(&root));
    let both = login_leaf().with(login(8, &v2)).issue(Some(&root));
    for (label, signature) in [
        ("by the root", direct.sign_logged(&log, then)),
        (
            "by an intermediate",
            AttachedSignature { chain: Some(intermediate.pem() + &root.pem()), ..below.sign_logged(&log, then) },
        ),
        ("newer extension", newer.sign_logged(&log, then)),
        ("both extensions", both.sign_logged(&log, then)),
    ] {
        let met = verdict(&fulcio(&root, &log), &[signature]).unwrap_or_else(|error| panic!("{label}: {error}"));
        let requirement = format!("sigstoreSigned by fulcio for {EMAIL} of {LOGIN} and rekorPublicKeyData");
        assert_eq!((met[0].requirement.as_str(), &met[0].key), (requirement.as_str(), &None), "{label}");
    }
}

#[test]
fn other_logins_are_refused() {
    let (root, log) = (root(), ec());
    let then = now() - 3300;
    let direct = login_leaf().issue(Some(&root));
    let other = login_leaf().issue(Some(&root));
    let logged = |wish: Wish| wish.valid(then - 60, then + 60).issue(Some(&root)).sign_logged(&log, then);
    let plain = || Wish::leaf().with(email(EMAIL));
    let key = ec();
    let text = payload(&index(), &format!("{NAME}:v1"));
    let stolen = {
        let signature = contract::base64::encode(&sign(&key, text.as_bytes()));
        let raw = contract::base64::decode(&signature).unwrap();
        let entry = entry(direct.pem().as_bytes(), &raw, text.as_bytes());
        AttachedSignature { signature, bundle: Some(bundle(&log, &entry, then)), ..direct.sign() }
    };
    for (label, signature, expected) in [
        ("not logged", direct.sign(), "it has no bundle of a log"),
        ("no certificate", good(&key), "it has no certificate"),
        (
            "logged too late",
            direct.sign_logged(&log, now() - 60),
            "its certificate is not trusted: certificate has expired",
        ),
        (
            "logged too early",
            direct.sign_logged(&log, now() - 4000),
            "its certificate is not trusted: certificate is not yet valid",
        ),
        (
            "logged with another certificate",
            AttachedSignature { certificate: Some(other.pem()), ..direct.sign_logged(&log, then) },
            "the entry of the log is for another key or certificate",
        ),
        ("certificate of somebody else", stolen, "it was not made with the key of its certificate"),
        (
            "wrong issuer",
            login_leaf()
                .issue(Some(&Wish::ca("root").valid(now() - 86_400, now() + 60).issue(None)))
                .sign_logged(&log, then),
            "its certificate is not trusted: certificate signature failure",
        ),
        (
            "wrong login",
            logged(plain().with(login(1, b"https://other.example"))),
            "its certificate is for a login at \"https://other.example\", not at \"https://login.example\"",
        ),
        ("no login", logged(plain()), "its certificate does not say where somebody had logged in"),
        (
            "two logins",
            logged(plain().with(login(1, LOGIN.as_bytes())).with(login(8, b"\x0c\x01x"))),
            "its certificate is for a login at \"https://login.example\" and at \"x\"",
        ),
        (
            "same login twice",
            logged(plain().with(login(1, LOGIN.as_bytes())).with(login(1, LOGIN.as_bytes()))),
            "checking certificate 0 of its chain: the certificate has an extension twice",
        ),
        (
            "newer login that is no string",
            logged(plain().with(login(8, b"\x04\x01x"))),
            "reading DER: it has the tag 0x04, which is not one of a string",
        ),
        (
            "newer login with more behind",
            logged(plain().with(login(8, b"\x0c\x01xy"))),
            "reading DER: something follows",
        ),
        (
            "login that is no text",
            logged(plain().with(login(1, b"\xff"))),
            "reading the login of its certificate: invalid utf-8 sequence of 1 bytes from index 0",
        ),
        (
            "wrong email",
            logged(Wish::leaf().with(email("a@example.com")).with(login(1, LOGIN.as_bytes()))),
            "its certificate is for the emails [\"a@example.com\"], not for os@example.com",
        ),
    ] {
        assert_eq!(reason(&fulcio(&root, &log), signature), expected, "{label}");
    }
}
