// SPDX-License-Identifier: Apache-2.0 OR MIT
//! JSON objects that may have these fields and no other.
//!
//! A field that is not known could mean more than is known, in a policy as in what was signed.

use anyhow::{Context, Result, bail};
use contract::shape::{self, Shape};
use serde_json::{Map, Value};

/// An object, every field of which is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'v> {
    map: &'v Map<String, Value>,
    name: &'v str,
}

/// Parses a document; `name` is what messages call it.
pub(crate) fn parse(bytes: &[u8], name: &'static str) -> Result<Value> {
    shape::parse(bytes, Shape::Any, name)
}

impl<'v> Fields<'v> {
    /// Takes an object that has no fields but the `known` ones.
    pub(crate) fn of(value: &'v Value, name: &'v str, known: &[&str]) -> Result<Self> {
        let map = value.as_object().with_context(|| format!("{name} is not an object"))?;
        if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
            bail!("{name} has the unknown key {key:?}");
        }
        Ok(Self { map, name })
    }

    /// Returns what messages call it.
    pub(crate) fn name(&self) -> &'v str {
        self.name
    }

    /// Returns a field that has to be there.
    pub(crate) fn need(&self, key: &str) -> Result<&'v Value> {
        self.get(key).with_context(|| format!("{} has no {key}", self.name))
    }

    /// Returns a string that has to be there.
    pub(crate) fn need_text(&self, key: &str) -> Result<&'v str> {
        self.text(key)?.with_context(|| format!("{} has no {key}", self.name))
    }

    /// Returns a string. `null` is not one.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'v str>> {
        let text = |value: &'v Value| value.as_str().with_context(|| format!("{key} of {} is not a string", self.name));
        self.get(key).map(text).transpose()
    }

    /// Returns a list of strings that has at least one.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'v str>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let list = list.with_context(|| format!("{key} of {} is not a list of strings", self.name))?;
        if list.is_empty() {
            bail!("{key} of {} is empty", self.name);
        }
        Ok(Some(list))
    }

    /// Returns a field.
    pub(crate) fn get(&self, key: &str) -> Option<&'v Value> {
        self.map.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_types_they_are_read_as() {
        let value = parse(br#"{"a": "x", "b": ["y"], "c": [], "d": [1], "e": null}"#, "thing").unwrap();
        let fields = Fields::of(&value, "thing", &["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(fields.text("a").unwrap(), Some("x"));
        assert_eq!(fields.text("z").unwrap(), None);
        assert_eq!(fields.texts("b").unwrap(), Some(vec!["y"]));
        assert_eq!(fields.texts("z").unwrap(), None);
        for (label, result, expected) in [
            ("unknown", Fields::of(&value, "thing", &["a"]).map(drop), "thing has the unknown key \"b\""),
            ("list", Fields::of(&Value::from(vec![1]), "thing", &[]).map(drop), "thing is not an object"),
            ("missing", fields.need("z").map(drop), "thing has no z"),
            ("missing text", fields.need_text("z").map(drop), "thing has no z"),
            ("text of a list", fields.text("b").map(drop), "b of thing is not a string"),
            ("text of null", fields.text("e").map(drop), "e of thing is not a string"),
            ("list of text", fields.texts("a").map(drop), "a of thing is not a list of strings"),
            ("list of numbers", fields.texts("d").map(drop), "d of thing is not a list of strings"),
            ("empty list", fields.texts("c").map(drop), "c of thing is empty"),
        ] {
            assert_eq!(result.unwrap_err().to_string(), expected, "{label}");
        }
    }
}
