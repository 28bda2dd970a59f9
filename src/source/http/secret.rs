// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Text that is never printed.

use std::fmt;

/// A password, a token, a header with one of them. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keep `text` from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it can be the value of a header: printable ASCII, so that it cannot start a header of its own.
    pub(crate) fn is_header_value(&self) -> bool {
        self.0.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_printed_and_cannot_be_a_header_of_its_own() {
        let secret = Secret::new("hush");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "<secret> Some(<secret>)");
        for (text, good) in [("Bearer a.b-c", true), ("Bearer a\r\nX: y", false), ("Bearer é", false)] {
            assert_eq!(Secret::new(text).is_header_value(), good, "{text:?}");
        }
    }
}
