//! Programs of the host as load: two of Debian's, with figures of their own.

use belljar::scenario::Check;
use belljar::{Cgroup, Op, Payload, Polarity, Scenario, Step, Work};
use std::time::Duration;

/// `stress-ng` beside workers of ours: it must come to its end, and they must go on.
#[belljar::test(mode = ["tcg", "det"], topology = "1n1l2c1t", memory_mib = 768)]
fn stress_ng_beside_workers() -> Scenario {
    let stress = Payload::new("stress-ng")
        .args(&["--cpu", "1", "--cpu-method", "fft", "--cpu-ops", "2", "--temp-path", "/tmp"])
        .in_cgroup("load")
        .timeout(Duration::from_secs(20));
    Scenario::new()
        .backdrop(Cgroup::new("load").weight(50))
        .backdrop(Cgroup::new("ours").workers(2, Work::SpinWait))
        .step(
            Step::new("load")
                .op(Op::RunPayload { payload: Box::new(stress) })
                .op(Op::WaitPayload { payload: "stress-ng".into() })
                .hold(Duration::from_millis(200)),
        )
}

/// `fio` says what it did as JSON: the figures end up in the record, and are checked.
#[belljar::test(mode = ["tcg", "det"], topology = "1n1l2c1t", memory_mib = 768)]
fn fio_reports_its_figures() -> Scenario {
    let fio = Payload::new("fio")
        .args(&["--name=small", "--rw=randread", "--size=1m", "--bs=4k", "--number_ios=64"])
        .args(&["--ioengine=psync", "--directory=/tmp", "--output-format=json", "--thread"])
        .json()
        .metric("jobs.0.read.iops", "1/s", Polarity::Higher)
        .metric("jobs.0.read.clat_ns.percentile.99.000000", "ns", Polarity::Lower)
        .check(Check::Min { path: "jobs.0.read.total_ios".into(), least: 64.0 })
        .check(Check::ExitCode { code: 0 })
        .timeout(Duration::from_secs(20));
    Scenario::new().step(
        Step::new("read")
            .op(Op::RunPayload { payload: Box::new(fio) })
            .op(Op::WaitPayload { payload: "fio".into() })
            .hold(Duration::from_millis(100)),
    )
}
