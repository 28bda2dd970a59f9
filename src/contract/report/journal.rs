// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One structured event at the end, over journald's native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::handoff::{Outcome, Status};
use crate::report::words::summary;

/// Made by `systemd-id128 new`. `journalctl MESSAGE_ID=…` finds the outcome of every boot.
pub const MESSAGE_ID: &str = "b3ee8e6d15e3474c9c1a8b8d46ca758f";
const SOCKET: &str = "/run/systemd/journal/socket";
/// Set for a process whose journal is on the console: the event is a line there, and must be the only one of its kind.
pub const FORWARDED: &str = "SLIPSTREAM_JOURNAL_IS_ON_CONSOLE";

/// Whether the outcome is on the console, by its event.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Returns whether the outcome is on the console already, so that a line with it would be the second one.
pub fn is_shown() -> bool {
    SHOWN.load(Ordering::Relaxed)
}

/// Sends the outcome. A machine without journald has the status file; that is not a failure.
pub fn send_event(status: &Status) {
    let result = UnixDatagram::unbound().and_then(|socket| socket.send_to(&message(status), SOCKET));
    match result {
        Ok(_) => SHOWN.store(std::env::var_os(FORWARDED).is_some(), Ordering::Relaxed),
        Err(error) => log::debug!("sending the journal event: {error}"),
    }
}

/// Logs the outcome in one line, unless its event is one.
pub fn log_summary(status: &Status) {
    if !is_shown() {
        log::info!("{}", summary(status));
    }
}

fn message(status: &Status) -> Vec<u8> {
    let priority = if status.outcome() == Outcome::Failed { "3" } else { "6" };
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
    field("SLIPSTREAM_OUTCOME", Some(status.outcome().name()));
    if let Some(node) = status.node_image() {
        field("SLIPSTREAM_IMAGE", Some(&node.image));
        field("SLIPSTREAM_IMAGE_DIGEST", node.manifest_digest.as_deref());
        field("SLIPSTREAM_COMMIT", node.commit.as_deref());
        field("DEPLOYMENT_PATH", node.deployment.as_deref());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::{Ending, Facts};

    #[test]
    fn message_id_is_128_bits() {
        assert_eq!(MESSAGE_ID.len(), 32);
        assert!(MESSAGE_ID.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }

    #[test]
    fn fields_are_framed() {
        let status = Status::new(Facts::default(), Ending::Failed("a\nMESSAGE=b".to_owned()));
        let message = message(&status);
        let framed = [b"PRIORITY\n".as_slice(), &1u64.to_le_bytes(), b"3\n"].concat();
        assert!(message.windows(framed.len()).any(|window| window == framed));
        // A line feed in a value does not start a field: its length says where the value ends.
        let text = summary(&status);
        let framed = [b"MESSAGE\n".as_slice(), &(text.len() as u64).to_le_bytes(), text.as_bytes(), b"\n"].concat();
        assert!(message.windows(framed.len()).any(|window| window == framed));
    }
}
