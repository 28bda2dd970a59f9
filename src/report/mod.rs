// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reports what happened: log lines, the hand-off and its record, metrics, news for operators, the journal event, progress.

mod handoff;
mod journal;
mod log_lines;
mod metrics;
mod operators;
mod progress;
mod record;
mod words;

pub use handoff::{
    Bootimage, Ending, Endpoint, Facts, Foreseen, Kernels, Leftover, LeftoverKind, Mco, NodeImage, Outcome, Reboot,
    Requested, RequestedKey, Stage, StageName, Status, Try, Until, VERSION, Values, Way,
};
pub use journal::{MESSAGE_ID, send_event};
pub use log_lines::{run, set_debug};
pub use metrics::METRICS_FILE;
pub use operators::{FEATURES_FILE, publish_kernel};
pub use progress::Progress;
pub use record::{Record, STATUS_FILE};
pub use words::{describe, summary};

/// Where the hand-off is, unless an option says otherwise.
pub const RUN_DIR: &str = "/run/slipstream";
