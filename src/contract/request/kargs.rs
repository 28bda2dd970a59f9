// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel command line, split as the kernel splits it: at white space outside double quotes.

use anyhow::{Result, bail};

/// Prefix of the kernel arguments that make a request.
pub const KARG_PREFIX: &str = "slipstream.";

/// The arguments, each as it was written, quotes included.
pub fn split(cmdline: &str) -> impl Iterator<Item = &str> {
    let mut rest = cmdline;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = rest.find(|c: char| {
            quoted ^= c == '"';
            c.is_whitespace() && !quoted
        });
        let (argument, tail) = rest.split_at(end.unwrap_or(rest.len()));
        rest = tail;
        Some(argument)
    })
}

/// Key and value of an argument, without quotes. A bare argument has no value.
fn key_value(argument: &str) -> (String, Option<String>) {
    let argument = argument.replace('"', "");
    match argument.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (argument, None),
    }
}

/// The value of the last argument `key=value`.
pub fn value(cmdline: &str, key: &str) -> Option<String> {
    split(cmdline).map(key_value).filter(|(name, _)| name == key).last()?.1
}

/// Whether an argument is one of ours.
pub fn is_ours(argument: &str) -> bool {
    argument.trim_start_matches('"').starts_with(KARG_PREFIX)
}

/// Our arguments, without the prefix. Only `debug` may be bare.
pub fn requested(cmdline: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for argument in split(cmdline).filter(|argument| is_ours(argument)) {
        let (key, value) = key_value(argument);
        let key = key[KARG_PREFIX.len()..].to_owned();
        match value {
            Some(value) => found.push((key, value)),
            None if key == "debug" => found.push((key, String::new())),
            None => bail!("{KARG_PREFIX}{key} has no value"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_like_the_kernel() {
        for (label, cmdline, expected) in [
            ("plain", "a b=c", &["a", "b=c"][..]),
            ("white space", "  a\t b\n", &["a", "b"]),
            ("quotes", r#"a="b c" "d e=f" g"#, &[r#"a="b c""#, r#""d e=f""#, "g"]),
            ("open quote", r#"a="b c"#, &[r#"a="b c"#]),
            ("literal variable", "$ignition_firstboot rw", &["$ignition_firstboot", "rw"]),
            ("empty", "", &[]),
        ] {
            assert_eq!(split(cmdline).collect::<Vec<_>>(), expected, "{label}");
        }
    }

    #[test]
    fn the_last_value_counts() {
        assert_eq!(value("fips=0 root=x fips=1", "fips").as_deref(), Some("1"));
        assert_eq!(value("fips xfips=1", "fips"), None);
    }

    #[test]
    fn requested_table() {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        for (label, cmdline, expected) in [
            ("none", "quiet slipstreamer.image=x slipstream", Some(pairs(&[]))),
            ("value", "slipstream.image=a@b=c", Some(pairs(&[("image", "a@b=c")]))),
            ("quoted", r#"slipstream.source="oci:LABEL=a b:/x""#, Some(pairs(&[("source", "oci:LABEL=a b:/x")]))),
            ("quoted whole", r#""slipstream.deadline=1h 3min""#, Some(pairs(&[("deadline", "1h 3min")]))),
            ("bare debug", "slipstream.debug", Some(pairs(&[("debug", "")]))),
            ("bare other", "slipstream.image", None),
        ] {
            assert_eq!(requested(cmdline).ok(), expected, "{label}");
        }
    }
}
