//! One run, with everything that is known of it.

use std::collections::BTreeMap;

use belljar_verdict::evidence::Evidence;
use belljar_verdict::{Outcome, Polarity, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::format::FormatVersion;
use crate::host::Host;
use crate::identity::Identity;
use crate::project::Project;
use crate::reason::Reason;
use crate::said::Digest;
use crate::text::Tail;

/// One run of one variant of a test: what is in a record's file.
///
/// The fields' names, types and units in JSON are those of [`format`](mod@crate::format).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// The format that this follows.
    pub format: FormatVersion,
    /// The version of the belljar that wrote it.
    pub belljar_version: String,
    /// Which test and variant.
    pub identity: Identity,
    /// When the run was asked for, UTC.
    pub started_at: Timestamp,
    /// What it came to.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// Whether the test is declared to fail.
    #[serde(default)]
    pub expected_fail: bool,
    /// What the test measured, in the order in which it did.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// What the test had to say, in order.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Parts of the run, in the order in which they began.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// Scenarios that were played, in order: what they showed, and what came of it.
    #[serde(default)]
    pub scenarios: Vec<Played>,
    /// How many steps of the scenario were played, where not all were.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Where the host's time went.
    #[serde(default)]
    pub durations: Durations,
    /// Guest time that the test's body took, in nanoseconds.
    #[serde(default)]
    pub guest_time_ns: Option<u64>,
    /// The time limit, in milliseconds of guest time.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// The machine it ran in.
    #[serde(default)]
    pub vm: Vm,
    /// The machine it ran on.
    #[serde(default)]
    pub host: Host,
    /// The code under test.
    #[serde(default)]
    pub project: Project,
    /// The end of the test's standard output.
    #[serde(default)]
    pub stdout: Tail,
    /// The end of the test's standard error.
    #[serde(default)]
    pub stderr: Tail,
    /// The end of the guest's serial console.
    #[serde(default)]
    pub console: Tail,
    /// Everything the guest said, as a fingerprint; only in `det`.
    #[serde(default)]
    pub digest: Option<Digest>,
}

impl Record {
    /// A record of a run that ended for `reason`, with nothing else known yet.
    pub fn new(identity: Identity, started_at: Timestamp, reason: Reason) -> Self {
        Self {
            format: FormatVersion::CURRENT,
            belljar_version: env!("CARGO_PKG_VERSION").to_string(),
            identity,
            started_at,
            outcome: reason.outcome(),
            reason,
            expected_fail: false,
            metrics: Vec::new(),
            notes: Vec::new(),
            phases: Vec::new(),
            scenarios: Vec::new(),
            steps: None,
            durations: Durations::default(),
            guest_time_ns: None,
            timeout_ms: None,
            vm: Vm::default(),
            host: Host::default(),
            project: Project::default(),
            stdout: Tail::default(),
            stderr: Tail::default(),
            console: Tail::default(),
            digest: None,
        }
    }

    /// Reads a record from the text of its file. Fields that are not known are passed over.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when `json` is not a record, or one of another major format.
    pub fn from_json(json: &[u8]) -> Result<Self, ParseError> {
        #[derive(Deserialize)]
        struct Header {
            format: FormatVersion,
            #[serde(default)]
            belljar_version: String,
        }
        let header: Header = serde_json::from_slice(json)?;
        if !header.format.is_readable() {
            let written_by = match header.belljar_version.trim() {
                "" => "another version".to_string(),
                version => crate::text::one_line(version, 40),
            };
            return Err(ParseError::Format { found: header.format, written_by });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// The text of the record's file, which ends with a line end.
    pub fn to_json(&self) -> String {
        let mut json =
            serde_json::to_string_pretty(self).expect("keys are text, numbers are finite");
        json.push('\n');
        json
    }
}

/// Why a text is not a record that this belljar reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is not JSON, or a field is missing or of the wrong type.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It is of another major format.
    #[error(
        "the record has format {found}, and belljar {} reads format {}; belljar {written_by} wrote \
         it and can read it",
        env!("CARGO_PKG_VERSION"),
        FormatVersion::CURRENT.major
    )]
    Format {
        /// The record's format.
        found: FormatVersion,
        /// The version of the belljar that wrote it.
        written_by: String,
    },
}

/// A figure that the test measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Metric {
    /// Its name, unique within the record.
    pub name: String,
    /// Its value. What is no finite number is written as the text `NaN`, `inf` or `-inf`.
    #[serde(with = "number")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::number"))]
    pub value: f64,
    /// The unit of `value`, as in `ns`, `bytes` or `1/s`; empty for a plain count or ratio.
    #[serde(default)]
    pub unit: String,
    /// In which direction it gets better.
    #[serde(default)]
    pub polarity: Polarity,
}

/// A named part of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it began, in nanoseconds of guest time.
    pub start_ns: u64,
    /// When it ended, in nanoseconds of guest time; `None` when the run ended first.
    #[serde(default)]
    pub end_ns: Option<u64>,
    /// What was counted in it.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// A scenario that was played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Played {
    /// What it showed.
    pub evidence: Evidence,
    /// What came of each check.
    pub verdict: Verdict,
}

/// Where the host's time went, in nanoseconds of host time; `None` for what the run never came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Durations {
    /// Waiting for a place to run.
    pub queue_ns: Option<u64>,
    /// Making or finding the template.
    pub template_ns: Option<u64>,
    /// From the template to a VM that runs.
    pub fork_ns: Option<u64>,
    /// From the request to the result.
    pub run_ns: Option<u64>,
    /// Collecting what the guest left, and ending the VM.
    pub collect_ns: Option<u64>,
}

impl Durations {
    /// All of them, in nanoseconds.
    pub fn total_ns(&self) -> u64 {
        let all = [self.queue_ns, self.template_ns, self.fork_ns, self.run_ns, self.collect_ns];
        all.into_iter().flatten().fold(0, u64::saturating_add)
    }
}

/// The machine that a test ran in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Vm {
    /// How it was run.
    pub mode: Mode,
    /// Its kernel.
    pub kernel: Kernel,
    /// Its topology in notation, as in `1n2l4c1t`.
    pub topology: String,
    /// The preset that the topology came from.
    pub preset: Option<String>,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// The seed of the run.
    pub seed: Option<u64>,
    /// The scheduler under test; none for the kernel's own.
    pub scheduler: Option<Scheduler>,
    /// QEMU's version, as in `10.0.2`.
    pub qemu_version: Option<String>,
    /// QEMU's accelerator, as in `tcg` or `kvm`.
    pub accelerator: Option<String>,
}

/// How a VM was run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Mode {
    /// What was asked for: `auto`, `kvm`, `tcg` or `det`.
    pub requested: String,
    /// What was used; empty when no VM was started.
    pub used: String,
    /// Why that one, where it was not what was asked for.
    pub why: Option<String>,
}

/// The kernel in a VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Kernel {
    /// What it is known by, as in `debian:sid:7.2.13-1`.
    pub id: String,
    /// Its release, as `uname -r` has it; `None` when it is not known.
    pub release: Option<String>,
}

/// A scheduler under test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Scheduler {
    /// The name that the test knows it by.
    pub name: String,
    /// Where its program comes from, as in `package scx-belljar`.
    pub source: String,
    /// Its command line in the guest.
    pub command: Vec<String>,
    /// BLAKE3 of its program in hex, or empty.
    pub program_hash: String,
}

/// A number of which JSON has only the finite values.
mod number {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, out: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { out.serialize_f64(*value) } else { out.collect_str(value) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value {
            Number(f64),
            Text(String),
        }
        match Value::deserialize(input)? {
            Value::Number(value) => Ok(value),
            Value::Text(text) => match text.as_str() {
                "NaN" => Ok(f64::NAN),
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                _ => Err(D::Error::custom("expected a number, `NaN`, `inf` or `-inf`")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing;

    fn with(change: impl FnOnce(&mut Value)) -> Result<Record, ParseError> {
        let mut value = serde_json::to_value(testing::passed()).unwrap();
        change(&mut value);
        Record::from_json(value.to_string().as_bytes())
    }

    #[test]
    fn another_major_format_is_named_with_who_reads_it() {
        let change = |value: &mut Value| {
            *value =
                json!({"format": {"major": 2, "minor": 1}, "belljar_version": "3.0.1", "x": 1});
        };
        insta::assert_snapshot!(with(change).unwrap_err());
    }

    #[test]
    fn what_a_newer_minor_format_adds_is_passed_over() {
        let record = with(|value| {
            value["format"]["minor"] = json!(7);
            value["weather"] = json!("fine");
            value["vm"]["firmware"] = json!(["none"]);
        });
        assert_eq!(record.unwrap().format.to_string(), "1.7");
    }

    #[test]
    fn what_has_no_use_for_a_reader_may_be_missing() {
        let record = with(|value| {
            let keep = ["format", "belljar_version", "identity", "started_at", "outcome", "reason"];
            value.as_object_mut().unwrap().retain(|key, _| keep.contains(&key.as_str()));
        });
        let record = record.unwrap();
        assert_eq!((record.vm, record.host), (Vm::default(), Host::default()));
        let error = with(|value| drop(value.as_object_mut().unwrap().remove("reason")));
        assert!(error.unwrap_err().to_string().starts_with("missing field `reason`"));
    }

    #[test]
    fn numbers_that_json_lacks_are_kept() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut record = testing::passed();
            record.metrics[0].value = value;
            let again = Record::from_json(record.to_json().as_bytes()).unwrap();
            assert_eq!(again.metrics[0].value.total_cmp(&value), std::cmp::Ordering::Equal);
        }
        let error = with(|value| value["metrics"][0]["value"] = json!("many")).unwrap_err();
        assert!(error.to_string().contains("expected a number"), "{error}");
    }

    #[test]
    fn every_field_is_in_the_documented_format() {
        fn check(value: &Value, path: &str, missing: &mut Vec<String>) {
            let documented = include_str!("../format.md");
            match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        let path = format!("{path}.{name}");
                        let name = path.trim_start_matches('.');
                        if !documented.contains(&format!("\n| `{name}`")) {
                            missing.push(name.to_string());
                        }
                        // What the test names itself, and what `Reason` documents.
                        if !["phases.counters", "reason"].contains(&name) {
                            check(value, &path, missing);
                        }
                    }
                }
                Value::Array(values) => {
                    values.iter().for_each(|value| check(value, path, missing));
                }
                _ => {}
            }
        }
        let mut missing = Vec::new();
        check(&serde_json::to_value(testing::failed()).unwrap(), "", &mut missing);
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn a_played_scenario_comes_back() {
        let record = testing::played();
        assert_eq!(Record::from_json(record.to_json().as_bytes()).unwrap(), record);
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were(record in testing::records()) {
            let again = Record::from_json(record.to_json().as_bytes()).unwrap();
            prop_assert_eq!(again, record);
        }

        #[test]
        fn hostile_json_is_refused_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            record in testing::records(),
            cut in any::<prop::sample::Index>(),
            flip in any::<(prop::sample::Index, u8)>(),
        ) {
            prop_assert!(Record::from_json(&bytes).is_err());
            let mut json = record.to_json().trim_end().as_bytes().to_vec();
            prop_assert!(Record::from_json(&json[..cut.index(json.len())]).is_err());
            let (index, byte) = (flip.0.index(json.len()), flip.1);
            json[index] = byte;
            if let Ok(record) = Record::from_json(&json) {
                let _ = record.explain("x.json".as_ref(), true);
            }
        }
    }
}
