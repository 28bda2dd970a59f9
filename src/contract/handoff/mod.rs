// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The account of a boot: the status file, its metrics, the journal event, and the same in words.

mod journal;
mod metrics;
mod status;
mod words;

pub use journal::{MESSAGE_ID, send_event};
pub use metrics::METRICS_FILE;
pub use status::{
    BootimageReport, Leftover, NodeImageReport, Outcome, STATUS_FILE, Status, Try, append_failure, append_leftover,
    append_settled, read_status, replace, request_json,
};
pub use words::describe;
