// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong with a request, and what that means for the next try.

use std::fmt;
use std::time::Duration;

/// What a failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection, or no TLS: worth a retry. Where TLS is optional, plain HTTP may be worth a try.
    NoConnection,
    /// A stream that broke: worth a retry.
    Broken,
    /// 5xx or 408, a server that is not well: worth a retry.
    Unwell,
    /// A server that takes too long to answer: worth a retry, elsewhere first.
    Silent,
    /// The server has too much to do, and may have said when to come back: worth a retry.
    Busy(Option<Duration>),
    /// 401, with the values of WWW-Authenticate.
    Denied(Vec<String>),
    /// The server cannot serve the range that was asked for.
    BadRange,
    /// 403.
    Forbidden,
    /// 404.
    Missing,
    /// Nothing will change it.
    Final,
    /// The deadline is over. Why it took so long is what went wrong before.
    Late,
}

/// What a failure that is late says at its end.
const LATE: &str = "the deadline is over";

/// A request that failed. The text says what and where, and has no secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub kind: Kind,
    text: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// A failure that no retry will change.
    pub fn last(text: impl Into<String>) -> Self {
        Self::new(Kind::Final, text)
    }

    /// The failure of a request that was still going on at the deadline.
    pub fn late() -> Self {
        Self::new(Kind::Late, LATE)
    }

    /// What to say of a place after this, `before` being what was said of it until now.
    pub fn after(&self, before: Option<&str>) -> String {
        match before {
            Some(before) if self.kind == Kind::Late && before.ends_with(LATE) => before.to_owned(),
            Some(before) if self.kind == Kind::Late => format!("{before}; now {LATE}"),
            _ => self.text.clone(),
        }
    }

    /// Say in front what was done.
    pub fn context(self, doing: &str) -> Self {
        Self { text: format!("{doing}: {}", self.text), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    /// What fails on this side of the wire (memory, a bad URL) fails again.
    fn from(error: anyhow::Error) -> Self {
        Self::last(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_does_not_hide_what_came_before() {
        let late = Failure::late().context("asking");
        assert_eq!(late.after(None), "asking: the deadline is over");
        assert_eq!(late.after(Some("refused")), "refused; now the deadline is over");
        assert_eq!(late.after(Some("refused; now the deadline is over")), "refused; now the deadline is over");
        assert_eq!(Failure::last("missing").after(Some("refused")), "missing");
    }
}
