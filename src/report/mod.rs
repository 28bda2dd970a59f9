// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What happened: log lines, the status file, metrics, news for operators, the journal event, progress.

mod journal;
mod log_lines;
mod metrics;
mod operators;
mod progress;
mod status;
mod words;

pub use journal::{MESSAGE_ID, send_event};
pub use log_lines::{run, set_debug};
pub use metrics::METRICS_FILE;
pub use operators::{FEATURES_FILE, publish_kernel};
pub use progress::Progress;
pub use status::{
    BootimageReport, Leftover, NodeImageReport, Outcome, STATUS_FILE, Status, Try, append_failure, append_leftover,
    append_settled, read_status, request_json,
};
pub use words::describe;

/// Where the hand-off is, unless an option says otherwise.
pub const RUN_DIR: &str = "/run/slipstream";

/// What we are, for logs and the status.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
