// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures by tag, from endpoints that have them, lack them, or misbehave.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use contract::names::SourceSpec;
use serde_json::{Value, json};
use testkit::server::{Ask, Reply, Server};
use testkit::signature::{PAYLOAD, SIGNATURE};
use testkit::suite::{self, module};

use super::image::{Image, PING, asked_for, ensure_found};

/// How a server answers a request for the signatures' manifest or for the payload.
type Behaves = fn(&Ask) -> Reply;
/// Each endpoint, and its error if there was one.
type Log = [(String, Option<String>)];

/// How a lookup ends.
enum Expected {
    /// With one signature, which the endpoint with this number has.
    From(usize),
    /// With nothing.
    Nothing,
    /// With an error that has this text.
    Error(&'static str),
}
use Expected::{Error, From, Nothing};

/// Endpoints, and how a lookup at them ends.
struct Case {
    name: &'static str,
    servers: Vec<Behaves>,
    expected: Expected,
    /// Requests at each endpoint.
    requests: Vec<usize>,
    check: fn(&[Vec<Ask>], &Log) -> Result<()>,
}

fn case(name: &'static str, expected: Expected, requests: &[usize], servers: &[Behaves]) -> Case {
    let servers = servers.to_vec();
    Case { name, servers, expected, requests: requests.to_vec(), check: |_, _| Ok(()) }
}

impl Case {
    fn check(self, check: fn(&[Vec<Ask>], &Log) -> Result<()>) -> Self {
        Self { check, ..self }
    }
}

pub fn cases() -> Vec<suite::Case> {
    let all = [answers(), contents(), bytes()].into_iter().flatten();
    let mut cases: Vec<_> = all.map(|case| suite::Case::new(case.name, move || check(&case))).collect();
    cases.push(suite::Case::new("takes_two_requests_for_an_image_with_one_signature", takes_two_requests));
    cases.push(suite::Case::new("finds_those_of_the_index_and_of_the_instance", || index(true, [2, 2])));
    cases.push(suite::Case::new("finds_those_of_the_instance_alone", || index(false, [1, 2])));
    module("signatures", module("registry", cases))
}

fn is_tag(ask: &Ask) -> bool {
    ask.path.ends_with(".sig")
}

/// Answers a request for the manifest of the tag with another one, which `edit` makes of the good one.
fn edited(ask: &Ask, edit: fn(&mut Value)) -> Reply {
    let good = Reply::good(ask);
    if !is_tag(ask) {
        return good;
    }
    let mut manifest: Value = serde_json::from_slice(&good.body).expect("the kit writes JSON");
    edit(&mut manifest);
    Reply::new("200 OK", manifest.to_string())
}

fn missing(_: &Ask) -> Reply {
    Reply::new("404 Not Found", "")
}

/// Has more signatures than there may be.
fn many(ask: &Ask) -> Reply {
    edited(ask, |manifest| manifest["layers"] = Value::Array(vec![manifest["layers"][0].clone(); 33]))
}

fn huge(ask: &Ask) -> Reply {
    if is_tag(ask) { Reply::new("200 OK", vec![b' '; 5 << 20]) } else { Reply::good(ask) }
}

/// Flips a bit of each payload.
fn flipped(ask: &Ask) -> Reply {
    let mut reply = Reply::good(ask);
    if !is_tag(ask) {
        reply.body[9] ^= 1;
    }
    reply
}

fn no_error(log: &Log) -> Result<()> {
    ensure!(log.iter().all(|(_, error)| error.is_none()), "{log:?}");
    Ok(())
}

fn error_at_first(log: &Log, text: &str) -> Result<()> {
    ensure!(log[0].1.as_ref().is_some_and(|error| error.contains(text)), "{log:?}");
    ensure!(log.iter().skip(1).all(|(_, error)| error.is_none()), "{log:?}");
    Ok(())
}

/// What an endpoint may answer.
fn answers() -> Vec<Case> {
    let dead: fn(&Ask) -> Reply = |_| Reply::new("500 Internal Server Error", "");
    vec![
        case("asks_for_the_tag_and_the_payload", From(0), &[2], &[Reply::good]).check(|asked, log| {
            let (tag, payload) = (&asked[0][0], &asked[0][1]);
            ensure!(tag.path.starts_with("/v2/os/node/manifests/sha256-") && is_tag(tag), "{tag:?}");
            let accept = tag.header("accept").unwrap_or_default();
            ensure!(accept.contains("application/vnd.oci.image.manifest.v1+json"), "{accept}");
            ensure!(payload.path.starts_with("/v2/os/node/blobs/sha256:"), "{payload:?}");
            no_error(log)
        }),
        case("asks_the_next_endpoint_if_one_has_none", From(1), &[1, 2], &[missing, Reply::good])
            .check(|_, log| no_error(log)),
        case("finds_nothing_if_no_endpoint_has_any", Nothing, &[1, 1], &[missing, missing])
            .check(|_, log| no_error(log)),
        case(
            "takes_a_404_with_any_body",
            Nothing,
            &[1, 1, 1],
            &[
                |_: &Ask| Reply::new("404 Not Found", "<html>".repeat(10_000)),
                |_: &Ask| Reply::new("404 Not Found", b"\xff\0\x01".to_vec()),
                |_: &Ask| Reply::new("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            ],
        ),
        case(
            "tries_again_after_a_500",
            From(0),
            &[3],
            &[|ask: &Ask| match is_tag(ask) && ask.count == 0 {
                true => Reply::new("500 Internal Server Error", ""),
                false => Reply::good(ask),
            }],
        )
        .check(|_, log| no_error(log)),
        case("asks_the_next_endpoint_after_three_times_500", From(1), &[3, 2], &[dead, Reply::good]),
        case("fails_if_no_endpoint_answers", Error("HTTP status 500; after 8 tries"), &[8], &[dead]),
        case(
            "fails_if_every_endpoint_refuses",
            Error("HTTP status 403"),
            &[1, 1],
            &[|_: &Ask| Reply::new("403 Forbidden", ""), |_: &Ask| Reply::new("403 Forbidden", "")],
        ),
        case(
            "finds_nothing_if_the_one_that_answers_has_none",
            Nothing,
            &[1, 1],
            &[|_: &Ask| Reply::new("403 Forbidden", ""), missing],
        ),
        case(
            "follows_a_redirect",
            From(0),
            &[3],
            &[|ask: &Ask| match is_tag(ask) && !ask.path.contains("moved") {
                true => {
                    let tag = ask.path.rsplit('/').next().unwrap_or_default();
                    Reply::new("307 Temporary Redirect", "").header(&format!("Location: /moved/{tag}"))
                }
                false => Reply::good(ask),
            }],
        ),
        case(
            "begins_again_after_a_reset",
            From(0),
            &[3],
            &[|ask: &Ask| match is_tag(ask) && ask.count == 0 {
                true => Reply::good(ask).cut(),
                false => Reply::good(ask),
            }],
        )
        .check(|asked, _| {
            ensure!(asked[0].iter().all(|ask| ask.from().is_none()), "it was resumed: no digest says that it fits");
            Ok(())
        }),
    ]
}

/// What the manifest may have in it.
fn contents() -> Vec<Case> {
    let limit = "signature manifest has 33 signatures, the limit is 32";
    let attestation: fn(&Ask) -> Reply = |ask| {
        edited(ask, |manifest| manifest["layers"][0]["mediaType"] = json!("application/vnd.dsse.envelope.v1+json"))
    };
    vec![
        case("fails_for_33_signatures", Error(limit), &[1], &[many])
            .check(|_, log| error_at_first(log, "33 signatures")),
        case("asks_the_next_endpoint_after_33_signatures", From(1), &[1, 2], &[many, Reply::good])
            .check(|_, log| error_at_first(log, "33 signatures")),
        case("does_not_hide_33_signatures_behind_a_404", Error(limit), &[1, 1], &[many, missing]),
        case("fails_for_a_manifest_of_5_mib", Error("the answer is larger than 4194304 bytes"), &[1], &[huge])
            .check(|_, log| error_at_first(log, "larger than 4194304 bytes")),
        case(
            "fails_for_a_manifest_without_end",
            Error("the answer is larger than 4194304 bytes"),
            &[1],
            &[|ask: &Ask| Reply { endless: true, ..Reply::good(ask).without_length() }],
        ),
        case(
            "fails_for_a_web_page",
            Error("parsing signature manifest"),
            &[1],
            &[|_: &Ask| Reply::new("200 OK", "<html>log in, please</html>")],
        ),
        case(
            "fails_for_an_index",
            Error("signature manifest has media type"),
            &[1],
            &[|ask: &Ask| {
                edited(ask, |manifest| manifest["mediaType"] = json!("application/vnd.oci.image.index.v1+json"))
            }],
        ),
        case(
            "fails_for_a_large_payload",
            Error("of 65537 bytes is over the limit of 65536"),
            &[1],
            &[|ask: &Ask| edited(ask, |manifest| manifest["layers"][0]["size"] = json!(65537))],
        ),
        case("asks_the_next_endpoint_if_there_are_attestations_only", From(1), &[1, 2], &[attestation, Reply::good])
            .check(|_, log| no_error(log)),
    ]
}

/// What the payload may be.
fn bytes() -> Vec<Case> {
    let lacking: fn(&Ask) -> Reply = |ask| if is_tag(ask) { Reply::good(ask) } else { missing(ask) };
    vec![
        case("takes_a_payload_from_the_next_endpoint_for_wrong_bytes", From(0), &[3, 1], &[flipped, Reply::good])
            .check(|_, log| error_at_first(log, "sha256 mismatch")),
        case("fails_if_every_payload_has_wrong_bytes", Error("sha256 mismatch"), &[3], &[flipped]),
        case("takes_a_payload_from_the_next_endpoint_if_one_lacks_it", From(0), &[2, 1], &[lacking, Reply::good]),
        case("fails_if_no_endpoint_has_the_payload", Error("opening a signature payload"), &[2], &[lacking]),
        case(
            "fails_for_a_payload_of_another_size",
            Error("bytes instead of"),
            &[2],
            &[|ask: &Ask| edited(ask, |manifest| manifest["layers"][0]["size"] = json!(10))],
        ),
    ]
}

/// Starts the endpoints of a case, and looks for the signatures of an image.
fn check(case: &Case) -> Result<()> {
    let image = Image::write(false)?;
    let mut files = image.layout.served()?;
    files.extend(image.signed(&image.digest).served());
    let files = Arc::new(files);
    let known = image.layout.served()?;
    let start = |behaves: &Behaves| {
        let (behaves, known) = (*behaves, known.clone());
        // The image itself is good.
        Server::start(Arc::clone(&files), move |ask| match ask.path.rsplit(['/', ':']).next() {
            Some(name) if known.contains_key(name) || ask.path == PING => Reply::good(ask),
            _ => behaves(ask),
        })
    };
    let servers = case.servers.iter().map(start).collect::<Result<Vec<_>>>()?;
    let hosts: Vec<_> = servers.iter().map(Server::host).collect();
    let opened = image.open(&SourceSpec::Registry, &hosts)?;
    let before: Vec<_> = servers.iter().map(|server| asked_for(server).len()).collect();
    let found = opened.signatures();
    let asked: Vec<_> =
        servers.iter().zip(before).map(|(server, before)| asked_for(server).split_off(before)).collect();
    match (&found, &case.expected) {
        (Ok(found), From(server)) => ensure_found(found, &[&image.digest], &format!("{}/os/node", hosts[*server]))?,
        (Ok(found), Nothing) => ensure!(found.is_empty(), "{found:?}"),
        (Err(error), Error(text)) => {
            ensure!(format!("{error:#}").contains(text), "no {text:?}: {error:#}");
            ensure!(error.to_string() == format!("looking for signatures of {}", image.digest), "{error}");
        }
        _ => bail!("{found:?}"),
    }
    let counts: Vec<_> = asked.iter().map(Vec::len).collect();
    ensure!(counts == case.requests, "{counts:?} requests, not {:?}: {asked:#?}", case.requests);
    (case.check)(&asked, &opened.log())?;
    layers_stay(&opened.image, &servers[0])
}

/// Checks that layers come from where the manifest came from, whichever endpoint had signatures.
fn layers_stay(image: &source::VerifiedImage, server: &Server) -> Result<()> {
    let layer = image.manifest.layers.first().context("finding the layer")?;
    image.open_blob(layer.digest)?.read_to_end(&mut Vec::new()).context("reading the layer")?;
    ensure!(server.asked().last().is_some_and(|ask| ask.path.contains(&layer.digest.hex())), "from elsewhere");
    Ok(())
}

/// Counts what signatures add to all requests for an image, and reads a payload with two signatures once.
fn takes_two_requests() -> Result<()> {
    let image = Image::write(false)?;
    let digest = image.digest.clone();
    let mut files = image.layout.served()?;
    let payload = testkit::signature::payload(&digest, "registry.example/os/node");
    files.extend(image.signed(&digest).layer(PAYLOAD, &payload, &[(SIGNATURE, &digest)]).served());
    let server = Server::start(Arc::new(files), Reply::good)?;
    let opened = image.open(&SourceSpec::Registry, &[server.host()])?;
    let before = asked_for(&server).len();
    let endpoint = format!("{}/os/node", server.host());
    ensure_found(&opened.signatures()?, &[&digest, &digest], &endpoint)?;
    let more = asked_for(&server).len() - before;
    ensure!(before == 2 && more == 2, "{before} requests for the image, {more} for its signatures");
    Ok(())
}

/// Looks for the signatures of an image behind an index, which is signed too, perhaps.
fn index(both: bool, requests: [usize; 2]) -> Result<()> {
    let image = Image::write(true)?;
    let mut files = image.layout.served()?;
    let mut signed = vec![image.instance.as_str()];
    if both {
        signed.insert(0, &image.digest);
    }
    signed.iter().for_each(|digest| files.extend(image.signed(digest).served()));
    let server = Server::start(Arc::new(files), Reply::good)?;
    let opened = image.open(&SourceSpec::Registry, &[server.host()])?;
    let digests: Vec<_> = opened.image.digests().iter().map(ToString::to_string).collect();
    ensure!(digests == [image.digest.as_str(), image.instance.as_str()] && image.digest != image.instance);
    let before = asked_for(&server).len();
    ensure_found(&opened.signatures()?, &signed, &format!("{}/os/node", server.host()))?;
    let asked = asked_for(&server).split_off(before);
    ensure!(asked.len() == requests.iter().sum::<usize>(), "{asked:#?}");
    no_error(&opened.log())
}
