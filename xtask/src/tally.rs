//! How many tests passed, failed and were skipped, from what their runners say.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// How a belljar test says, within an ordinary test that passes, that it did not run.
const SKIP: &str = "belljar: SKIP: ";

/// How many names a reason is shown with.
const NAMES_MAX: usize = 8;

/// Counts of tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    failures: Vec<String>,
    /// By reason.
    skipped: BTreeMap<String, Vec<String>>,
}

impl Tally {
    /// Counts a test that did not run.
    pub(crate) fn skip(&mut self, reason: &str, name: &str) {
        self.skipped.entry(reason.trim().to_owned()).or_default().push(name.to_owned());
    }

    /// How many did not run.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped.values().map(Vec::len).sum()
    }

    /// Counts what nextest ran, from its JUnit report. Gives how many that are.
    pub(crate) fn add_junit(&mut self, report: &str) -> usize {
        let cases = report.split("<testcase ").skip(1);
        for case in cases.clone() {
            let case = case.split("</testcase>").next().unwrap_or_default();
            let name = format!("{} {}", attribute(case, "classname"), attribute(case, "name"));
            let reason = case.lines().find_map(|line| line.trim().strip_prefix(SKIP));
            // What a test writes is escaped, so these are the report's own.
            if case.contains("<failure") || case.contains("<error") {
                self.failed += 1;
                self.failures.push(name);
            } else if let Some(reason) = reason {
                self.skip(&unescape(reason), &name);
            } else {
                self.passed += 1;
            }
        }
        cases.count()
    }

    /// Counts what nextest will not run, from its list as JSON. A binary of which the profile wants
    /// nothing is listed without its tests, and they are in the list of `all`. Gives how many will
    /// run.
    pub(crate) fn add_left_out(&mut self, list: &Value, all: &Value) -> usize {
        let mut to_run = 0;
        for (binary, all) in all["rust-suites"].as_object().into_iter().flatten() {
            let suite = &list["rust-suites"][binary];
            if suite["status"] == "skipped-default-filter" {
                for (test, _) in all["testcases"].as_object().into_iter().flatten() {
                    self.skip(NO_VM, &format!("{binary} {test}"));
                }
                continue;
            }
            for (test, case) in suite["testcases"].as_object().into_iter().flatten() {
                let name = format!("{binary} {test}");
                match case["filter-match"]["reason"].as_str() {
                    Some("ignored") => self.skip("#[ignore]", &name),
                    // Nobody chose it.
                    Some(_) => {}
                    None => to_run += 1,
                }
            }
        }
        to_run
    }
}

/// Why a test is skipped that needs a virtual machine.
pub(crate) const NO_VM: &str = "needs a virtual machine (--no-vm)";

fn attribute(case: &str, name: &str) -> String {
    let start = format!("{name}=\"");
    let mut words = case.match_indices(&start).filter(|(at, _)| {
        // `name` is the end of `classname` too.
        *at == 0 || case.as_bytes()[at - 1] == b' '
    });
    let value = words.next().map_or("", |(at, _)| &case[at + start.len()..]);
    unescape(value.split('"').next().unwrap_or_default())
}

fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

/// Counts from the output of `cargo test -- --show-output`, line by line.
#[derive(Debug, Default)]
pub(crate) struct Libtest {
    pub(crate) tally: Tally,
    /// What passing tests wrote is listed.
    in_successes: bool,
    /// Whose output is listed.
    test: String,
    announced: usize,
    ignored: usize,
}

impl Libtest {
    /// Takes a line in. True if it is for people.
    pub(crate) fn hear(&mut self, line: &str) -> bool {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.end_of_binary(counts);
            return true;
        }
        match line {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ => {}
        }
        if self.in_successes {
            let heading = line.strip_prefix("---- ").and_then(|it| it.strip_suffix(" stdout ----"));
            if let Some(name) = heading {
                self.test = name.to_owned();
            } else if let Some(reason) = line.strip_prefix(SKIP) {
                self.announced += 1;
                self.tally.skip(reason, &self.test);
            }
            return false;
        }
        if let Some((name, end)) = line.strip_prefix("test ").and_then(|it| it.split_once(" ... "))
        {
            if end == "FAILED" {
                self.tally.failures.push(name.to_owned());
            } else if let Some(reason) = end.strip_prefix("ignored") {
                self.ignored += 1;
                match reason.strip_prefix(", ") {
                    Some(reason) => self.tally.skip(&format!("#[ignore]: {reason}"), name),
                    None => self.tally.skip("#[ignore]", name),
                }
            }
        }
        true
    }

    fn end_of_binary(&mut self, counts: &str) {
        let count = |what: &str| -> usize {
            let mut words = counts.split([' ', ';']).filter(|word| !word.is_empty()).peekable();
            while let Some(word) = words.next() {
                if words.peek() == Some(&what) {
                    return word.parse().unwrap_or(0);
                }
            }
            0
        };
        self.tally.passed += count("passed").saturating_sub(self.announced);
        self.tally.failed += count("failed");
        // What other programs write can hide a line.
        for _ in self.ignored..count("ignored") {
            self.tally.skip("#[ignore]", "(a name that was not seen)");
        }
        *self = Libtest { tally: std::mem::take(&mut self.tally), ..Libtest::default() };
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        for (reason, names) in other.skipped {
            self.skipped.entry(reason).or_default().extend(names);
        }
    }
}

/// What failed, what was skipped and why; the counts alone are the last line.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = (!self.failures.is_empty()).then_some(("failed", &self.failures));
        let skipped = self.skipped.iter().map(|(reason, names)| (reason.as_str(), names));
        let skipped = skipped.map(|(reason, names)| (format!("skipped: {reason}"), names));
        let parts = failures.map(|(what, names)| (what.to_owned(), names)).into_iter();
        for (what, names) in parts.chain(skipped) {
            writeln!(f, "{} {what}", names.len())?;
            for name in names.iter().take(NAMES_MAX) {
                writeln!(f, "    {name}")?;
            }
            if names.len() > NAMES_MAX {
                writeln!(f, "    and {} more", names.len() - NAMES_MAX)?;
            }
        }
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = r#"<testsuites name="nextest-run" tests="3" failures="1" errors="0">
    <testsuite name="crate::vm" tests="3" failures="1">
        <testcase name="of_kvm" classname="crate::vm" time="0.009">
            <system-out>
running 1 test
belljar: SKIP: no KVM: &lt;none&gt; &amp; nothing
test of_kvm ... ok
</system-out>
        </testcase>
        <testcase name="bad" classname="crate::vm" time="0.271">
            <failure message="no" type="test failure">no</failure>
            <system-out>out &lt;failure&gt;
belljar: SKIP: too late
</system-out>
        </testcase>
        <testcase name="good" classname="crate::vm" time="0.271"/>
    </testsuite>
</testsuites>"#;

    const LIBTEST: &str = "
running 4 tests
test fine ... ok
test slow ... ignored, takes an hour
test of_kvm ... ok
test bad ... FAILED

successes:

---- of_kvm stdout ----
belljar: SKIP: no KVM: none

successes:
    fine
    of_kvm

failures:

---- bad stdout ----
belljar: SKIP: is no skip of a test that failed

failures:
    bad

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.09s

running 1 test
test src/lib.rs - a (line 1) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.08s
";

    #[test]
    fn nextests_report_is_counted() {
        let mut tally = Tally::default();
        assert_eq!(tally.add_junit(JUNIT), 3);
        let suite = serde_json::json!({ "status": "listed", "testcases": {
            "slow": { "filter-match": { "status": "mismatch", "reason": "ignored" } },
            "not_chosen": { "filter-match": { "status": "mismatch", "reason": "expression" } },
            "runs": { "filter-match": { "status": "matches" } },
        } });
        let with_vm = |status: &str, testcases: Value| {
            let vm = serde_json::json!({ "status": status, "testcases": testcases });
            serde_json::json!({ "rust-suites": { "crate": suite, "vm": vm } })
        };
        let list = with_vm("skipped-default-filter", serde_json::json!({}));
        let all = with_vm("listed", serde_json::json!({ "boots": {} }));
        let to_run = tally.add_left_out(&list, &all);
        assert_eq!(to_run, 1);
        let expected = "\
1 failed
    crate::vm bad
1 skipped: #[ignore]
    crate slow
1 skipped: needs a virtual machine (--no-vm)
    vm boots
1 skipped: no KVM: <none> & nothing
    crate::vm of_kvm
1 passed, 1 failed, 3 skipped";
        assert_eq!(tally.to_string(), expected);
    }

    #[test]
    fn libtests_output_is_counted_and_that_of_passing_tests_hidden() {
        let mut libtest = Libtest::default();
        let shown: Vec<&str> = LIBTEST.lines().filter(|line| libtest.hear(line)).collect();
        assert!(!shown.contains(&"belljar: SKIP: no KVM: none"), "{shown:?}");
        assert!(shown.contains(&"---- bad stdout ----"), "{shown:?}");
        let expected = "\
1 failed
    bad
1 skipped: #[ignore]: takes an hour
    slow
1 skipped: no KVM: none
    of_kvm
2 passed, 1 failed, 2 skipped";
        assert_eq!(libtest.tally.to_string(), expected);
    }

    #[test]
    fn long_lists_are_cut() {
        let mut tally = Tally::default();
        for number in 0..10 {
            tally.skip("why", &format!("test_{number}"));
        }
        let text = tally.to_string();
        assert!(text.starts_with("10 skipped: why\n    test_0\n"), "{text}");
        assert!(text.ends_with("    and 2 more\n0 passed, 0 failed, 10 skipped"), "{text}");
    }
}
