//! What of a JSON value breaks a JSON Schema, for the words that [`schema`](super::schema) uses.

use regex_lite::Regex;
use serde_json::Value;

/// Words that only describe. `format` does so by the standard, and the integers have a minimum.
const ANNOTATIONS: [&str; 7] =
    ["$defs", "$id", "$schema", "default", "description", "format", "title"];

/// The breaches, each with its place as a JSON pointer. Stricter than the standard in one thing: the
/// schema must name every field.
///
/// # Panics
///
/// When the schema uses a word that is not known here.
pub(crate) fn all(schema: &Value, value: &Value) -> Vec<String> {
    within(schema, schema, value, "")
}

fn within(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let words = schema.as_object().expect("a schema is an object");
    let matching = |schemas: &Value| {
        let schemas = schemas.as_array().expect("a list of schemas").iter();
        schemas.filter(|it| within(root, it, value, place).is_empty()).count()
    };
    let mut breaches = Vec::new();
    let mut named = Vec::new();
    for (word, operand) in words {
        let holds = match (word.as_str(), value) {
            ("$ref", _) => {
                let target = operand.as_str().and_then(|it| root.pointer(it.strip_prefix('#')?));
                breaches.extend(within(root, target.expect("a definition"), value, place));
                true
            }
            ("type", _) => match operand {
                Value::Array(types) => types.iter().any(|it| is_of_type(value, it)),
                one => is_of_type(value, one),
            },
            ("const", _) => value == operand,
            ("enum", _) => operand.as_array().expect("a list of values").contains(value),
            ("anyOf", _) => matching(operand) > 0,
            ("oneOf", _) => matching(operand) == 1,
            ("minimum", Value::Number(number)) => number.as_f64() >= operand.as_f64(),
            ("pattern", Value::String(text)) => {
                let pattern = operand.as_str().expect("a pattern is text");
                Regex::new(pattern).expect("a pattern").is_match(text)
            }
            ("required", Value::Object(fields)) => {
                let names = operand.as_array().expect("a list of names").iter();
                names.filter_map(Value::as_str).all(|name| fields.contains_key(name))
            }
            ("properties", Value::Object(fields)) => {
                for (name, field) in operand.as_object().expect("schemas by name") {
                    let Some(value) = fields.get(name) else { continue };
                    named.push(name);
                    breaches.extend(within(root, field, value, &format!("{place}/{name}")));
                }
                true
            }
            ("additionalProperties", Value::Object(fields)) => {
                for (name, value) in fields {
                    breaches.extend(within(root, operand, value, &format!("{place}/{name}")));
                }
                true
            }
            ("items", Value::Array(items)) => {
                for (index, value) in items.iter().enumerate() {
                    breaches.extend(within(root, operand, value, &format!("{place}/{index}")));
                }
                true
            }
            ("minimum" | "pattern" | "required" | "properties" | "items", _) => true,
            ("additionalProperties", _) => true,
            (word, _) => {
                assert!(ANNOTATIONS.contains(&word), "`{word}` is not known here");
                true
            }
        };
        if !holds {
            breaches.push(format!("{place}: {value} breaks {word} {operand}"));
        }
    }
    if let (Value::Object(fields), true) = (value, words.contains_key("properties")) {
        let unnamed = fields.keys().filter(|name| !named.contains(name));
        breaches.extend(unnamed.map(|name| format!("{place}/{name} is not in the schema")));
    }
    breaches
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str().expect("a type is text") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type `{other}`"),
    }
}
