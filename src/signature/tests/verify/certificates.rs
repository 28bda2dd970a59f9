// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures by certificates of the administrator's CA.

use image::oci::AttachedSignature;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage};
use signature::Met;

use crate::authority::{Issued, Wish, email, names, now, reason, root};
use crate::kit::{NAME, ec, good, index, payload, rsa, sign, signed, verdict};

const EMAIL: &str = "os@example.com";
const HOST: &str = "os.example.com";

/// Returns a requirement that trusts a root, and perhaps an intermediate, for these names.
fn pki(root: &Issued, intermediate: Option<&Issued>, names: &str) -> String {
    let more = intermediate.map(|one| format!(r#""caIntermediatesData": "{}", "#, one.data())).unwrap_or_default();
    signed(&format!(r#""pki": {{"caRootsData": "{}", {more}{names}}}"#, root.data()))
}

fn for_email(root: &Issued) -> String {
    pki(root, None, &format!(r#""subjectEmail": "{EMAIL}""#))
}

#[test]
fn a_certificate_of_a_trusted_ca_meets_the_policy() {
    let root = root();
    let intermediate = Wish::ca("intermediate").issue(Some(&root));
    let below = Wish::ca("below").issue(Some(&intermediate));
    let chain = |issued: &[&Issued]| Some(issued.iter().map(|one| one.pem()).collect::<String>());
    let leaf = |issuer: &Issued| Wish::leaf().with(email(EMAIL)).issue(Some(issuer));
    let direct = leaf(&root);
    let own = for_email(&root);
    let two = leaf(&intermediate);
    let three = leaf(&below);
    let email_of = format!(r#""subjectEmail": "{EMAIL}""#);
    for (label, requirement, signature) in [
        ("by the root", own.clone(), direct.sign()),
        (
            "by an intermediate of the signature",
            own.clone(),
            AttachedSignature { chain: chain(&[&intermediate, &root]), ..two.sign() },
        ),
        ("by an intermediate of the policy", pki(&root, Some(&intermediate), &email_of), two.sign()),
        (
            "by intermediates of both",
            pki(&root, Some(&intermediate), &email_of),
            AttachedSignature { chain: chain(&[&below, &root]), ..three.sign() },
        ),
        ("by an intermediate that is the policy's root", for_email(&intermediate), two.sign()),
        ("by a certificate that is the policy's root", for_email(&direct), direct.sign()),
        ("without extended key usage", own.clone(), Wish::plain("leaf", vec![email(EMAIL)]).issue(Some(&root)).sign()),
        (
            "for any usage",
            own,
            Wish::plain("leaf", vec![email(EMAIL), ExtendedKeyUsage::new().other("2.5.29.37.0").build().unwrap()])
                .issue(Some(&root))
                .sign(),
        ),
    ] {
        let met = Met {
            requirement: format!("sigstoreSigned by pki for {EMAIL}"),
            key: None,
            identity: format!("{NAME}:v1"),
            digest: index(),
            endpoint: "mirror.example/os/node".to_owned(),
        };
        assert_eq!(verdict(&requirement, &[signature]), Ok(vec![met]), "{label}");
    }
}

#[test]
fn other_certificates_are_refused() {
    let root = root();
    let intermediate = Wish::ca("intermediate").issue(Some(&root));
    let issue = |wish: Wish| wish.with(email(EMAIL)).issue(Some(&root)).sign();
    let below = |issuer: &Issued| Wish::leaf().with(email(EMAIL)).issue(Some(issuer));
    let with_chain = |leaf: &Issued, chain: &[&Issued]| AttachedSignature {
        chain: Some(chain.iter().map(|one| one.pem()).collect()),
        ..leaf.sign()
    };
    let server = || ExtendedKeyUsage::new().server_auth().build().unwrap();
    let server_ca = Wish::ca("server").with(server()).issue(Some(&root));
    let no_ca = Wish::plain("middle", vec![]).issue(Some(&root));
    let not_ca = Wish::plain("middle", vec![BasicConstraints::new().build().unwrap()]).issue(Some(&root));
    let stranger = Wish::ca("root").issue(None);
    let good_leaf = below(&root);
    let text = payload(&index(), &format!("{NAME}:v1"));
    for (label, signature, expected) in [
        ("no certificate", good(&ec()), "it has no certificate"),
        (
            "expired",
            issue(Wish::leaf().valid(now() - 7200, now() - 3600)),
            "its certificate is not trusted: certificate has expired",
        ),
        (
            "not yet valid",
            issue(Wish::leaf().valid(now() + 3600, now() + 7200)),
            "its certificate is not trusted: certificate is not yet valid",
        ),
        (
            "wrong issuer of the same name",
            below(&stranger).sign(),
            "its certificate is not trusted: certificate signature failure",
        ),
        (
            "wrong issuer, which comes along",
            {
                let other = Wish::ca("other").issue(None);
                with_chain(&below(&other), &[&other, &root])
            },
            "its certificate is not trusted: self-signed certificate in certificate chain",
        ),
        (
            "no intermediate",
            below(&intermediate).sign(),
            "its certificate is not trusted: unable to get local issuer certificate",
        ),
        (
            "the last of a chain does not count",
            with_chain(&below(&intermediate), &[&intermediate]),
            "its certificate is not trusted: unable to get local issuer certificate",
        ),
        (
            "by a leaf",
            with_chain(&below(&no_ca), &[&no_ca, &root]),
            "its certificate is not trusted: invalid CA certificate",
        ),
        (
            "by one that is no CA",
            with_chain(&below(&not_ca), &[&not_ca, &root]),
            "its certificate is not trusted: invalid CA certificate",
        ),
        (
            "expired intermediate",
            {
                let old = Wish::ca("intermediate").valid(now() - 7200, now() - 3600).issue(Some(&root));
                with_chain(&below(&old), &[&old, &root])
            },
            "its certificate is not trusted: certificate has expired",
        ),
        (
            "for servers",
            Wish::plain("leaf", vec![email(EMAIL), server()]).issue(Some(&root)).sign(),
            "checking certificate 0 of its chain: it is not for code signing",
        ),
        (
            "by a CA for servers",
            with_chain(&below(&server_ca), &[&server_ca, &root]),
            "checking certificate 1 of its chain: it is not for code signing",
        ),
        (
            "RSA-1024",
            issue(Wish { key: rsa(1024), ..Wish::leaf() }),
            "its certificate is not trusted: EE certificate key too weak",
        ),
        (
            "self-signed",
            Wish::leaf().with(email(EMAIL)).issue(None).sign(),
            "its certificate is not trusted: self-signed certificate",
        ),
        (
            "other email",
            Wish::leaf().with(email("os@example.org")).issue(Some(&root)).sign(),
            "its certificate is for the emails [\"os@example.org\"], not for os@example.com",
        ),
        (
            "email in another case",
            Wish::leaf().with(email("OS@example.com")).issue(Some(&root)).sign(),
            "its certificate is for the emails [\"OS@example.com\"], not for os@example.com",
        ),
        (
            "no email",
            Wish::leaf().issue(Some(&root)).sign(),
            "its certificate is for the emails [], not for os@example.com",
        ),
        (
            "an unknown extension that is critical",
            issue(
                Wish::leaf().with(
                    openssl::x509::X509Extension::new_from_der(
                        &openssl::asn1::Asn1Object::from_str("1.2.3.4").unwrap(),
                        true,
                        &openssl::asn1::Asn1OctetString::new_from_bytes(b"x").unwrap(),
                    )
                    .unwrap(),
                ),
            ),
            "its certificate is not trusted: unhandled critical extension",
        ),
        (
            "signed with another key",
            AttachedSignature {
                signature: contract::base64::encode(&sign(&ec(), text.as_bytes())),
                ..good_leaf.sign()
            },
            "it was not made with the key of its certificate",
        ),
        (
            "another payload",
            AttachedSignature { payload: b"other".to_vec(), ..good_leaf.sign() },
            "it was not made with the key of its certificate",
        ),
        (
            "two certificates",
            AttachedSignature { certificate: Some(good_leaf.pem().repeat(2)), ..good_leaf.sign() },
            "reading its certificate: reading PEM: something follows its first block",
        ),
    ] {
        assert_eq!(reason(&for_email(&root), signature), expected, "{label}");
    }
}

#[test]
fn host_names_have_one_wildcard() {
    let root = root();
    for (label, host, san, expected) in [
        ("same", HOST, HOST, true),
        ("case", HOST, "OS.Example.com", true),
        ("wildcard", HOST, "*.example.com", true),
        ("wildcard for two labels", "a.os.example.com", "*.example.com", false),
        ("partial wildcard", HOST, "o*.example.com", false),
        ("other", HOST, "other.example.com", false),
        ("parent", HOST, "example.com", false),
        ("dot in front", ".example.com", HOST, false),
        ("address as name", "192.0.2.1", "192.0.2.1", false),
    ] {
        let leaf = Wish::leaf().with(names(None, Some(san), None)).issue(Some(&root));
        let requirement = pki(&root, None, &format!(r#""subjectHostname": "{host}""#));
        let got = verdict(&requirement, &[leaf.sign()]);
        assert_eq!(got.is_ok(), expected, "{label}: {got:?}");
        if !expected {
            let why = reason(&requirement, leaf.sign());
            let known = [
                "its certificate is not trusted: hostname mismatch",
                "its certificate is not trusted: IP address mismatch",
                "\".example.com\" is not a host name",
            ];
            assert!(known.contains(&why.as_str()), "{label}: {why}");
        }
    }
    let address = Wish::leaf().with(names(None, None, Some("192.0.2.1"))).issue(Some(&root));
    assert!(verdict(&pki(&root, None, r#""subjectHostname": "192.0.2.1""#), &[address.sign()]).is_ok());
    // The common name of a subject is not a host.
    let bare = Wish::leaf().issue(Some(&root));
    let why = reason(&pki(&root, None, r#""subjectHostname": "leaf""#), bare.sign());
    assert_eq!(why, "its certificate is not trusted: hostname mismatch");
    // Both names have to be there.
    let both = pki(&root, None, &format!(r#""subjectHostname": "{HOST}", "subjectEmail": "{EMAIL}""#));
    let named = |email, host| Wish::leaf().with(names(email, host, None)).issue(Some(&root)).sign();
    assert!(verdict(&both, &[named(Some(EMAIL), Some(HOST))]).is_ok());
    assert_eq!(reason(&both, named(None, Some(HOST))), "its certificate is for the emails [], not for os@example.com");
    assert_eq!(reason(&both, named(Some(EMAIL), None)), "its certificate is not trusted: hostname mismatch");
}
