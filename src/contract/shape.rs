// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of a JSON document that a typed parser knows.
//!
//! ostree-ext stores manifest and config in the merge commit not as it received them but as its typed parser
//! (crate oci-spec) understood them: unknown fields are gone, types are checked. Other tools read that copy, so ours
//! has to be the same. The types are tables here. What a table does not name never takes memory.

use std::cell::Cell;
use std::fmt;

use anyhow::{Context, Result};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Most items that a document may have in its lists and maps together. Its text is bounded, but an item takes more memory
/// than text: 200 bytes and more. A manifest of 128 layers with ten annotations each has under 2,000.
const MAX_ITEMS: usize = 20_000;

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
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
    /// A map from strings to one shape. A `null` stays: who reads the map says what it means.
    Map(&'static Shape),
    /// A map from strings to empty objects, as Go writes a set. What the values are does not matter.
    Set,
    /// An object with these fields: name, shape, required.
    Object(&'static [(&'static str, Shape, bool)]),
    /// Anything, kept as it is; no object in it may have a field twice. Who reads it has to look at every field.
    Any,
}

impl Shape {
    fn noun(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Count => "count",
            Self::Flag => "boolean",
            Self::List(_) => "list",
            Self::Texts | Self::Map(_) | Self::Set | Self::Object(_) => "map",
            Self::Any => "value",
        }
    }
}

/// Parse `bytes` to what `shape` knows. `null` counts as absent, as serde's Option does.
pub fn parse(bytes: &[u8], shape: Shape, name: &'static str) -> Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let items = Cell::new(0);
    let field = Field { shape, name, document: name, items: &items };
    let value = field.deserialize(&mut deserializer).with_context(|| format!("parsing {name}"))?;
    deserializer.end().with_context(|| format!("parsing {name}"))?;
    Ok(value)
}

/// Canonical JSON as ostree-ext writes it: keys sorted, no white space. `value` holds no floats.
pub fn canonical(value: &Value) -> String {
    // serde_json's map is sorted as long as nobody turns on its feature preserve_order: the test below notices.
    value.to_string()
}

/// A field, its name and the document's for messages, and how many items the document has had.
#[derive(Clone, Copy)]
struct Field<'i> {
    shape: Shape,
    name: &'static str,
    document: &'static str,
    items: &'i Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Field<'_> {
    /// A part of this.
    fn part(self, shape: Shape, name: &'static str) -> Self {
        Self { shape, name, ..self }
    }

    fn count_item<E: Error>(self) -> Result<(), E> {
        self.items.set(self.items.get() + 1);
        if self.items.get() <= MAX_ITEMS {
            Ok(())
        } else {
            Err(E::custom(format!("{} has more than {MAX_ITEMS} items, in {}", self.document, self.name)))
        }
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be a {}", self.name, self.shape.noun())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        match self.shape {
            Shape::Text | Shape::Any => Ok(text.into()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Other("a string"), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        match self.shape {
            Shape::Count | Shape::Any => Ok(number.into()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        match self.shape {
            Shape::Any => Ok(number.into()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        match self.shape {
            Shape::Any => Ok(number.into()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
        }
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        match self.shape {
            Shape::Flag | Shape::Any => Ok(flag.into()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(flag), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let item = match self.shape {
            Shape::List(item) => *item,
            Shape::Any => Shape::Any,
            _ => return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        };
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(self.part(item, self.name))? {
            self.count_item()?;
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut known = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = match self.shape {
                Shape::Texts => map.next_value_seed(self.part(Shape::Text, self.name))?,
                Shape::Map(item) => map.next_value_seed(self.part(*item, self.name))?,
                Shape::Any => map.next_value_seed(self)?,
                Shape::Set => {
                    map.next_value::<IgnoredAny>()?;
                    Value::Object(Map::new())
                }
                Shape::Object(fields) => match fields.iter().find(|(name, ..)| *name == key) {
                    Some((name, shape, _)) => map.next_value_seed(self.part(*shape, name))?,
                    None => {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                },
                _ => return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
            };
            self.count_item()?;
            // Two readers could take different ones.
            if known.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("{} has the field {key:?} twice", self.name)));
            }
        }
        if !matches!(self.shape, Shape::Map(_) | Shape::Any) {
            known.retain(|_, value| !value.is_null());
        }
        if let Shape::Object(fields) = self.shape
            && let Some((name, ..)) = fields.iter().find(|(name, _, required)| *required && !known.contains_key(*name))
        {
            return Err(A::Error::custom(format!("{} has no {name}", self.name)));
        }
        Ok(Value::Object(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_dropped() {
        const SHAPE: Shape = Shape::Object(&[("a", Shape::Count, true), ("b", Shape::Texts, false)]);
        let text = r#"{"b": {"z": "\"\n", "a": "é"}, "a": 1, "c": [[1.5, {"x": null}]], "c": 2}"#;
        let known = parse(text.as_bytes(), SHAPE, "manifest").unwrap();
        assert_eq!(canonical(&known), r#"{"a":1,"b":{"a":"é","z":"\"\n"}}"#);
        for (label, text, error) in [
            ("missing", "{}", "manifest has no a"),
            ("null", r#"{"a": null}"#, "manifest has no a"),
            ("type", r#"{"a": "1"}"#, "expected a to be a count"),
            ("negative", r#"{"a": -1}"#, "expected a to be a count"),
            ("inner", r#"{"a": 1, "b": {"x": 1}}"#, "expected b to be a string"),
            ("twice", r#"{"a": 1, "a": 2}"#, "manifest has the field \"a\" twice"),
            ("list", "[]", "expected manifest to be a map"),
            ("garbage behind", r#"{"a": 1} {}"#, "trailing characters"),
            ("cut", r#"{"a": 1"#, "EOF while parsing"),
        ] {
            let got = format!("{:#}", parse(text.as_bytes(), SHAPE, "manifest").unwrap_err());
            assert!(got.contains(error), "{label}: {got}");
        }
        let many = format!(
            r#"{{"a": 1, "b": {{{}}}}}"#,
            (0..20_001).map(|n| format!("\"{n}\":\"\"")).collect::<Vec<_>>().join(",")
        );
        let got = format!("{:#}", parse(many.as_bytes(), SHAPE, "manifest").unwrap_err());
        assert!(got.contains("manifest has more than 20000 items, in b"), "{got}");
        let deep = format!(r#"{{"a": 1, "c": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(deep.as_bytes(), SHAPE, "manifest").is_ok(), "what is not known is skipped, however deep");
        let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(deep.as_bytes(), SHAPE, "manifest").is_err(), "what is known has a shape");
    }

    #[test]
    fn any_value_is_kept_but_no_field_twice() {
        let text = r#"{"b":[null,true,-1,1.5,{"x":null}],"a":{"":"é"}}"#;
        let kept = parse(text.as_bytes(), Shape::Any, "policy").unwrap();
        assert_eq!(kept, serde_json::from_str::<Value>(text).unwrap());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let many = format!("[{}0]", "0,".repeat(20_000));
        for (label, text, error) in [
            ("twice", r#"{"a": 1, "a": 1}"#, "policy has the field \"a\" twice"),
            ("twice, further in", r#"{"a": [{"b": 1, "b": 2}]}"#, "policy has the field \"b\" twice"),
            ("twice, written otherwise", r#"{"a": 1, "\u0061": 1}"#, "policy has the field \"a\" twice"),
            ("deep", &deep, "recursion limit exceeded"),
            ("many", &many, "policy has more than 20000 items, in policy"),
            ("garbage behind", "{} x", "trailing characters"),
            ("half a surrogate pair", r#"["\ud800"]"#, "unexpected end of hex escape"),
        ] {
            let got = format!("{:#}", parse(text.as_bytes(), Shape::Any, "policy").unwrap_err());
            assert!(got.contains(error), "{label}: {got}");
        }
    }
}
