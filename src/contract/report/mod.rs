// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reports the hand-off: the status file and its metrics ([`Record`], the only writer), the journal event, the status
//! line of the unit, and words.

mod journal;
mod metrics;
mod record;
mod service;
mod words;

pub use journal::{FORWARDED, MESSAGE_ID, is_shown, log_summary, send_event};
pub use metrics::METRICS_FILE;
pub use record::{Record, STATUS_FILE, replace};
pub use service::{NOTIFY_SOCKET, set_service_status};
pub use words::{describe, summary};
