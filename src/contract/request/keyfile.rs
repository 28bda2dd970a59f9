// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The keyfile: `KEY = VALUE` in the section `[slipstream]`, as GKeyFile and systemd write them.

use anyhow::{Context, Result, bail, ensure};

const SECTION: &str = "slipstream";

/// The keys of our section, in order. Other sections are an error: a typing mistake should not pass in silence.
pub fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut inside = false;
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').with_context(|| format!("line {}: section without ]", n + 1))?;
            ensure!(name == SECTION, "line {}: unknown section [{name}], expected [{SECTION}]", n + 1);
            inside = true;
            continue;
        }
        ensure!(inside, "line {}: a key before the section [{SECTION}]", n + 1);
        let Some((key, value)) = line.split_once('=') else {
            bail!("line {}: neither a section nor KEY = VALUE", n + 1);
        };
        found.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_table() {
        for (label, text, expected) in [
            ("empty", "", Ok(0)),
            ("comments", "# a\n\n; b\n[slipstream]\n# c\n", Ok(0)),
            ("keys", "[slipstream]\nimage = a=b \nsource=x\r\nsource=y\n", Ok(3)),
            ("no section", "image = a", Err("line 1: a key before the section [slipstream]")),
            ("other section", "[slipsteam]\n", Err("line 1: unknown section [slipsteam], expected [slipstream]")),
            ("open section", "[slipstream\n", Err("line 1: section without ]")),
            ("no value", "[slipstream]\nimage\n", Err("line 2: neither a section nor KEY = VALUE")),
        ] {
            match (parse(text), expected) {
                (Ok(pairs), Ok(count)) => assert_eq!(pairs.len(), count, "{label}"),
                (Err(error), Err(text)) => assert_eq!(error.to_string(), text, "{label}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
        assert_eq!(parse("[slipstream]\nimage = a=b \n").unwrap(), [("image".to_owned(), "a=b".to_owned())]);
    }
}
