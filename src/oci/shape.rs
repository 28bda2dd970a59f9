// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of a JSON document that a typed parser knows.
//!
//! ostree-ext stores manifest and config in the merge commit not as it received them but as its typed parser
//! (crate oci-spec) understood them: unknown fields are gone, types are checked. Other tools read that copy, so ours
//! has to be the same. The types are tables here.

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value};

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// An unsigned integer.
    Count,
    /// true or false.
    Flag,
    /// A list of one shape.
    List(&'static Shape),
    /// A map from strings to strings.
    Texts,
    /// A map from strings to empty objects, as Go writes a set.
    Set,
    /// An object with these fields: name, shape, required.
    Object(&'static [(&'static str, Shape, bool)]),
}

/// The value reduced to what `shape` knows. `null` counts as absent, as serde's Option does.
pub(super) fn project(value: &Value, shape: Shape, name: &str) -> Result<Value> {
    Ok(match (shape, value) {
        (Shape::Text, Value::String(_)) | (Shape::Flag, Value::Bool(_)) => value.clone(),
        (Shape::Count, Value::Number(number)) if number.is_u64() => value.clone(),
        (Shape::List(item), Value::Array(values)) => {
            Value::Array(values.iter().map(|value| project(value, *item, name)).collect::<Result<_>>()?)
        }
        (Shape::Texts, Value::Object(map)) => {
            ensure!(map.values().all(Value::is_string), "{name} has a value that is not a string");
            value.clone()
        }
        (Shape::Set, Value::Object(map)) => {
            Value::Object(map.keys().map(|key| (key.clone(), Value::Object(Map::new()))).collect())
        }
        (Shape::Object(fields), Value::Object(map)) => {
            let mut known = Map::new();
            for (field, shape, required) in fields {
                match map.get(*field) {
                    None | Some(Value::Null) if *required => bail!("{name} has no {field}"),
                    None | Some(Value::Null) => {}
                    Some(value) => {
                        known.insert((*field).to_owned(), project(value, *shape, &format!("{name}.{field}"))?);
                    }
                }
            }
            Value::Object(known)
        }
        _ => bail!("{name} is not a {}", shape.noun()),
    })
}

impl Shape {
    fn noun(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Count => "count",
            Self::Flag => "boolean",
            Self::List(_) => "list",
            Self::Texts | Self::Set | Self::Object(_) => "map",
        }
    }
}

/// Canonical JSON as ostree-ext writes it: keys sorted, no white space. `value` holds no floats.
pub(super) fn canonical(value: &Value) -> String {
    // serde_json's map is sorted as long as nobody turns on its feature preserve_order: the test below notices.
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projection_drops_what_it_does_not_know() {
        const SHAPE: Shape = Shape::Object(&[("a", Shape::Count, true), ("b", Shape::Texts, false)]);
        let value = serde_json::json!({"b": {"z": "\"\n", "a": "é"}, "a": 1, "c": []});
        let known = project(&value, SHAPE, "manifest").unwrap();
        assert_eq!(canonical(&known), r#"{"a":1,"b":{"a":"é","z":"\"\n"}}"#);
        for (label, value, error) in [
            ("missing", serde_json::json!({}), "manifest has no a"),
            ("null", serde_json::json!({"a": null}), "manifest has no a"),
            ("type", serde_json::json!({"a": "1"}), "manifest.a is not a count"),
            ("negative", serde_json::json!({"a": -1}), "manifest.a is not a count"),
            ("inner", serde_json::json!({"a": 1, "b": {"x": 1}}), "manifest.b has a value that is not a string"),
        ] {
            assert_eq!(project(&value, SHAPE, "manifest").unwrap_err().to_string(), error, "{label}");
        }
    }
}
