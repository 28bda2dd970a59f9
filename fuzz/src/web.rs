// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What servers say.

use contract::names::Url;
use source::registry::challenge;

/// A value of WWW-Authenticate, or of Location.
pub fn web(data: &[u8]) {
    let from = Url::parse("https://registry.example:5000/v2/blob").expect("a plain URL");
    if let Ok(url) = from.redirect(data) {
        // It means to everybody what it means to us.
        assert!(url.full().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{url:?}");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    for found in challenge::parse(text) {
        assert!(!found.scheme.is_empty() && found.scheme == found.scheme.to_ascii_lowercase());
        std::hint::black_box(found.parameter("realm"));
    }
    if let Ok(url) = Url::parse(text) {
        // What is printed has no password and no query in it.
        let shown = url.to_string();
        assert!(shown.starts_with("http://") || shown.starts_with("https://"), "{shown:?} leads elsewhere");
        assert!(!shown.contains(|c: char| c.is_control() || c == ' ' || c == '?'), "{shown:?} tells more");
        assert!(!url.authority().contains('@'), "{shown:?} has a user");
        assert!(url.is_same_origin(&url));
    }
}
