// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The schema of the status as our own tests hold documents against it. The published one allows further fields, so that a
//! reader that validates accepts a newer slipstream; a test has to notice a field that is not described.

use serde_json::Value;

/// Closes every object of a schema that lists its fields.
pub fn strict(mut schema: Value) -> Value {
    close(&mut schema);
    schema
}

fn close(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A field of the document may be named `properties`, but its schema has no list of that name then.
            if map.get("properties").is_some_and(Value::is_object) && map.contains_key("type") {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}
