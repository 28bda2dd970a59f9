// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Certificates that are whole, damaged, and mixed in one file.

use super::*;
use crate::containers::fixtures::{ONE, TWO};

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::decode(&body).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64::encode(der))
}

/// A list of uses, as OpenSSL adds it.
fn uses(tag: u8, names: &[&[u8]]) -> Vec<u8> {
    let names: Vec<u8> =
        names.iter().flat_map(|name| [&[OBJECT_IDENTIFIER, name.len() as u8][..], name].concat()).collect();
    [&[tag, names.len() as u8][..], &names].concat()
}

/// `y` for a certificate, `n` for one that is not for servers, `!` for one that cannot be parsed.
fn shown(found: &[Result<Certificate>]) -> String {
    let letter = |found: &Result<Certificate>| found.as_ref().map_or('!', |c| if c.for_servers { 'y' } else { 'n' });
    found.iter().map(letter).collect()
}

#[test]
fn certificates_of_files() {
    let cut = ONE.get(..ONE.len() / 2).unwrap();
    let trusted = |added: &[&[u8]]| {
        let content = added.concat();
        pem(TRUSTED, &[&der(ONE)[..], &[SEQUENCE, content.len() as u8], &content].concat())
    };
    let mail: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 4];
    for (label, text, of_go, of_p11_kit) in [
        ("nothing", String::new(), "", ""),
        ("text", "no certificate".to_owned(), "", ""),
        ("one", ONE.to_owned(), "y", "y"),
        ("two, with words around", format!("# One\n{ONE}and\n{TWO}end"), "yy", "yy"),
        ("line feeds of Windows, spaces", ONE.replace('\n', " \r\n  "), "y", "y"),
        ("one long line", pem(PLAIN, &der(ONE)), "y", "y"),
        ("broken, good", format!("{}{ONE}", pem(PLAIN, b"MIIB")), "!y", "!y"),
        ("good, no base64", format!("{ONE}{}", ONE.replace("MII", "!!!")), "y!", "y!"),
        ("cut, good", format!("{cut}\n{ONE}"), "!y", "!y"),
        ("good, cut", format!("{ONE}{cut}"), "y!", "y!"),
        ("another end", ONE.replace("-----END CERT", "-----END T"), "!", "!"),
        ("a key, good", format!("{}{ONE}", pem("PRIVATE KEY", b"hush")), "y", "y"),
        ("one byte too many", pem(PLAIN, &[&der(ONE)[..], &[0]].concat()), "!", "!"),
        ("one byte short", pem(PLAIN, &der(ONE)[..der(ONE).len() - 1]), "!", "!"),
        ("trusted for nothing in particular", pem(TRUSTED, &der(ONE)), "", "y"),
        ("trusted for an addition without uses", trusted(&[]), "", "y"),
        ("trusted for servers", trusted(&[&uses(SEQUENCE, &[mail, &SERVER])]), "", "y"),
        ("trusted for anything", trusted(&[&uses(SEQUENCE, &[&ANY])]), "", "y"),
        ("trusted for mail", trusted(&[&uses(SEQUENCE, &[mail])]), "", "n"),
        ("trusted for nothing", trusted(&[&uses(SEQUENCE, &[])]), "", "n"),
        ("rejected for servers", trusted(&[&uses(REJECTED, &[&SERVER])]), "", "n"),
        ("rejected for mail", trusted(&[&uses(REJECTED, &[mail]), &[UTF8_STRING, 1, b'x']]), "", "y"),
        ("both", trusted(&[&uses(SEQUENCE, &[&SERVER]), &uses(REJECTED, &[&ANY])]), "", "n"),
        ("an addition that is damaged", trusted(&[&[SEQUENCE, 9]]), "", "!"),
        ("an addition to one that has none", pem(PLAIN, &[&der(ONE)[..], &[SEQUENCE, 0]].concat()), "!", "!"),
    ] {
        assert_eq!(shown(&of_pem(text.as_bytes())), of_go, "{label}");
        assert_eq!(shown(&of_file(text.as_bytes())), of_p11_kit, "{label}");
    }
    assert_eq!((shown(&of_pem(&der(ONE))), shown(&of_file(&der(ONE)))), (String::new(), "y".to_owned()), "DER");
    assert_eq!(shown(&of_file(&[SEQUENCE, 1])), "!", "DER that is cut");
}

#[test]
fn what_is_handed_on_is_canonical() {
    let found = of_pem(pem(PLAIN, &der(ONE)).as_bytes()).remove(0).unwrap();
    assert_eq!(String::from_utf8(found.to_pem()).unwrap(), ONE);
}

#[test]
fn certificates_are_alike_by_number_or_key() {
    let parse = |der: &[u8]| Certificate::parse(der, PLAIN).unwrap();
    let (one, two) = (parse(&der(ONE)), parse(&der(TWO)));
    let change = |part: &[u8]| {
        let mut changed = der(ONE);
        let at = changed.windows(part.len()).position(|window| window == part).unwrap() + part.len() - 1;
        changed[at] ^= 1;
        parse(&changed)
    };
    let mut serial = one.number.clone();
    serial.truncate(2 + usize::from(serial[1]));
    assert!(one.is_like(&one) && !one.is_like(&two));
    assert!(one.is_like(&change(&serial)), "another certificate for the key");
    assert!(one.is_like(&change(&one.key)), "another key in the certificate");
}

/// Each byte of a certificate, changed: what is still one has kept its form. Held against OpenSSL 3.0.
#[test]
fn changed_certificates_are_parsed_or_refused() {
    let whole = der(ONE);
    let (mut good, mut bad) = (0, 0);
    for at in 0..whole.len() {
        for bit in [1, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            match Certificate::parse(&changed, PLAIN) {
                Ok(certificate) => {
                    assert_eq!(certificate.der, changed);
                    good += 1;
                }
                Err(_) => bad += 1,
            }
        }
    }
    // Names, times, keys and signatures may be anything; tags and lengths may not.
    assert!(good > 500 && bad > 250, "{good} are good, {bad} are not");
    (0..whole.len()).for_each(|len| assert!(Certificate::parse(&whole[..len], PLAIN).is_err(), "{len}"));
}
