// SPDX-License-Identifier: Apache-2.0 OR MIT
//! os-release(5): assignments with the quotes of a shell. Pure.

/// Returns what the file assigns to `key`, the last time if there are several; nothing counts as none.
pub fn field(text: &str, key: &str) -> Option<String> {
    let assigned = |line: &str| line.trim().strip_prefix(key)?.strip_prefix('=').map(unquote);
    text.lines().rev().find_map(assigned).filter(|value| !value.is_empty())
}

/// Takes quotes and backslashes away, where a shell would.
fn unquote(text: &str) -> String {
    let (mut value, mut quote) = (String::new(), None);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let escapes = |next: &char| quote.is_none() || r#"$`"\"#.contains(*next);
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => value.push(rest.next_if(escapes).unwrap_or(c)),
            _ => value.push(c),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (label, text, expected) in [
            ("plain", "NAME=Test\nV=41.1\n", Some("41.1")),
            ("double quotes", r#"V="41.1""#, Some("41.1")),
            ("single quotes", "V='41.1'", Some("41.1")),
            ("quotes of the other kind", r#"V="it's""#, Some("it's")),
            ("quotes in quotes", r#"V="a \"b\" \$c \\ \d""#, Some(r#"a "b" $c \ \d"#)),
            ("no escapes in single quotes", r"V='a\b'", Some(r"a\b")),
            ("in pieces", r#"V=4"1".'1'"#, Some("41.1")),
            ("escaped", r"V=a\ b", Some("a b")),
            ("spaces around, another system's line end", "  V=41.1  \r\n", Some("41.1")),
            ("no end", r#"V="41.1"#, Some("41.1")),
            ("backslash at the end", r"V=a\", Some(r"a\")),
            ("the last one", "V=1\nV=2\n", Some("2")),
            ("comment", "#V=1\n", None),
            ("longer key", "VV=1\nV2=1\n", None),
            ("empty", r#"V="""#, None),
            ("not there", "", None),
        ] {
            assert_eq!(field(text, "V").as_deref(), expected, "{label}");
        }
    }
}
