// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The request as it was written.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `src/contract/report/record.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Holds every key that was set, by its name.
pub type Requested = BTreeMap<String, RequestedKey>;

/// Describes a key that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedKey {
    /// Its value or values.
    pub value: Values,
    /// Where they were written: `karg`, `ignition`, or the path of a keyfile.
    pub from: String,
}

/// Holds the value of a key, or the list of one that may be given several times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
pub enum Values {
    /// The value of a key that has one.
    One(String),
    /// The values of a key that may have several, in order.
    Many(Vec<String>),
}

impl TryFrom<Value> for Values {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            other => Err(format!("the value of a key is {other}")),
        };
        match value {
            Value::Array(list) => list.into_iter().map(text).collect::<Result<_, _>>().map(Self::Many),
            one => text(one).map(Self::One),
        }
    }
}

impl Values {
    /// Returns the values as a list.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}
