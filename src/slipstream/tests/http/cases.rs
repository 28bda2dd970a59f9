// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ways to misbehave, and what has to come of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use source::http::Limits;
use testkit::server::{Ask, Reply};

use crate::image::QUICK;

/// How a server answers a request, given the hex digits of the layers' digests.
pub type Behaves = dyn Fn(&Ask, &[String]) -> Reply + Send + Sync;
/// Each endpoint, and its error if there was one.
pub type Log = [(String, Option<String>)];

/// Servers, and what has to come of a pull from them.
pub struct Case {
    pub name: &'static str,
    pub servers: Vec<Arc<Behaves>>,
    /// The entry for the first server in auth.json.
    pub credentials: Option<String>,
    /// TLS gets no answer from the servers.
    pub silent_tls: bool,
    pub time: Duration,
    pub limits: Limits,
    /// Part of the error; `None`: it has to work.
    pub error: Option<&'static str>,
    /// Checks what each server was asked, and the log.
    pub check: fn(&[Vec<Ask>], &Log) -> Result<()>,
}

pub fn case(name: &'static str, behaves: impl Fn(&Ask, &[String]) -> Reply + Send + Sync + 'static) -> Case {
    let time = Duration::from_secs(30);
    let (servers, limits): (Vec<Arc<Behaves>>, _) = (vec![Arc::new(behaves)], QUICK);
    Case { name, servers, credentials: None, silent_tls: false, time, limits, error: None, check: |_, _| Ok(()) }
}

impl Case {
    pub fn fails(self, error: &'static str) -> Self {
        Self { error: Some(error), ..self }
    }

    /// And then one that is good.
    pub fn then_good(mut self) -> Self {
        self.servers.push(Arc::new(|ask, _| Reply::good(ask)));
        self
    }

    pub fn check(self, check: fn(&[Vec<Ask>], &Log) -> Result<()>) -> Self {
        Self { check, ..self }
    }

    pub fn with_password(self) -> Self {
        // user:hush
        Self { credentials: Some(r#"{"auth": "dXNlcjpodXNo"}"#.to_owned()), ..self }
    }

    /// Has a refresh token of this length instead of a password.
    pub fn with_identity_token(self, length: usize) -> Self {
        let token = "hush".repeat(length / 4);
        // user:
        Self { credentials: Some(format!(r#"{{"auth": "dXNlcjo=", "identitytoken": "{token}"}}"#)), ..self }
    }

    /// Gives a server a thirtieth of the time that it really has for the first byte.
    pub fn hasty(mut self) -> Self {
        (self.limits.first_byte, self.limits.first_byte_alone) = (Duration::from_secs(1), Duration::from_secs(10));
        self
    }

    /// And then one that answers as the first one does.
    pub fn twice(mut self) -> Self {
        self.servers.extend(self.servers.first().cloned());
        self
    }

    pub fn within(self, time: Duration) -> Self {
        Self { time, ..self }
    }
}

/// Whether it is about the layer with this number.
pub fn is_layer(ask: &Ask, layers: &[String], n: usize) -> bool {
    ask.path.ends_with(&layers[n])
}

fn resumed(asked: &[Vec<Ask>]) -> Vec<&Ask> {
    asked.iter().flatten().filter(|ask| ask.from().is_some()).collect()
}

/// Cut every blob the first time.
fn cut_first(ask: &Ask, then: fn(&Ask) -> Reply) -> Reply {
    if ask.is_blob() && ask.count == 0 { Reply::good(ask).cut() } else { then(ask) }
}

/// Returns the cases that are here, by module.
pub fn all() -> [(&'static str, Vec<Case>); 3] {
    [("streams", streams()), ("answers", answers()), ("places", places())]
}

fn streams() -> Vec<Case> {
    vec![
        case("pulls_from_a_good_server", |ask, _| Reply::good(ask)).check(|asked, log| {
            let manifest = asked[0].iter().find(|ask| ask.path.contains("/manifests/")).context("no manifest")?;
            let accept = manifest.header("accept").unwrap_or_default();
            ensure!(accept.contains("oci.image.index.v1") && accept.contains("docker.distribution.manifest.v2"));
            ensure!(log.len() == 1 && log[0].1.is_none());
            ensure!(asked[0].len() == 7 && asked[0][0].path == "/v2/", "{} requests", asked[0].len());
            Ok(())
        }),
        case("resumes_after_a_reset", |ask, _| cut_first(ask, Reply::good)).check(|asked, _| {
            ensure!(resumed(asked).len() >= 3, "not resumed");
            Ok(())
        }),
        case("starts_again_if_the_range_is_ignored", |ask, _| cut_first(ask, Reply::whole)),
        case("starts_again_if_the_range_is_refused", |ask, _| {
            cut_first(ask, |ask| match ask.from() {
                Some(_) => Reply::new("416 Range Not Satisfiable", ""),
                None => Reply::good(ask),
            })
        }),
        case("does_not_believe_a_wrong_content_range", |ask, _| {
            cut_first(ask, |ask| {
                let mut reply = Reply::good(ask);
                let total = ask.content.as_ref().map_or(0, Vec::len);
                reply
                    .headers
                    .iter_mut()
                    .for_each(|line| *line = format!("Content-Range: bytes 1-{}/{total}", total - 1));
                reply
            })
        }),
        case("gives_up_if_a_reset_follows_every_byte", |ask, layers| {
            let reply = Reply::good(ask);
            if is_layer(ask, layers, 1) { Reply { cut: Some(1), ..reply } } else { reply }
        })
        .fails("after 8 tries"),
        case("takes_http_1_0_without_a_length", |ask, _| Reply { old: true, ..Reply::whole(ask).without_length() }),
        case("takes_http_1_0_without_a_length_that_was_cut", |ask, _| {
            let reply = Reply { old: true, ..Reply::whole(ask).without_length() };
            if ask.is_blob() && ask.count == 0 { reply.cut() } else { reply }
        }),
        case("fails_for_a_wrong_length", |ask, layers| {
            let reply = Reply::good(ask);
            let length = reply.body.len() + 10;
            if is_layer(ask, layers, 1) {
                Reply { length: Some(length), cut: Some(length - 10), ..reply }
            } else {
                reply
            }
        })
        .fails("bytes instead of"),
        case("stops_at_the_end_of_layers_that_do_not_end", |ask, _| {
            let reply = Reply::good(ask);
            if ask.is_blob() { Reply { endless: true, ..reply.without_length() } } else { reply }
        }),
        case("fails_for_an_endless_manifest", |ask, _| Reply { endless: true, ..Reply::good(ask).without_length() })
            .fails("is larger than the limit of 4194304 bytes"),
        case("resumes_after_a_slow_drip", |ask, layers| {
            let reply = Reply::good(ask);
            let pause = (is_layer(ask, layers, 2) && ask.count == 0).then_some(Duration::from_millis(50));
            Reply { pause, ..reply }
        })
        .check(|asked, _| {
            ensure!(resumed(asked).len() == 1, "not resumed");
            Ok(())
        }),
        case("fails_at_the_deadline_without_an_answer", |ask, _| {
            sleep(Duration::from_secs(5));
            Reply::good(ask)
        })
        .within(Duration::from_millis(1500))
        .fails("deadline"),
    ]
}

fn answers() -> Vec<Case> {
    let requests = AtomicUsize::new(0);
    vec![
        case("tries_again_after_a_500", move |ask, _| {
            let n = requests.fetch_add(1, Ordering::Relaxed);
            if n.is_multiple_of(2) { Reply::new("500 Internal Server Error", "") } else { Reply::good(ask) }
        }),
        case("gives_up_if_every_answer_is_a_500", |_, _| Reply::new("500 Internal Server Error", ""))
            .fails("HTTP status 500; after 8 tries"),
        case("waits_as_long_as_a_429_says", |ask, _| {
            let retry = Reply::new("429 Too Many Requests", "").header("Retry-After: 1");
            if ask.count == 0 && ask.path.contains("/manifests/") { retry } else { Reply::good(ask) }
        }),
        case("fails_if_a_429_wants_more_time_than_there_is", |_, _| {
            Reply::new("429 Too Many Requests", "").header("Retry-After: 3600")
        })
        .fails("s, the deadline is in 29 s"),
        case("asks_once_if_it_is_forbidden", |_, _| Reply::new("403 Forbidden", "")).fails("HTTP status 403").check(
            |asked, _| {
                ensure!(asked[0].len() == 1, "{} requests", asked[0].len());
                Ok(())
            },
        ),
        case("shows_the_reason_of_a_404", |_, _| {
            Reply::new("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown\nto us"}]}"#)
        })
        .fails("HTTP status 404: MANIFEST_UNKNOWN unknown to us"),
        case("fails_for_a_204", |_, _| Reply::new("204 No Content", "")).fails("HTTP status 204 is no answer to this"),
        case("fails_for_a_range_that_was_not_asked_for", |ask, _| {
            Reply { status: "206 Partial Content".to_owned(), ..Reply::good(ask) }.header("Content-Range: bytes 0-9/10")
        })
        .fails("it sent the range from byte 0 instead of 0"),
        case("fails_for_a_redirect_loop", |ask, _| {
            Reply::new("302 Found", "").header(&format!("Location: {}", ask.path))
        })
        .fails("more than 5 redirects"),
        case("fails_for_a_redirect_to_a_file", |_, _| {
            Reply::new("302 Found", "").header("Location: file:///etc/shadow")
        })
        .fails("URL has the scheme \"file\""),
        case("follows_a_redirect_that_a_browser_would_escape", |ask, _| {
            match ask.path.contains('?') || ask.path == "/v2/" {
                true => Reply::good(ask),
                false => Reply::new("307 Temporary Redirect", "")
                    .header(&format!("Location: /a b{}?name=\"node image\"&é", ask.path)),
            }
        })
        .check(|asked, _| {
            let there: Vec<_> = asked[0].iter().filter(|ask| ask.path.contains('?')).collect();
            ensure!(there.len() == 6, "{} requests", there.len());
            let escaped = |ask: &&Ask| {
                ask.path.starts_with("/a%20b/v2/") && ask.path.ends_with("?name=%22node%20image%22&%C3%A9")
            };
            ensure!(there.iter().all(escaped), "{there:?}");
            Ok(())
        }),
        case("rules_out_content_codings", |ask, _| match ask.header("accept-encoding") {
            Some("identity") => Reply::good(ask),
            _ => Reply::new("200 OK", "zipped").header("Content-Encoding: gzip"),
        }),
        // Apache's mod_mime_magic does that.
        case("takes_a_layer_that_is_labelled_with_its_own_compression", |ask, _| {
            Reply::good(ask).header("Content-Encoding: x-gzip")
        }),
        case("says_which_coding_bytes_have_that_do_not_fit", |ask, layers| match is_layer(ask, layers, 1) {
            true => Reply::new("200 OK", "zipped").header("Content-Encoding: gzip"),
            false => Reply::good(ask),
        })
        .fails(", in the content coding \"gzip\""),
        case("fails_for_a_flood_of_headers", |ask, _| {
            let mut reply = Reply::good(ask);
            reply.headers.extend((0..5000).map(|n| format!("X-{n}: y")));
            reply
        })
        .fails("the head of the answer has too many lines or bytes"),
        case("fails_for_what_is_not_http", |_, _| Reply::new("\r\n\r\n", "")).fails("HTTP"),
    ]
}

fn places() -> Vec<Case> {
    vec![
        case("asks_once_more_for_wrong_bytes", |ask, layers| {
            let mut reply = Reply::good(ask);
            if is_layer(ask, layers, 1) {
                reply.body[20] ^= 1;
            }
            reply
        })
        .fails("sha256 mismatch")
        .check(|asked, _| {
            let most = asked[0].iter().map(|ask| ask.count).max();
            ensure!(most == Some(1), "asked {most:?} times more");
            Ok(())
        }),
        case("goes_to_the_next_place_for_wrong_bytes", |ask, _| {
            let mut reply = Reply::good(ask);
            let middle = reply.body.len() / 2;
            reply.body[middle] ^= 1;
            reply
        })
        .then_good()
        .check(|asked, log| {
            ensure!(asked[0].iter().all(|ask| ask.count < 2), "asked three times");
            ensure!(log[0].1.as_ref().is_some_and(|error| error.contains("sha256 mismatch")) && log[1].1.is_none());
            Ok(())
        }),
        case("takes_what_a_mirror_lacks_from_the_next_place", |ask, layers| {
            let lacks = is_layer(ask, layers, 1) || is_layer(ask, layers, 3);
            if lacks { Reply::new("404 Not Found", "") } else { Reply::good(ask) }
        })
        .then_good()
        .check(|asked, _| {
            ensure!(!asked[0].is_empty() && !asked[1].is_empty());
            ensure!(asked[1].iter().filter(|ask| ask.is_blob()).count() >= 2);
            Ok(())
        }),
        case("asks_a_mirror_that_has_nothing_once", |_, _| Reply::new("404 Not Found", "")).then_good().check(
            |asked, log| {
                ensure!(asked[0].len() == 1, "asked {} times", asked[0].len());
                ensure!(
                    log[0].1.as_ref().is_some_and(|error| error.ends_with("HTTP status 404")) && log[1].1.is_none()
                );
                Ok(())
            },
        ),
        case("resumes_at_the_next_place", |ask, layers| match is_layer(ask, layers, 1) {
            true if ask.count == 0 => Reply::good(ask).cut(),
            true => Reply::new("503 Service Unavailable", ""),
            false => Reply::good(ask),
        })
        .then_good()
        .check(|asked, _| {
            ensure!(asked[1].iter().any(|ask| ask.from().is_some()), "not resumed at the other mirror");
            Ok(())
        }),
        case("fails_if_no_place_has_it", |_, _| Reply::new("404 Not Found", ""))
            .then_missing()
            .fails("HTTP status 404"),
    ]
}

impl Case {
    pub fn then_missing(mut self) -> Self {
        self.servers.push(Arc::new(|_, _| Reply::new("403 Forbidden", "")));
        self
    }
}
