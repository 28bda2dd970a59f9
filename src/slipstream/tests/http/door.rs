// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a registry says at `/v2/`, and what is done about it.

use anyhow::{Result, ensure};
use testkit::server::{Ask, Reply};

use crate::cases::{Case, case};

/// base64 of user:hush
pub const BASIC: &str = "Basic dXNlcjpodXNo";
const OURS: &str = "scope=repository%3Aos%2Fnode%3Apull";

/// A 401 with these challenges, in which `HOST` is the server's address.
fn challenge(ask: &Ask, challenges: &[&str]) -> Reply {
    let host = ask.header("host").unwrap_or_default();
    let lines = challenges.iter().map(|line| format!("WWW-Authenticate: {}", line.replace("HOST", host)));
    lines.fold(Reply::new("401 Unauthorized", ""), |reply, line| reply.header(&line))
}

/// A registry that says how to log in at `/v2/` only: elsewhere it answers with `status` until one has this authorization.
fn only_at_ping(ask: &Ask, status: &str, challenges: &[&str], wanted: &str) -> Reply {
    match (ask.path.as_str(), ask.header("authorization")) {
        ("/v2/", _) => challenge(ask, challenges),
        (path, _) if path.starts_with("/token") => Reply::new("200 OK", r#"{"token": "hush-token"}"#),
        (_, Some(given)) if given == wanted => Reply::good(ask),
        _ => Reply::new(status, ""),
    }
}

/// Checks that `/v2/` was asked first and once, and everything else with an authorization.
fn logged_in_first(asked: &[Vec<Ask>]) -> Result<()> {
    let pings = asked[0].iter().filter(|ask| ask.path == "/v2/").count();
    ensure!(pings == 1 && asked[0][0].path == "/v2/", "{pings} times at /v2/");
    let bare = |ask: &&Ask| ask.path != "/v2/" && ask.header("authorization").is_none();
    ensure!(!asked[0].iter().any(|ask| bare(&ask)), "asked without a login");
    Ok(())
}

fn tokens(asked: &[Vec<Ask>]) -> Vec<&Ask> {
    asked[0].iter().filter(|ask| ask.path.starts_with("/token")).collect()
}

pub fn cases() -> Vec<Case> {
    [pings(), orders(), scopes(), requests()].into_iter().flatten().collect()
}

fn pings() -> Vec<Case> {
    let statuses = [
        ("logs_in_where_only_v2_says_how_and_not_a_401", "logs_in_for_nobody_after_a_401", "401 Unauthorized"),
        ("logs_in_where_only_v2_says_how_and_not_a_403", "logs_in_for_nobody_after_a_403", "403 Forbidden"),
        ("logs_in_where_only_v2_says_how_and_not_a_404", "logs_in_for_nobody_after_a_404", "404 Not Found"),
    ];
    let known = |(name, _, status): (&'static str, &'static str, &'static str)| {
        case(name, move |ask, _| only_at_ping(ask, status, &["Basic realm=x"], BASIC))
            .with_password()
            .check(|asked, _| logged_in_first(asked))
    };
    let unknown = |(_, name, status): (&'static str, &'static str, &'static str)| {
        case(name, move |ask, _| {
            only_at_ping(ask, status, &["Bearer realm=\"http://HOST/token\""], "Bearer hush-token")
        })
        .check(|asked, _| {
            ensure!(tokens(asked).len() == 1 && tokens(asked)[0].path == format!("/token?{OURS}"));
            Ok(())
        })
    };
    let mut cases: Vec<_> = statuses.into_iter().map(known).chain(statuses.into_iter().map(unknown)).collect();
    cases.push(Case {
        silent_tls: true,
        ..case("asks_for_tls_once_if_it_gets_no_answer", |ask, _| Reply::good(ask))
            .within(std::time::Duration::from_secs(7))
    });
    cases.push(
        case("fails_where_v2_is_not_a_registry", |ask, _| match ask.path.as_str() {
            "/v2/" => Reply::new("404 Not Found", ""),
            _ => Reply::good(ask),
        })
        .fails("/v2/: HTTP status 404"),
    );
    cases
}

fn orders() -> Vec<Case> {
    const TOKEN: &str = "Bearer realm=\"http://HOST/token\",service=\"test\"";
    // Nothing listens there.
    const AWAY: &str = "Bearer realm=\"http://127.0.0.1:1/token\"";
    vec![
        case("takes_the_first_challenge", |ask, _| {
            only_at_ping(ask, "401 Unauthorized", &["Negotiate", "Basic realm=x", TOKEN], BASIC)
        })
        .with_password()
        .check(|asked, _| {
            ensure!(tokens(asked).is_empty(), "asked for a token");
            logged_in_first(asked)
        }),
        case("takes_the_first_challenge_that_can_be_answered", |ask, _| {
            only_at_ping(ask, "401 Unauthorized", &["Basic realm=x", TOKEN], "Bearer hush-token")
        }),
        case("takes_the_password_if_the_token_server_is_out_of_reach", |ask, _| {
            only_at_ping(ask, "401 Unauthorized", &[AWAY, "Basic realm=x"], BASIC)
        })
        .with_password()
        .check(|asked, _| logged_in_first(asked)),
        case("takes_the_password_if_no_token_server_is_named", |ask, _| {
            only_at_ping(ask, "401 Unauthorized", &["Bearer service=x", "Basic realm=x"], BASIC)
        })
        .with_password()
        .check(|asked, _| logged_in_first(asked)),
        case("asks_the_token_server_again_if_the_password_does_not_do", |ask, _| {
            match ask.path.starts_with("/token") && ask.count < 2 {
                true => Reply::new("503 Service Unavailable", ""),
                false => only_at_ping(ask, "401 Unauthorized", &[TOKEN, "Basic realm=x"], "Bearer hush-token"),
            }
        })
        .with_password(),
        case("keeps_the_password_if_the_token_server_refuses_it", |ask, _| match ask.path.starts_with("/token") {
            true => Reply::new("401 Unauthorized", ""),
            false => only_at_ping(ask, "401 Unauthorized", &[TOKEN, "Basic realm=x"], BASIC),
        })
        .with_password()
        .fails("HTTP status 401: the pull secret is wrong, or has nothing for it")
        .check(|asked, _| {
            ensure!(asked[0].len() == 2, "{} requests", asked[0].len());
            Ok(())
        }),
    ]
}

/// A registry that finds a token too narrow if it was got without this scope.
fn wants(ask: &Ask, scope: &str) -> Reply {
    let narrow = format!("Bearer realm=\"http://HOST/token\",error=\"insufficient_scope\",scope=\"{scope}\"");
    match (ask.path.starts_with("/token"), ask.header("authorization")) {
        (true, _) if ask.path.matches("scope=").count() == 2 => Reply::new("200 OK", r#"{"token": "hush-wide"}"#),
        (true, _) => Reply::new("200 OK", r#"{"token": "hush-narrow"}"#),
        (false, Some("Bearer hush-wide")) => Reply::good(ask),
        (false, Some(_)) => challenge(ask, &[&narrow]),
        (false, None) => challenge(ask, &[&narrow.replace("insufficient_scope", "invalid_token")]),
    }
}

fn scopes() -> Vec<Case> {
    vec![
        case("asks_for_no_more_than_a_pull_needs", |ask, _| {
            let greedy =
                "Bearer realm=\"http://HOST/token\",scope=\"repository:other/repo:pull,push registry:catalog:*\"";
            match (ask.path.starts_with("/token"), ask.header("authorization")) {
                (true, _) => Reply::new("200 OK", r#"{"token": "hush-token"}"#),
                (false, Some("Bearer hush-token")) => Reply::good(ask),
                _ => challenge(ask, &[greedy]),
            }
        })
        .with_password()
        .check(|asked, _| {
            ensure!(tokens(asked).len() == 1 && tokens(asked)[0].path == format!("/token?account=user&{OURS}"));
            Ok(())
        }),
        case("asks_for_more_if_a_token_was_too_narrow", |ask, _| {
            wants(ask, "repository:other:pull repository:os/node:pull,metadata_read,push")
        })
        .with_password()
        .check(|asked, _| {
            let last = tokens(asked).pop().map(|ask| ask.path.clone()).unwrap_or_default();
            let expected = format!("/token?account=user&{OURS}&{OURS}%2Cmetadata_read");
            ensure!(tokens(asked).len() == 2 && last == expected, "{last}");
            Ok(())
        }),
        case("asks_for_no_more_for_another_repository", |ask, _| wants(ask, "repository:other/repo:pull,list"))
            .with_password()
            .fails("HTTP status 401, also with what the pull secret has for it")
            .check(|asked, _| {
                ensure!(tokens(asked).iter().all(|ask| ask.path == format!("/token?account=user&{OURS}")));
                Ok(())
            }),
    ]
}

fn requests() -> Vec<Case> {
    vec![
        case("keeps_the_query_of_a_realm_with_a_fragment", |ask, _| {
            let realm = "Bearer realm=\"http://HOST/token?tenant=1#login\",service=test";
            only_at_ping(ask, "401 Unauthorized", &[realm], "Bearer hush-token")
        })
        .with_password()
        .check(|asked, _| {
            let path = format!("/token?tenant=1&account=user&service=test&{OURS}");
            ensure!(tokens(asked).iter().all(|ask| ask.path == path), "{:?}", tokens(asked)[0].path);
            Ok(())
        }),
        case("posts_a_refresh_token_without_expect", |ask, _| {
            let realm = "Bearer realm=\"http://HOST/token\",service=test";
            only_at_ping(ask, "401 Unauthorized", &[realm], "Bearer hush-token")
        })
        // libcurl asks before it sends more than a megabyte, or than 1 KiB if it is an old one.
        .with_identity_token(2 << 20)
        .check(|asked, _| {
            let token = tokens(asked).pop().cloned().unwrap_or_default();
            ensure!(token.method == "POST" && token.header("expect").is_none(), "{:?}", token.headers);
            ensure!(token.body.contains("grant_type=refresh_token") && token.body.contains(OURS));
            Ok(())
        }),
    ]
}
