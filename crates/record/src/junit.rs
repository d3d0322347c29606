//! Records as a JUnit report, for continuous integration that shows one.

use std::collections::BTreeMap;
use std::time::Duration;

use belljar_verdict::Outcome;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::record::Record;
use crate::text::printable;

/// A JUnit report of `records`: one suite per test target (`package::binary`), in it one case per
/// record, in the order given. Fail is a failure, Inconclusive an error, times are in seconds.
pub fn junit(records: &[Record]) -> String {
    let mut suites: BTreeMap<String, TestSuite> = BTreeMap::new();
    for record in records {
        let name = format!("{}::{}", record.identity.package, record.identity.binary);
        suites
            .entry(name)
            .or_insert_with_key(|name| TestSuite::new(printable(name)))
            .add_test_case(case(record));
    }
    let mut report = Report::new("belljar");
    report.add_test_suites(suites.into_values());
    report.to_string().expect("text without control characters is written to memory")
}

fn case(record: &Record) -> TestCase {
    let line = record.reason.to_string();
    let status = match record.outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Skip => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(line);
            status
        }
        Outcome::Inconclusive | Outcome::Fail => {
            let is_failure = record.outcome == Outcome::Fail;
            let kind = if is_failure { NonSuccessKind::Failure } else { NonSuccessKind::Error };
            let mut status = TestCaseStatus::non_success(kind);
            let full = record.reason.message_and_place().map(|(message, _)| printable(message));
            status.set_message(line).set_type(reason_kind(record));
            if let Some(full) = full {
                status.set_description(full);
            }
            status
        }
    };
    let mut case = TestCase::new(printable(&record.identity.title()), status);
    case.set_classname(printable(&record.identity.binary));
    case.set_time(Duration::from_nanos(record.durations.total_ns()));
    let seed = record.vm.seed.map(|seed| seed.to_string());
    for (name, value) in [
        ("mode", record.vm.mode.used.as_str()),
        ("kernel", &record.vm.kernel.id),
        ("topology", &record.vm.topology),
        ("seed", seed.as_deref().unwrap_or_default()),
        ("started_at", &record.started_at.to_string()),
    ] {
        if !value.is_empty() {
            case.add_property((name, printable(value).as_ref()));
        }
    }
    if !record.stdout.is_empty() {
        case.set_system_out(printable(&record.stdout.text));
    }
    let mut system_err = printable(&record.stderr.text).into_owned();
    if !record.console.is_empty() {
        let line_end = if system_err.is_empty() || system_err.ends_with('\n') { "" } else { "\n" };
        let console = printable(&record.console.text);
        system_err.push_str(&format!("{line_end}--- guest console ---\n{console}"));
    }
    if !system_err.is_empty() {
        case.set_system_err(system_err);
    }
    case
}

/// The reason's `kind` as it stands in the record.
fn reason_kind(record: &Record) -> String {
    let kind = serde_json::to_value(&record.reason).ok();
    let kind = kind.as_ref().and_then(|reason| reason["kind"].as_str());
    kind.unwrap_or("unknown").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;
    use crate::testing;

    #[test]
    fn each_outcome_has_its_element() {
        let mut skipped = testing::passed();
        skipped.reason = Reason::Skipped { why: "needs <2> nodes".into() };
        let mut inconclusive = testing::passed();
        inconclusive.reason = Reason::Interrupted;
        inconclusive.stdout.text = "a\u{0}b ]]> \x1b[31mred".into();
        let mut records = [testing::failed(), testing::passed(), skipped, inconclusive];
        for record in &mut records {
            record.outcome = record.reason.outcome();
        }
        insta::assert_snapshot!(junit(&records));
    }
}
