// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Endpoints that must not be asked, or cannot be, beside others that can; certificates that are none beside others. Of
//! what both understand, skopeo is asked the same question.

use anyhow::{Result, ensure};

use crate::case::{Case, Expected, File, PULL_SECRET, REGISTRIES, Text, case, nothing_was_asked};
use crate::daemons::Daemons;

/// Returns the cases.
pub fn endpoints(ca: &File) -> Vec<Case> {
    let blocked = "[[registry]]\nlocation = \"quay.example/release\"\nblocked = true\n";
    let mirror = "[[registry.mirror]]\nlocation = \"open.example/os\"\n";
    let never = (REGISTRIES, format!("{blocked}{mirror}").into());
    let all = format!("{blocked}{mirror}[[registry]]\nlocation = \"open.example\"\nblocked = true\n");
    let all = (REGISTRIES, all.into());
    let half = "[[registry]]\nlocation = \"open.example\"\n[[registry.mirror]]\nlocation = \"half.example:5000\"\n";
    let half = format!("{half}insecure = true\n");
    let blocked_mirror = format!("{half}[[registry]]\nlocation = \"half.example:5000\"\nblocked = true\n");
    let damaged = (PULL_SECRET, r#"{"auths": {"half.example:5000": {"auth": "!!"}}}"#.to_owned().into());
    let (half, blocked_mirror) = ((REGISTRIES, half.into()), (REGISTRIES, blocked_mirror.into()));
    let (released, node) = ("quay.example/release/node", "open.example/os/node");
    let reasons =
        &["registry \"open.example\" is blocked: /etc/", "registry \"quay.example/release\" is blocked: /etc/"];
    vec![
        judged(case("asks_the_mirror_of_a_blocked_registry", released, &[ca, &never], Expected::Image)),
        Case {
            after: nothing_was_asked,
            ..judged(case("asks_nobody_if_all_are_blocked", released, &[ca, &all], Expected::Error(reasons)))
        },
        Case {
            after: the_mirror_was_not_asked,
            ..judged(case("does_not_ask_a_blocked_mirror", node, &[ca, &blocked_mirror], Expected::Image))
        },
        Case {
            after: the_mirror_was_not_asked,
            ..judged(case("goes_on_where_credentials_are_damaged", node, &[ca, &half, &damaged], Expected::Image))
        },
        Case {
            after: nothing_was_asked,
            ..judged(case(
                "says_what_is_wrong_with_credentials",
                "half.example:5000/os/node",
                &[ca, &damaged],
                Expected::Error(&["half.example:5000/os/node", "setting it up", "the entry \"half.example:5000\" of"]),
            ))
        },
    ]
}

/// Returns the cases of files beside the CA that are no certificates.
pub fn certificates(ca: &File) -> Vec<Case> {
    const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n";
    let broken = |path| (path, BROKEN.to_owned().into());
    let nowhere = |path| (path, Text::Link("/etc/rhsm/ca/redhat-uep.pem"));
    let of_host = ("/etc/containers/certs.d/open.example/ca.crt", ca.1.clone());
    let node = "open.example/os/node";
    let case = |name, files: &[&File]| case(name, node, files, Expected::Image);
    vec![
        judged(case(
            "trusts_what_is_beside_a_damaged_one",
            &[&of_host, &broken("/etc/containers/certs.d/open.example/a.crt")],
        )),
        judged(case(
            "trusts_what_is_beside_a_damaged_anchor",
            &[ca, &broken("/etc/pki/ca-trust/source/anchors/a.crt")],
        )),
        case(
            "trusts_what_is_beside_a_link_to_nowhere",
            &[&of_host, &nowhere("/etc/containers/certs.d/open.example/redhat-ca.crt")],
        ),
        case(
            "trusts_the_ca_of_the_registry_in_the_directory_of_the_vendor",
            &[&("/usr/share/containers/certs.rootful.d/open.example/ca.crt", ca.1.clone())],
        ),
    ]
}

fn judged(case: Case) -> Case {
    Case { judged: true, ..case }
}

fn the_mirror_was_not_asked(daemons: &Daemons) -> Result<()> {
    let log = daemons.half.log()?;
    ensure!(!log.contains("GET "), "the mirror was asked: {log}");
    Ok(())
}
