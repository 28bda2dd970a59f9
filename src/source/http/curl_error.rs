// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What libcurl's errors mean.

use crate::http::clock::now_text;
use crate::http::{Failure, Kind};

/// What OpenSSL says when the other side does not like what we are or speak: it will not like it the next time either.
const REFUSALS: [&str; 6] =
    ["certificate required", "bad certificate", "unknown ca", "handshake failure", "protocol version", "access denied"];
/// What the TLS libraries say of a certificate whose time has not come, or is over.
const WRONG_TIME: [&str; 3] = ["not yet valid", "expired", "not yet activated"];
/// Longest text of libcurl or a server in an error, in bytes.
const MAX_TEXT: usize = 300;

/// Judge an error of a transfer. `connect` is the proxy's answer to CONNECT, 0 if there was none.
pub(super) fn judge(error: &curl::Error, connect: u32) -> Failure {
    let said = error.extra_description().unwrap_or_default();
    let text = clean(if said.is_empty() { error.description() } else { said });
    let lower = text.to_ascii_lowercase();
    let refused = REFUSALS.iter().any(|refusal| lower.contains(refusal));
    if (400..500).contains(&connect) {
        return Failure::last(format!("the proxy refuses: {text}"));
    }
    let kind = match error.code() {
        _ if refused => Kind::Final,
        curl_sys::CURLE_COULDNT_RESOLVE_PROXY
        | curl_sys::CURLE_COULDNT_RESOLVE_HOST
        | curl_sys::CURLE_COULDNT_CONNECT
        | curl_sys::CURLE_SSL_CONNECT_ERROR => Kind::NoConnection,
        curl_sys::CURLE_PARTIAL_FILE
        | curl_sys::CURLE_OPERATION_TIMEDOUT
        | curl_sys::CURLE_GOT_NOTHING
        | curl_sys::CURLE_SEND_ERROR
        | curl_sys::CURLE_RECV_ERROR
        | curl_sys::CURLE_HTTP2
        | curl_sys::CURLE_HTTP2_STREAM
        | WEIRD_SERVER_REPLY
        | PROXY => Kind::Broken,
        _ => Kind::Final,
    };
    let clock = match WRONG_TIME.iter().any(|sign| lower.contains(sign)) {
        true => format!(". This machine believes that it is {}: is its clock right?", now_text()),
        false => String::new(),
    };
    Failure::new(kind, format!("{text}{clock}"))
}

/// The same numbers in every libcurl; curl-sys has other names for them.
const WEIRD_SERVER_REPLY: curl_sys::CURLcode = 8;
const PROXY: curl_sys::CURLcode = 97;

/// A text from outside, for an error: one short line.
pub(super) fn clean(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > MAX_TEXT) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgements() {
        for (label, code, said, expected) in [
            ("refused", curl_sys::CURLE_COULDNT_CONNECT, "Connection refused", Kind::NoConnection),
            ("no such name", curl_sys::CURLE_COULDNT_RESOLVE_HOST, "", Kind::NoConnection),
            ("reset", curl_sys::CURLE_RECV_ERROR, "Connection reset by peer", Kind::Broken),
            ("wants a certificate", curl_sys::CURLE_RECV_ERROR, "tlsv13 alert certificate required", Kind::Final),
            ("stalled", curl_sys::CURLE_OPERATION_TIMEDOUT, "Operation too slow", Kind::Broken),
            ("no CA", curl_sys::CURLE_PEER_FAILED_VERIFICATION, "unable to get local issuer", Kind::Final),
            ("HTTP/2", curl_sys::CURLE_HTTP2_STREAM, "stream was not closed cleanly", Kind::Broken),
        ] {
            let mut error = curl::Error::new(code);
            error.set_extra(said.to_owned());
            let failure = judge(&error, 0);
            assert_eq!(failure.kind, expected, "{label}: {failure}");
            assert!(failure.to_string().contains(said) && !failure.to_string().contains("clock"), "{label}: {failure}");
            assert_eq!(judge(&error, 407).kind, Kind::Final, "{label}: refused by the proxy");
        }
        let mut error = curl::Error::new(curl_sys::CURLE_PEER_FAILED_VERIFICATION);
        error.set_extra("SSL certificate problem: certificate is not yet valid".to_owned());
        let text = judge(&error, 0).to_string();
        assert!(
            text.contains(". This machine believes that it is 20") && text.ends_with("is its clock right?"),
            "{text}"
        );
    }

    #[test]
    fn texts_are_short_lines() {
        assert_eq!(clean(" a\nb\u{1b}[1m "), "a b [1m");
        let long = clean(&"é".repeat(1000));
        assert!(long.len() < MAX_TEXT + 5 && long.ends_with("é…"), "{long}");
    }
}
