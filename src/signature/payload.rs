// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What was signed: cosign's "simple signing" payload, an image's digest and name.

use anyhow::{Context, Result, ensure};
use contract::names::Digest;
use serde_json::Value;

use crate::json::{self, Fields};

/// Largest payload, in bytes: cosign's and skopeo's have 250, and what a signer may add is small.
pub const MAX_PAYLOAD: usize = 64 << 10;
/// The type that cosign and skopeo write. Other types are signed otherwise.
const TYPE: &str = "cosign container image signature";

/// The parts of a payload that decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The digest of the signed manifest or index.
    pub digest: Digest,
    /// The name under which it was signed.
    pub reference: String,
}

impl Payload {
    /// Parses a payload whose signature has been verified.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() <= MAX_PAYLOAD, "payload has {} bytes, more than {MAX_PAYLOAD}", bytes.len());
        let value = json::parse(bytes, "payload")?;
        let fields = Fields::of(&value, "payload", &["critical", "optional"])?;
        check_optional(fields.need("optional")?)?;
        let critical = Fields::of(fields.need("critical")?, "critical", &["type", "image", "identity"])?;
        let kind = critical.need_text("type")?;
        ensure!(kind == TYPE, "payload has the type {kind:?}, not {TYPE:?}");
        let image = Fields::of(critical.need("image")?, "image", &["docker-manifest-digest"])?;
        let identity = Fields::of(critical.need("identity")?, "identity", &["docker-reference"])?;
        Ok(Self {
            digest: Digest::parse(image.need_text("docker-manifest-digest")?).context("reading the signed digest")?,
            reference: identity.need_text("docker-reference")?.to_owned(),
        })
    }
}

/// Checks what containers tools check of `optional`. Who signed may add to it what they like.
fn check_optional(optional: &Value) -> Result<()> {
    if optional.is_null() {
        return Ok(());
    }
    let map = optional.as_object().context("optional of payload is neither an object nor null")?;
    let creator = map.get("creator").unwrap_or(&Value::Null);
    ensure!(creator.is_string() || creator.is_null(), "creator of payload is not a string");
    let timestamp = map.get("timestamp").unwrap_or(&Value::Null);
    let is_whole = timestamp.is_i64() || timestamp.is_u64() || timestamp.as_f64().is_some_and(|n| n.fract() == 0.0);
    ensure!(is_whole || timestamp.is_null(), "timestamp of payload is not a whole number");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    /// A payload with other text for its parts.
    fn payload(kind: &str, image: &str, identity: &str, optional: &str) -> String {
        format!(r#"{{"critical":{{"type":{kind},"image":{image},"identity":{identity}}},"optional":{optional}}}"#)
    }

    #[test]
    fn payloads_of_signers_are_read() {
        let kind = format!("{TYPE:?}");
        let image = format!(r#"{{"docker-manifest-digest":"{DIGEST}"}}"#);
        let identity = r#"{"docker-reference":"quay.io/os/node:v1"}"#;
        for (label, optional) in [
            ("cosign", "null"),
            ("skopeo", r#"{"creator":"containers/image 5.22.0","timestamp":1764547200}"#),
            ("annotations", r#"{"team":"os","nested":{"a":[1.5,null]}}"#),
            ("a float that is whole", r#"{"timestamp":1.7645472e9}"#),
            ("nulls", r#"{"creator":null,"timestamp":null}"#),
            ("empty", "{}"),
        ] {
            let got = Payload::parse(payload(&kind, &image, identity, optional).as_bytes()).unwrap();
            let expected =
                Payload { digest: Digest::parse(DIGEST).unwrap(), reference: "quay.io/os/node:v1".to_owned() };
            assert_eq!(got, expected, "{label}");
        }
    }

    #[test]
    fn other_payloads_are_refused() {
        let kind = format!("{TYPE:?}");
        let image = format!(r#"{{"docker-manifest-digest":"{DIGEST}"}}"#);
        let identity = r#"{"docker-reference":"quay.io/os/node:v1"}"#;
        let good = payload(&kind, &image, identity, "null");
        for (label, text, expected) in [
            ("empty", String::new(), "parsing payload: EOF while parsing a value"),
            ("list", "[]".to_owned(), "payload is not an object"),
            ("trailing bytes", format!("{good}{{}}"), "parsing payload: trailing characters"),
            ("trailing NUL", format!("{good}\0"), "parsing payload: trailing characters"),
            (
                "extra field",
                good.replace("\"optional\"", "\"more\":1,\"optional\""),
                "payload has the unknown key \"more\"",
            ),
            ("no optional", good.replace(",\"optional\":null", ""), "payload has no optional"),
            ("no critical", r#"{"optional":null}"#.to_owned(), "payload has no critical"),
            (
                "duplicate key",
                good.replace("\"optional\"", "\"critical\":{},\"optional\""),
                "parsing payload: payload has the field \"critical\" twice",
            ),
            (
                "duplicate key inside",
                good.replace("{\"docker-reference\"", "{\"docker-reference\":\"a\",\"docker-reference\""),
                "parsing payload: payload has the field \"docker-reference\" twice",
            ),
            ("other case", good.replace("\"critical\"", "\"Critical\""), "payload has the unknown key \"Critical\""),
            (
                "other type",
                payload("\"atomic container signature\"", &image, identity, "null"),
                "payload has the type \"atomic container signature\", not \"cosign container image signature\"",
            ),
            ("type null", payload("null", &image, identity, "null"), "type of critical is not a string"),
            ("image null", payload(&kind, "null", identity, "null"), "image is not an object"),
            ("identity null", payload(&kind, &image, "null", "null"), "identity is not an object"),
            (
                "more in the image",
                payload(&kind, r#"{"docker-manifest-digest":"x","digest":"y"}"#, identity, "null"),
                "image has the unknown key \"digest\"",
            ),
            (
                "short digest",
                payload(&kind, r#"{"docker-manifest-digest":"sha256:12"}"#, identity, "null"),
                "reading the signed digest: digest \"12\" has 2 hex digits instead of 64",
            ),
            ("no name", payload(&kind, &image, "{}", "null"), "identity has no docker-reference"),
            (
                "optional list",
                payload(&kind, &image, identity, "[]"),
                "optional of payload is neither an object nor null",
            ),
            ("creator", payload(&kind, &image, identity, r#"{"creator":1}"#), "creator of payload is not a string"),
            (
                "timestamp",
                payload(&kind, &image, identity, r#"{"timestamp":1.5}"#),
                "timestamp of payload is not a whole number",
            ),
            ("large", good.replace("null", &"[".repeat(MAX_PAYLOAD)), "payload has 65766 bytes, more than 65536"),
        ] {
            let error = format!("{:#}", Payload::parse(text.as_bytes()).unwrap_err());
            assert_eq!(error.split(" at line ").next(), Some(expected), "{label}");
        }
        assert!(Payload::parse(b"{\"critical\xff\":1}").is_err(), "not UTF-8");
    }
}
