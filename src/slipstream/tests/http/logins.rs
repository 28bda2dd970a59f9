// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Passwords and tokens.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use testkit::server::{Ask, Reply};

use crate::cases::{Case, case};
use crate::door::BASIC;

fn token_challenge(ask: &Ask) -> Reply {
    let host = ask.header("host").unwrap_or_default();
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"test\",scope=\"repository:os/node:pull\""
    );
    Reply::new("401 Unauthorized", "").header(&challenge)
}

pub fn cases() -> Vec<Case> {
    let used = AtomicUsize::new(0);
    vec![
        case("fails_if_its_token_is_refused", |ask, _| match ask.path.starts_with("/token") {
            true => Reply::new("200 OK", r#"{"token": "hush-token"}"#),
            false => token_challenge(ask),
        })
        .fails("HTTP status 401, also with what the pull secret has for it"),
        case("gets_another_token_when_one_ends", move |ask, _| {
            if ask.path.starts_with("/token") {
                let good = ask.header("authorization") == Some(BASIC)
                    && ask.path == "/token?account=user&service=test&scope=repository%3Aos%2Fnode%3Apull";
                let token = format!(r#"{{"token": "t{}"}}"#, ask.count);
                return if good { Reply::new("200 OK", token) } else { Reply::new("401 Unauthorized", "") };
            }
            // The first token is good for three requests.
            let good = match ask.header("authorization") {
                Some("Bearer t0") => used.fetch_add(1, Ordering::Relaxed) < 3,
                Some("Bearer t1") => true,
                _ => false,
            };
            if good { Reply::good(ask) } else { token_challenge(ask) }
        })
        .with_password()
        .check(|asked, _| {
            let tokens = asked[0].iter().filter(|ask| ask.path.starts_with("/token")).count();
            ensure!(tokens == 2, "{tokens} tokens");
            Ok(())
        }),
        case("fails_for_a_wrong_password", |ask, _| match ask.path.starts_with("/token") {
            true => Reply::new("401 Unauthorized", ""),
            false => token_challenge(ask),
        })
        .with_password()
        .fails("HTTP status 401: the pull secret is wrong, or has nothing for it"),
        case("fails_without_a_password", |_, _| {
            Reply::new("401 Unauthorized", "").header("WWW-Authenticate: Basic realm=x")
        })
        .fails("there is no password for it in the pull secret"),
        case("takes_no_password_to_another_host", |ask, _| {
            // localhost is the same server, and another host for who has credentials.
            let host = ask.header("host").unwrap_or_default();
            let here = host.starts_with("127.0.0.1");
            let known = ask.header("authorization") == Some(BASIC);
            match (here, known) {
                (true, false) => Reply::new("401 Unauthorized", "").header("WWW-Authenticate: Basic realm=x"),
                (true, true) if ask.is_blob() => {
                    let port = host.rsplit(':').next().unwrap_or_default();
                    let location = format!("Location: http://localhost:{port}{}?signature=hush", ask.path);
                    Reply::new("307 Temporary Redirect", "").header(&location)
                }
                (true, true) => Reply::good(ask),
                (false, true) => Reply::new("400 Bad Request", "credentials where they do not belong"),
                (false, false) => Reply::good(ask),
            }
        })
        .with_password()
        .check(|asked, _| {
            let there: Vec<_> = asked[0]
                .iter()
                .filter(|ask| ask.header("host").is_some_and(|host| host.starts_with("localhost")))
                .collect();
            ensure!(there.len() == 5, "{} requests at the other host", there.len());
            ensure!(there.iter().all(|ask| ask.header("authorization").is_none()), "credentials went along");
            Ok(())
        }),
    ]
}
