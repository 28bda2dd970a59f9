// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Texts that come from elsewhere, cut to a length that a line can have.

use std::borrow::Cow;

/// Longest text of a line or a reason, in bytes. An error names what it is about, and an image may have named that.
const MAX_TEXT: usize = 2000;

/// Cuts a long text in the middle: the start says where, the end says why.
pub fn shorten(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    let (mut head, mut tail) = (MAX_TEXT / 2, text.len() - MAX_TEXT / 2);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    Cow::Owned(format!("{} … {}", &text[..head], &text[tail..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_in_the_middle() {
        assert_eq!(shorten("short"), "short");
        let long = format!("start {} end", "é".repeat(10_000));
        let cut = shorten(&long);
        assert!(cut.len() < 2010 && cut.starts_with("start é") && cut.ends_with("é end"), "{cut}");
    }
}
