//! The run as data: JSON lines and JUnit.

use crate::event::{Entry, Event, Summary};
use crate::failure::{Exit, Failure};
use crate::output::data;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Writes one JSON object a line: `begun`, `note`, `started`, `finished`, `interrupted`,
/// and a `summary` at the end.
#[derive(Debug)]
pub(crate) struct JsonLines;

impl JsonLines {
    /// To standard output.
    pub(crate) fn new() -> JsonLines {
        JsonLines
    }

    /// Writes an event.
    pub(crate) fn hear(&mut self, event: &Event) -> anyhow::Result<()> {
        let value = match event {
            Event::Note(text) => json!({ "event": "note", "text": text }),
            Event::Begun { tests, binaries, jobs, session } => json!({
                "event": "begun",
                "tests": tests,
                "binaries": binaries,
                "jobs": jobs,
                "session": session,
            }),
            Event::Started(entry) => about("started", entry),
            Event::Finished(entry, ended) => {
                let record = ended.record();
                let mut value = about("finished", entry);
                value["outcome"] = json!(record.outcome);
                value["reason"] = json!(record.reason.to_string());
                value["took_ns"] = json!(ended.took.as_nanos() as u64);
                value["durations"] = json!(record.durations);
                value["guest_time_ns"] = json!(record.guest_time_ns);
                value["to_body_ns"] = json!(ended.finished.to_body.map(|d| d.as_nanos() as u64));
                value["seed"] = json!(record.vm.seed);
                value["kernel"] = json!(record.vm.kernel.id);
                value["record"] = json!(ended.finished.written.as_ref().ok());
                if let Some(shortest) = &ended.shortest {
                    value["shortest"] = json!({
                        "steps": shortest.steps,
                        "of": shortest.of,
                        "record": shortest.record,
                    });
                }
                if let Err(error) = &ended.finished.written {
                    value["record_error"] = json!(error.to_string());
                }
                value
            }
            Event::Interrupted => json!({ "event": "interrupted" }),
            Event::Wrote(_) | Event::End => return Ok(()),
        };
        Ok(data(value)?)
    }

    /// Writes what the run came to.
    pub(crate) fn summary(
        &mut self,
        summary: &Summary,
        took: Duration,
        exit: Exit,
    ) -> anyhow::Result<()> {
        let value = json!({
            "event": "summary",
            "tests": summary.total,
            "ran": summary.ended(),
            "passed": summary.passed,
            "failed": summary.failed,
            "inconclusive": summary.inconclusive,
            "skipped": summary.skipped,
            "interrupted": summary.interrupted,
            "took_ns": took.as_nanos() as u64,
            "records": summary.directories(),
            "exit_code": exit.code(),
        });
        Ok(data(value)?)
    }
}

fn about(event: &str, entry: &Entry) -> Value {
    let spec = entry.spec();
    json!({
        "event": event,
        "id": entry.index,
        "binary_id": entry.test.binary.id.as_str(),
        "package": spec.package,
        "name": spec.name(),
        "setting": entry.setting,
    })
}

/// Writes a JUnit report, whole or not at all.
pub(crate) fn write_junit(path: &Path, summary: &Summary) -> anyhow::Result<()> {
    let records: Vec<_> = summary.records.iter().map(|(_, record)| record.clone()).collect();
    let write = || {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut file = tempfile::Builder::new()
            .prefix(".belljar-junit-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory.unwrap_or(Path::new(".")))?;
        file.write_all(belljar_record::junit(&records).as_bytes())?;
        file.persist(path)?;
        std::io::Result::Ok(())
    };
    write().map_err(|error| {
        let text = format!("cannot write the JUnit report {}", path.display());
        Failure::new(Exit::Internal, text).source(error).into()
    })
}
