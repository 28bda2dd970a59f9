// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What servers say.

use slipstream::source::http::Url;

// Private in slipstream.
#[allow(dead_code)]
#[path = "../../src/source/registry/challenge.rs"]
mod challenge;

/// A value of WWW-Authenticate, or of Location.
pub fn web(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for found in challenge::parse(text) {
        assert!(!found.scheme.is_empty() && found.scheme == found.scheme.to_ascii_lowercase());
        drop(found.parameter("realm"));
    }
    if let Ok(url) = Url::parse(text) {
        let full = url.full();
        assert!(full.starts_with("http://") || full.starts_with("https://"), "{full:?} leads elsewhere");
        assert!(!full.contains(|c: char| c.is_control() || c == ' '), "{full:?} is more than a word");
        assert!(url.is_same_origin(&url));
    }
}
