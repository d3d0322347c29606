//! What the processes of a row say to the runner.
//!
//! # The client
//!
//! A client is started, measures, writes **exactly one line** to standard output and ends with
//! status 0. The line is a JSON object of at most 64 KiB:
//!
//! ```json
//! {"belljar_bench":1,"operations":600000,"items":600000,"elapsed_ns":5000012345,
//!  "latency_ns":{"p50":7900,"p95":9100,"p99":12000,"p999":31000,"max":412000}}
//! ```
//!
//! (On one line, not on two as here.)
//!
//! | field | meaning |
//! | --- | --- |
//! | `belljar_bench` | version of this protocol, 1 |
//! | `operations` | round trips that ended inside the measured window; what a fixed rate counts |
//! | `items` | work done, where an operation is more than one item; `operations` when left out |
//! | `elapsed_ns` | length of the measured window on a monotonic clock |
//! | `latency_ns` | percentiles of one operation's duration; for a pipeline that of the window. Left out where the family says `latency = false` |
//!
//! The client must check every answer that it gets. Anything wrong with one means a status other
//! than 0, as does any error: there is no field for errors, since a row with errors is no row. It
//! computes no rate; the runner does, and holds `elapsed_ns` against a clock of its own.
//! At a fixed rate a latency counts from when the operation was due, not from when a client that had
//! fallen behind came round to it; [`Pacer`](crate::Pacer) gives that moment.
//!
//! # The server
//!
//! A server writes the line `READY` to standard output once it can be connected to, serves until it
//! gets SIGTERM, and then ends with status 0 or by the signal. To end earlier, or otherwise, fails
//! the row. Other lines mean nothing.
//!
//! # Both
//!
//! Each must do its work in the process that was started: CPU time is read by that process's id, so a
//! script must end in `exec`. A process that has other processes working for it fails the row.
//! Standard error is kept as evidence when a row fails. Standard input is empty.

use serde::{Deserialize, Serialize};

/// The version of the protocol.
pub const PROTOCOL_VERSION: u32 = 1;

/// The line by which a server says that it can be connected to.
pub const READY_LINE: &str = "READY";

/// The most that a client may write to standard output.
pub(crate) const REPORT_BYTES_MAX: usize = 64 << 10;

/// What a client measured: the one line that it writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientReport {
    /// The version of the protocol, [`PROTOCOL_VERSION`].
    pub belljar_bench: u32,
    /// Operations that ended inside the measured window.
    pub operations: u64,
    /// Work done in them; as many as operations when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    /// The length of the measured window in nanoseconds.
    pub elapsed_ns: u64,
    /// How long operations took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<LatencyNs>,
}

/// Percentiles of the time that one operation took, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyNs {
    /// Half of all took no longer.
    pub p50: u64,
    /// 95 of 100 took no longer.
    pub p95: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// 999 of 1000 took no longer.
    pub p999: u64,
    /// None took longer.
    pub max: u64,
}

impl LatencyNs {
    /// Whether no percentile is below a lower one.
    pub(crate) fn is_ordered(&self) -> bool {
        [self.p50, self.p95, self.p99, self.p999, self.max].is_sorted()
    }
}

/// Why what a client wrote is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Nothing but white space.
    #[error("it wrote nothing to standard output")]
    Empty,
    /// More than one line that is not empty.
    #[error("it wrote {0} lines where one is expected")]
    Lines(usize),
    /// More than 64 KiB.
    #[error("it wrote more than {REPORT_BYTES_MAX} bytes to standard output")]
    TooLong,
    /// Not the JSON that is expected.
    #[error("its line is no report: {0}")]
    Malformed(String),
    /// Another version of the protocol.
    #[error("its report is of protocol version {0}; this runner reads {PROTOCOL_VERSION}")]
    Version(u32),
}

impl ClientReport {
    /// Reads what a client wrote to standard output.
    ///
    /// # Errors
    ///
    /// [`ReportError`] when that is anything but exactly one report.
    pub fn parse(written: &[u8]) -> Result<Self, ReportError> {
        if written.len() > REPORT_BYTES_MAX {
            return Err(ReportError::TooLong);
        }
        let mut lines = written.split(|&byte| byte == b'\n').filter(|line| !is_blank(line));
        let line = lines.next().ok_or(ReportError::Empty)?;
        let more = lines.count();
        if more > 0 {
            return Err(ReportError::Lines(more + 1));
        }
        let report: Self = serde_json::from_slice(line)
            .map_err(|error| ReportError::Malformed(error.to_string()))?;
        if report.belljar_bench != PROTOCOL_VERSION {
            return Err(ReportError::Version(report.belljar_bench));
        }
        Ok(report)
    }

    /// The line, newline included.
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("plain numbers can be written");
        line.push('\n');
        line
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_exactly_one_report_is_a_report() {
        let good = r#"{"belljar_bench":1,"operations":2,"elapsed_ns":3}"#;
        let report = ClientReport::parse(format!("\n{good}\n\n").as_bytes()).unwrap();
        assert_eq!((report.operations, report.items, report.elapsed_ns), (2, None, 3));
        let parse = |text: &str| ClientReport::parse(text.as_bytes()).unwrap_err();
        assert_eq!(parse(" \n\n"), ReportError::Empty);
        assert_eq!(parse(&format!("{good}\n{good}\n")), ReportError::Lines(2));
        assert_eq!(parse(&" ".repeat(REPORT_BYTES_MAX + 1)), ReportError::TooLong);
        let newer = good.replace(":1", ":2");
        assert_eq!(parse(&newer), ReportError::Version(2));
        for garbage in
            ["hello", "{}", "[1]", &good.replace("operations", "ops"), &good.replace(":2", ":-2")]
        {
            assert!(matches!(parse(garbage), ReportError::Malformed(_)), "{garbage}");
        }
    }

    proptest! {
        #[test]
        fn reports_come_back_and_bytes_never_panic(
            operations: u64, items: Option<u64>, elapsed_ns: u64, bytes: Vec<u8>,
        ) {
            let report = ClientReport {
                belljar_bench: PROTOCOL_VERSION, operations, items, elapsed_ns, latency_ns: None,
            };
            prop_assert_eq!(ClientReport::parse(report.line().as_bytes()), Ok(report));
            let _ = ClientReport::parse(&bytes);
        }
    }
}
