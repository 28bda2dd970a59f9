// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pulls: from where, and with which configuration.

use std::sync::PoisonError;

use anyhow::{Result, ensure};

use crate::case::{CA, Case, Expected, File, POLICY, PROXY, PULL_SECRET, REGISTRIES, Text, case, nothing_was_asked};
use crate::daemons::{Daemons, PROXY_USER};
use crate::endpoints::{certificates, endpoints};
use crate::place::PROXY_SOURCE;
use crate::tokens::BASIC;

/// Returns all of them by module.
pub fn cases() -> [(&'static str, Vec<Case>); 8] {
    let ca = (CA, Text::Certificate("ca"));
    [
        ("trust", trust(&ca)),
        ("credentials", credentials(&ca)),
        ("places", places(&ca)),
        ("endpoints", endpoints(&ca)),
        ("certificates", certificates(&ca)),
        ("proxies", proxies(&ca)),
        ("policies", policies(&ca)),
        ("signatures", signatures(&ca)),
    ]
}

fn trust(ca: &File) -> Vec<Case> {
    let (text, other) = (ca.1.clone(), Text::Certificate("other"));
    let client = |host: &str| {
        let path = |end: &str| format!("/etc/docker/certs.d/{host}/node.{end}");
        [(path("cert"), Text::Certificate("client")), (path("key"), Text::Key("client"))]
    };
    let mut mutual = case("shows_its_client_certificate", "mutual.example/os/node", &[ca], Expected::Image);
    mutual.files.extend(client("mutual.example"));
    let guarded = |name, shown: &[&str], after| {
        let mut case =
            case(name, "guarded.example/os/node", &[ca, &auth(&[("guarded.example", BASIC)])], Expected::Image);
        case.files.extend(shown.iter().flat_map(|host| client(host)));
        Case { after, ..case }
    };
    let directory = |text| ("/etc/containers/certs.d/open.example/ca.crt", text);
    let insecure = "[[registry]]\nlocation = \"open.example\"\ninsecure = true\n".to_owned();
    vec![
        case("trusts_the_ca_of_the_cluster", "open.example/os/node", &[ca], Expected::Image),
        case("trusts_the_ca_of_the_registry", "open.example/os/node", &[&directory(text)], Expected::Image),
        mutual,
        guarded("keeps_its_client_certificate_from_the_token_server", &["guarded.example"], |daemons| {
            shown_to_token_server(daemons, "NONE")
        }),
        guarded(
            "shows_the_token_server_a_client_certificate_of_its_own",
            &["guarded.example", "tokens.example"],
            |daemons| shown_to_token_server(daemons, "SUCCESS"),
        ),
        case(
            "takes_any_certificate_of_an_insecure_registry",
            "open.example/os/node",
            &[&(REGISTRIES, insecure.into())],
            Expected::Image,
        ),
        case(
            "fails_without_the_ca",
            "open.example/os/node",
            &[],
            Expected::Error(&["open.example/os/node", "certificate"]),
        ),
        case(
            "fails_with_another_ca",
            "open.example/os/node",
            &[&(CA, other)],
            Expected::Error(&["open.example", "certificate"]),
        ),
        case(
            "fails_without_its_client_certificate",
            "mutual.example/os/node",
            &[ca],
            Expected::Error(&["mutual.example"]),
        ),
    ]
}

/// Checks what nginx says of the certificates at the token server.
fn shown_to_token_server(daemons: &Daemons, verdict: &str) -> Result<()> {
    let journal = daemons.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let right = journal.iter().all(|line| line.ends_with(&format!("client={verdict}")));
    ensure!(right && !journal.is_empty(), "not {verdict}: {journal:?}");
    Ok(())
}

fn auth(entries: &[(&str, &str)]) -> File {
    let list: Vec<_> = entries.iter().map(|(key, auth)| format!("{key:?}: {{\"auth\": {auth:?}}}")).collect();
    (PULL_SECRET, format!("{{\"auths\": {{{}}}}}", list.join(", ")).into())
}

fn credentials(ca: &File) -> Vec<Case> {
    // puller:wrong
    const WRONG: &str = "cHVsbGVyOndyb25n";
    let (basic, token) = ("basic.example:5000/os/node", "token.example/os/node");
    let closest = auth(&[("basic.example:5000", WRONG), ("basic.example:5000/os", BASIC), ("a.example", "!")]);
    let mut granted =
        case("gets_one_token_for_all_blobs", token, &[ca, &auth(&[("token.example", BASIC)])], Expected::Image);
    granted.after = |daemons| {
        let journal = daemons.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let asked: Vec<_> = journal.iter().filter(|line| line.starts_with('+')).collect();
        // One token serves all blobs.
        let query = "/token?account=puller&service=token.example&scope=repository%3Aos%2Fnode%3Apull ";
        ensure!(asked.len() == 1 && asked[0].contains(query), "it asked {asked:?}");
        Ok(())
    };
    let mut first = case("takes_the_closest_entry", basic, &[ca, &closest], Expected::Image);
    first.after = |daemons| {
        let log = daemons.basic.log()?;
        let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        let (pings, refused) = (count("\"GET /v2/ HTTP"), count("\" 401 "));
        // It logs in with the first request after it has asked how.
        ensure!(pings == 1 && refused == 1, "{pings} at /v2/, {refused} refused: {log}");
        Ok(())
    };
    vec![
        first,
        granted,
        case("fails_without_a_password", basic, &[ca], Expected::Error(&["basic.example:5000", "401", "no password"])),
        case(
            "fails_with_a_wrong_password",
            basic,
            &[ca, &auth(&[("basic.example:5000", WRONG)])],
            Expected::Error(&["basic.example:5000", "401"]),
        ),
        case(
            "gets_no_token_with_a_wrong_password",
            token,
            &[ca, &auth(&[("token.example", WRONG)])],
            Expected::Error(&["token.example", "getting a token", "401"]),
        ),
        case("gets_no_token_without_a_password", token, &[ca], Expected::Error(&["token.example", "401"])),
    ]
}

fn places(ca: &File) -> Vec<Case> {
    let mirrors = |text: &str| (REGISTRIES, Text::from(format!("[[registry]]\n{text}")));
    let mirror = |host: &str, more: &str| format!("[[registry.mirror]]\nlocation = \"{host}\"\n{more}");
    let rewritten = mirrors("prefix = \"quay.example/release\"\nlocation = \"open.example/os\"\n");
    let wild = mirrors(&format!("prefix = \"*.wild.example\"\n{}", mirror("open.example/os", "")));
    let half = mirrors(&format!("location = \"open.example\"\n{}", mirror("half.example:5000", "insecure = true\n")));
    let tags = mirror("half.example:5000", "insecure = true\npull-from-mirror = \"tag-only\"\n");
    let tags = mirrors(&format!("location = \"open.example\"\n{tags}"));
    let plain = mirrors("location = \"plain.example\"\ninsecure = true\n");
    let moved = mirrors("location = \"moved.example\"\ninsecure = true\n");
    let blocked = mirrors("location = \"open.example\"\nblocked = true\n");
    let missing = mirrors(&format!("location = \"open.example/gone\"\n{}", mirror("open.example/lost", "")));
    let mut halves =
        case("takes_what_a_mirror_lacks_from_the_registry", "open.example/os/node", &[ca, &half], Expected::Image);
    halves.after = |daemons| {
        let log = daemons.half.log()?;
        let count = |status: &str| {
            log.lines().filter(|line| line.contains("GET /v2/os/node/blobs/") && line.contains(status)).count()
        };
        let (served, lacked) = (count("\" 200 "), count("\" 404 "));
        ensure!(served >= 3 && lacked >= 1, "the mirror served {served} blobs and lacked {lacked}: {log}");
        Ok(())
    };
    let mut tagged = case("does_not_ask_a_mirror_for_tags", "open.example/os/node", &[ca, &tags], Expected::Image);
    tagged.after = |daemons| {
        let log = daemons.half.log()?;
        ensure!(!log.contains("GET "), "the mirror was asked: {log}");
        Ok(())
    };
    let web = |name, source| Case { source, ..case(name, "quay.example/os/node", &[ca], Expected::Image) };
    let gone = case(
        "fails_where_nginx_has_no_layout",
        "quay.example/os/node",
        &[ca],
        Expected::Error(&["https://web.example/absent", "404"]),
    );
    let refused = case(
        "does_not_ask_a_blocked_registry",
        "open.example/os/node",
        &[ca, &blocked],
        Expected::Error(&["registry \"open.example\" is blocked"]),
    );
    vec![
        case("goes_to_another_location", "quay.example/release/node", &[ca, &rewritten], Expected::Image),
        case("goes_to_the_mirror_of_a_wildcard", "a.wild.example/node", &[ca, &wild], Expected::Image),
        halves,
        tagged,
        web("pulls_a_layout_behind_nginx_with_tls", "https://web.example/node"),
        web("pulls_a_layout_behind_nginx_without_tls", "http://web.example/node/"),
        Case { source: "https://web.example/absent", ..gone },
        Case { after: nothing_was_asked, ..refused },
        case("goes_to_http_where_another_service_has_https", "plain.example/os/node", &[ca, &plain], Expected::Image),
        case("follows_an_insecure_registry_to_http", "moved.example/os/node", &[ca, &moved], Expected::Image),
        case(
            "does_not_follow_a_registry_to_http",
            "moved.example/os/node",
            &[ca],
            Expected::Error(&["a redirect from https to http://web.example/node/blobs/", "insecure = true"]),
        ),
        case(
            "fails_if_no_endpoint_has_it",
            "open.example/gone/node",
            &[ca, &missing],
            Expected::Error(&["open.example/lost/node", "open.example/gone/node", "404"]),
        ),
    ]
}

fn proxies(ca: &File) -> Vec<Case> {
    let env = |text: String| (PROXY, Text::from(text));
    let through = env(format!(
        "HTTP_PROXY=http://{PROXY_USER}@proxy.example:3128\nHTTPS_PROXY=http://{PROXY_USER}@proxy.example:3128\n"
    ));
    let around = env("HTTPS_PROXY=http://dead.example:3128\nNO_PROXY=localhost,10.0.0.0/8,.example\n".to_owned());
    let stranger = env("HTTPS_PROXY=http://nobody:wrong@proxy.example:3128\n".to_owned());
    let secret = auth(&[("basic.example:5000", BASIC)]);
    let mut tunnel =
        case("goes_through_a_proxy_with_a_password", "basic.example:5000/os/node", &[ca, &through], Expected::Image);
    tunnel.files.push((secret.0.to_owned(), secret.1));
    tunnel.after = |daemons| {
        let log = daemons.basic.log()?;
        let requests: Vec<_> = log.lines().filter(|line| line.contains("\"GET /v2/os/node/")).collect();
        let foreign = requests.iter().filter(|line| !line.starts_with(PROXY_SOURCE)).count();
        ensure!(requests.len() > 8 && foreign == 0, "{foreign} of {} requests went around: {log}", requests.len());
        ensure!(daemons.proxy.log()?.contains("CONNECT basic.example:5000"), "{}", daemons.proxy.log()?);
        Ok(())
    };
    let mut plain = case("goes_through_a_proxy_without_tls", "quay.example/os/node", &[&through], Expected::Image);
    plain.source = "http://web.example/node";
    plain.after = |daemons| {
        let log = daemons.proxy.log()?;
        ensure!(log.contains("GET http://web.example/node/blobs/"), "{log}");
        Ok(())
    };
    let dead = env("HTTPS_PROXY=http://dead.example:3128\n".to_owned());
    let dead = case(
        "fails_for_a_dead_proxy",
        "open.example/os/node",
        &[ca, &dead],
        Expected::Error(&["open.example/os/node", "dead.example"]),
    );
    let down =
        case("fails_for_a_dead_registry", "dead.example/os/node", &[ca], Expected::Error(&["dead.example/os/node"]));
    let bypassed = |case: Case| Case { impatient: true, after: nothing_was_asked, ..case };
    vec![
        bypassed(dead),
        bypassed(down),
        tunnel,
        plain,
        case("goes_around_a_dead_proxy", "open.example/os/node", &[ca, &around], Expected::Image),
        case(
            "fails_for_a_proxy_that_refuses_us",
            "open.example/os/node",
            &[ca, &stranger],
            Expected::Error(&["open.example", "the proxy refuses"]),
        ),
    ]
}

fn policies(ca: &File) -> Vec<Case> {
    let accept = r#"[{"type": "insecureAcceptAnything"}]"#;
    let signed = format!(
        r#"{{"default": {accept}, "transports": {{"docker": {{"open.example/os": [{{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}}]}}}}}}"#
    );
    let reject = format!(
        r#"{{"default": [{{"type": "reject"}}], "transports": {{"docker": {{"*.example": {accept}}}, "oci": {{"": [{{"type": "reject"}}]}}}}}}"#
    );
    let unmet = case(
        "asks_nothing_if_gpg_signatures_are_wanted",
        "open.example/os/node",
        &[ca, &(POLICY, signed.into())],
        Expected::Error(&["scope \"open.example/os\" of transport docker", "requires signedBy", "the MCO"]),
    );
    vec![
        case(
            "takes_what_a_wildcard_accepts",
            "open.example/os/node",
            &[ca, &(POLICY, reject.clone().into())],
            Expected::Image,
        ),
        Case { after: nothing_was_asked, ..unmet },
        case(
            "refuses_what_the_policy_rejects",
            "other.test/os/node",
            &[ca, &(POLICY, reject.into())],
            Expected::Error(&["its default says reject"]),
        ),
    ]
}

fn signatures(ca: &File) -> Vec<Case> {
    let (open, token) = ("open.example/os/node", "token.example/os/node");
    let web = "https://web.example/signed";
    let mirror = "[[registry]]\nlocation = \"open.example\"\n[[registry.mirror]]\nlocation = \"half.example:5000\"\n\
        insecure = true\n";
    let mirror = (REGISTRIES, Text::from(mirror.to_owned()));
    let secret = auth(&[("token.example", BASIC)]);
    let mut lacking =
        case("are_found_in_the_registry_if_a_mirror_lacks_them", open, &[ca, &mirror], Expected::Signature(open));
    lacking.after = |daemons| {
        let log = daemons.half.log()?;
        let asked = log.lines().any(|line| line.contains(".sig HTTP/") && line.contains("\" 404 "));
        ensure!(asked, "the mirror was not asked: {log}");
        Ok(())
    };
    let mut beside = case("are_asked_for_in_the_registry_if_a_layout_has_none", open, &[ca], Expected::Signature(open));
    beside.source = "https://web.example/node";
    let mut staged = case("are_found_in_a_layout_that_skopeo_made", open, &[ca], Expected::Signature(web));
    (staged.source, staged.after) = (web, nothing_was_asked);
    vec![
        case("are_found_by_tag", open, &[ca], Expected::Signature(open)),
        case("are_found_with_a_token", token, &[ca, &secret], Expected::Signature(token)),
        lacking,
        beside,
        staged,
    ]
}
