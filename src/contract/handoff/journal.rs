// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One structured event at the end, over journald's native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::os::unix::net::UnixDatagram;

use serde_json::Value;

use crate::handoff::status::summary;

/// Made by `systemd-id128 new`. `journalctl MESSAGE_ID=…` finds the outcome of every boot.
pub const MESSAGE_ID: &str = "b3ee8e6d15e3474c9c1a8b8d46ca758f";
const SOCKET: &str = "/run/systemd/journal/socket";

/// Send the outcome. A machine without journald has the status file; that is no failure.
pub fn send_event(status: &Value) {
    let result = UnixDatagram::unbound().and_then(|socket| socket.send_to(&message(status), SOCKET));
    if let Err(error) = result {
        log::debug!("sending the journal event: {error}");
    }
}

fn message(status: &Value) -> Vec<u8> {
    let priority = if status["outcome"] == "failed" { "3" } else { "6" };
    let mut out = Vec::new();
    let mut field = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            out.extend_from_slice(name.as_bytes());
            // The form for values that may hold a line feed: length, then bytes.
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
            out.extend_from_slice(value.as_bytes());
            out.push(b'\n');
        }
    };
    field("MESSAGE_ID", Some(MESSAGE_ID));
    field("MESSAGE", Some(&summary(status)));
    field("PRIORITY", Some(priority));
    field("SYSLOG_IDENTIFIER", Some("slipstream"));
    field("SLIPSTREAM_OUTCOME", status["outcome"].as_str());
    let node = &status["node_image"];
    field("SLIPSTREAM_IMAGE", node["image"].as_str());
    field("SLIPSTREAM_IMAGE_DIGEST", node["manifest_digest"].as_str());
    field("SLIPSTREAM_COMMIT", node["commit"].as_str());
    field("DEPLOYMENT_PATH", node["deployment"].as_str());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_id_is_128_bits() {
        assert_eq!(MESSAGE_ID.len(), 32);
        assert!(MESSAGE_ID.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }

    #[test]
    fn fields_are_framed() {
        let status = serde_json::json!({"outcome": "failed", "reason": "a\nMESSAGE=b"});
        let message = message(&status);
        let framed = [b"PRIORITY\n".as_slice(), &1u64.to_le_bytes(), b"3\n"].concat();
        assert!(message.windows(framed.len()).any(|window| window == framed));
        // A line feed in a value does not start a field: its length says where the value ends.
        let text = summary(&status);
        let framed = [b"MESSAGE\n".as_slice(), &(text.len() as u64).to_le_bytes(), text.as_bytes(), b"\n"].concat();
        assert!(message.windows(framed.len()).any(|window| window == framed));
    }
}
