//! The figures of scenarios and schedulers in `docs/performance.md`, measured here and
//! now. Run it through `cargo xtask bench scenario`.

use anyhow::Result;
use bench_vm::{Figure, Report, Samples, Subject, suite};
use clap::Parser;
use std::time::Duration;

/// Measures the start of scenarios, busy `det` guests, schedulers, and a matrix.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Print one JSON object with the keys of the table.
    #[arg(long)]
    json: bool,
    /// How often each figure is measured; the matrix no more than 3 times.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measure only the figures whose key contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut report = Report::only(&arguments.only);
    let runs = arguments.runs;
    let scenarios = Subject::build("scenarios")?;
    let released = Figure::seconds(
        "workers_released_s",
        "request to all 16 workers in 4 cgroups released, 8 CPUs, tcg",
        0.5,
    );
    report.add(released, || Samples::of(runs, |_| scenarios.released_s("four_by_four")))?;
    let busy = Figure::seconds("det_5s_host_s", "5 busy guest seconds on 4 CPUs, det", 2.5);
    report.add(busy, || Samples::of(runs, |_| scenarios.run_s("five_busy_seconds")))?;
    let attached = Figure::milliseconds(
        "attach_from_layer_ms",
        "new fork to body, scheduler attached in the layer",
        150.0,
    );
    report.add(attached, || Samples::of(runs, |_| scenarios.fork_to_body("attached")))?;
    let round_trip = Figure::microseconds(
        "det_cross_cpu_rtt_us",
        "pipe round trip between two CPUs, the other two busy, p90, guest time",
        200.0,
    );
    let cost = Figure::ratio(
        "det_short_turns_cost",
        "host CPU time for that, against turns as QEMU gives them",
        2.0,
    );
    if report.wants(&round_trip) || report.wants(&cost) {
        let machines = Subject::build("subject")?;
        let samples = Samples::of(runs, |_| machines.metric("round_trips", "round_trip_busy_p90"))?;
        report.push(round_trip.with(samples.median(), &samples));
        let samples = Samples::of(runs, |_| {
            let plain = machines.cpu_s("round_trips", Some(Duration::ZERO))?;
            Ok(machines.cpu_s("round_trips", None)? / plain)
        })?;
        report.push(cost.with(samples.median(), &samples));
    }
    let matrix = Figure::seconds("matrix_40_s", "5 tests on 8 presets up to 16 CPUs, det", 120.0);
    report.add(matrix, || suite(runs.min(3), "matrix", 40))?;
    report.print(arguments.json)
}
