// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Enums that are words in the document.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `src/contract/report/record.rs`.

/// Defines an enum whose values are words: each is written once, for the document and for [`name`](super::Outcome::name).
/// To serde they are strings, which takes less code than its own way with enums.
macro_rules! words {
    ($(#[$about:meta])* $kind:ident { $($(#[$means:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum $kind {
            $($(#[$means])* $value,)+
        }

        impl $kind {
            /// Lists every value.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            /// Returns the word in the document.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl From<$kind> for &'static str {
            fn from(value: $kind) -> Self {
                value.name()
            }
        }

        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(word: String) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|value| value.name() == word);
                found.copied().ok_or_else(|| format!("{word:?} is not a word that is known here"))
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
