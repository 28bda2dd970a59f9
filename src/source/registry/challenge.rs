// SPDX-License-Identifier: Apache-2.0 OR MIT
//! WWW-Authenticate (RFC 9110, 11.6.1): what a registry wants to see.

use std::collections::BTreeMap;

/// Most challenges, and parameters of one, that are looked at.
const MAX_CHALLENGES: usize = 8;
const MAX_PARAMETERS: usize = 16;

/// One way to authenticate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `bearer`, `basic`, …, in lower case.
    pub scheme: String,
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// A parameter that is there and not empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Actions that a pull does not need. A token that allows them is not asked for, whatever a registry says.
const WRITING: [&str; 3] = ["*", "delete", "push"];

impl Challenge {
    /// Returns whether we can do it.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.scheme.as_str(), "basic" | "bearer")
    }

    /// Returns the scope that a token lacked, if it is about this repository and more than pulling.
    pub(super) fn wider_scope(&self, repository: &str) -> Option<String> {
        if self.scheme != "bearer" || self.parameter("error") != Some("insufficient_scope") {
            return None;
        }
        self.parameter("scope")?.split(' ').find_map(|scope| {
            let mut parts = scope.split(':');
            let (kind, name, actions, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
            let actions: Vec<_> = actions.split(',').filter(|action| !WRITING.contains(action)).collect();
            let is_ours = kind == "repository" && name == repository && rest.is_none();
            let is_more = actions.iter().any(|action| !matches!(*action, "" | "pull"));
            (is_ours && is_more).then(|| format!("{kind}:{name}:{}", actions.join(",")))
        })
    }
}

/// Take one value of the header apart. What makes no sense is left out: a registry is asked for what it wants, and if
/// that is nonsense, the next answer is 401 again.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = split_token(rest);
        if word.is_empty() {
            // Neither a name nor the end: skip what it is.
            match rest.char_indices().nth(1) {
                Some((next, _)) => rest = rest.get(next..).unwrap_or_default(),
                None => return challenges,
            }
            continue;
        }
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = split_value(value.trim_start());
                if let Some(challenge) = challenges.last_mut()
                    && challenge.parameters.len() < MAX_PARAMETERS
                {
                    challenge.parameters.entry(word.to_ascii_lowercase()).or_insert(value);
                }
                rest = after;
            }
            None => {
                if challenges.len() == MAX_CHALLENGES {
                    return challenges;
                }
                challenges.push(Challenge { scheme: word.to_ascii_lowercase(), ..Challenge::default() });
                rest = after;
            }
        }
    }
}

/// A token of RFC 9110, and what comes after it.
fn split_token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or_default()
}

/// A token or a quoted string without its quotes, and what comes after it.
fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        // A realm without quotes has characters that no token has.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end).unwrap_or_default();
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scheme name=value;name=value|scheme`.
    fn show(challenges: &[Challenge]) -> String {
        let one = |challenge: &Challenge| {
            let parameters: Vec<_> =
                challenge.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {}", challenge.scheme, parameters.join(";"))
        };
        challenges.iter().map(one).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn challenges() {
        for (label, input, expected) in [
            (
                "docker hub",
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                "bearer realm=https://auth.docker.io/token;scope=repository:a/b:pull,push;service=registry.docker.io",
            ),
            ("basic", r#"BASIC Realm = "a \"b\" c""#, r#"basic realm=a "b" c"#),
            (
                "two",
                r#"Basic realm="x", Bearer realm=https://t/, error="invalid""#,
                "basic realm=x|bearer error=invalid;realm=https://t/",
            ),
            ("no parameters", "Negotiate, Basic realm=x", "negotiate |basic realm=x"),
            ("first wins", "Basic realm=x, realm=y", "basic realm=x"),
            ("open quote", r#"Bearer realm="https://t"#, "bearer realm=https://t"),
            ("ends in a backslash", r#"Bearer realm="a\"#, "bearer realm=a"),
            ("parameter without scheme", "realm=x", ""),
            ("nonsense", "=;=\"\u{e9}, ,,", ""),
            ("empty", "", ""),
        ] {
            assert_eq!(show(&parse(input)), expected, "{label}");
        }
        assert_eq!(parse(&"Basic ".repeat(1000)).len(), MAX_CHALLENGES);
        let many: String = (0..1000).map(|n| format!(", p{n}=x")).collect();
        assert_eq!(
            parse(&format!("Basic{many}")).first().map(|challenge| challenge.parameters.len()),
            Some(MAX_PARAMETERS)
        );
    }

    #[test]
    fn a_token_is_widened_for_our_repository_only() {
        let bearer = r#"Bearer realm="https://t/",error="insufficient_scope",scope="#;
        for (label, header, expected) in [
            (
                "another action",
                "\"repository:os/node:pull,metadata_read\"",
                Some("repository:os/node:pull,metadata_read"),
            ),
            ("among others", "\"registry:catalog:* repository:os/node:list\"", Some("repository:os/node:list")),
            ("what we ask for anyway", "\"repository:os/node:pull\"", None),
            ("writing", "\"repository:os/node:pull,push,delete,*\"", None),
            ("writing among others", "\"repository:os/node:push,list\"", Some("repository:os/node:list")),
            ("another repository", "\"repository:os/other:list\"", None),
            ("another kind", "\"registry:os/node:list\"", None),
            ("too many parts", "\"repository:os/node:list:x\"", None),
            ("too few parts", "\"repository:os/node\"", None),
            ("none", "\"\"", None),
        ] {
            let found = parse(&format!("{bearer}{header}"));
            assert_eq!(found[0].wider_scope("os/node").as_deref(), expected, "{label}");
        }
        let other = parse(r#"Bearer error="invalid_token",scope="repository:os/node:list""#);
        assert_eq!(other[0].wider_scope("os/node"), None, "another error");
    }
}
