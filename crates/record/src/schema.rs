//! The JSON Schema of a record's file, from the types themselves.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::format::FormatVersion;
use crate::record::Record;

#[cfg(test)]
mod breach;

/// The JSON Schema (draft 2020-12) of a record's file, for tools that read records. What it says of a
/// field is the documentation of that field here.
///
/// It is the schema of records of this version and of older ones of the same major version. Required
/// is what a reader does not do without; who writes, writes every field. Fields that it does not name
/// are allowed, since a newer minor version adds some.
pub fn schema() -> Value {
    let version = FormatVersion::CURRENT;
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Record>();
    RecursiveTransform(plain_description).transform(&mut schema);
    schema.insert("$id".into(), format!("urn:belljar:record:{version}").into());
    schema.insert("title".into(), format!("Record of a belljar test, format {version}").into());
    let mut schema = schema.to_value();
    // The same order, whatever of serde_json else is built into the program.
    schema.sort_all_objects();
    schema
}

/// A figure that a test measured, of which JSON has only the finite ones.
pub(crate) fn number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "number" }, { "enum": ["NaN", "inf", "-inf"] }] })
}

/// Leaves of a description what makes sense without the code: no examples, no links, JSON's `null`.
fn plain_description(schema: &mut Schema) {
    let Some(Value::String(text)) = schema.get_mut("description") else { return };
    let paragraphs = text.split("\n\n").take_while(|paragraph| !paragraph.contains("```"));
    let paragraphs: Vec<_> = paragraphs.map(|it| without_links(&it.replace('\n', " "))).collect();
    *text = paragraphs.join("\n\n").replace("`None`", "`null`");
}

/// `[text](target)` and `[text]` become `text`.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, (label, after))) =
        rest.split_once('[').and_then(|(before, it)| Some((before, it.split_once(']')?)))
    {
        plain += before;
        plain += label;
        let target = after.strip_prefix('(').and_then(|it| it.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::{env, fs};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/record.schema.json");
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

    #[test]
    fn the_file_in_docs_is_the_schema_of_the_types() {
        let generated = format!("{:#}\n", *SCHEMA);
        if env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(FILE, &generated).unwrap();
        }
        let file = fs::read_to_string(FILE).unwrap_or_default();
        let differs = (1..).zip(file.lines().zip(generated.lines())).find(|(_, (a, b))| a != b);
        assert!(
            file == generated,
            "docs/record.schema.json is not of these types, first in {differs:?}; \
             `UPDATE_SCHEMA=1 cargo test -p belljar-record --features schema` writes it. \
             Raise `FormatVersion::CURRENT.minor` if records have gained something since the last release."
        );
    }

    #[test]
    fn records_keep_the_schema_and_it_names_their_every_field() {
        for record in [testing::passed(), testing::failed(), testing::played()] {
            assert_eq!(breach::all(&SCHEMA, &serde_json::to_value(record).unwrap()), [""; 0]);
        }
    }

    #[test]
    fn what_breaks_the_schema_is_no_record() {
        let whole = serde_json::to_value(testing::played()).unwrap();
        for (place, bad) in [
            ("/format/major", json!(2)),
            ("/identity", json!({ "test": "t" })),
            ("/identity/variant_hash", json!("0123456789ABCDEF")),
            ("/started_at", json!(7)),
            ("/outcome", json!("passed")),
            ("/reason", json!({ "kind": "timeout" })),
            ("/metrics/0/value", json!("many")),
            ("/scenarios/0/evidence/began_ns", json!(-1)),
            ("/scenarios/0/evidence/workers/0/cpus_used", json!("0,,1")),
            ("/scenarios/0/evidence/workers/0/end", json!({ "end": "asleep" })),
            ("/scenarios/0/verdict", json!([])),
            ("/vm/scheduler", json!("scx_mine")),
        ] {
            let mut value = whole.clone();
            *value.pointer_mut(place).unwrap() = bad;
            let breaches = breach::all(&SCHEMA, &value);
            assert!(breaches.len() == 1 && breaches[0].starts_with(place), "{place}: {breaches:?}");
            assert!(Record::from_json(value.to_string().as_bytes()).is_err(), "{place}");
        }
    }

    #[test]
    fn descriptions_are_plain() {
        let mut schema = json_schema!({
            "description": "A [`Verdict`] [merges](Self::merge),\n`None` if not; a[0\n\n```\ncode\n```"
        });
        plain_description(&mut schema);
        let plain = "A `Verdict` merges, `null` if not; a[0";
        assert_eq!(schema.get("description"), Some(&json!(plain)));
    }

    proptest! {
        #[test]
        fn any_record_keeps_the_schema(record in testing::records()) {
            let value = serde_json::to_value(record).unwrap();
            prop_assert_eq!(breach::all(&SCHEMA, &value), [""; 0]);
        }
    }
}
