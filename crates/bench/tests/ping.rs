//! The example, measured: a client and a server as users write them.

use std::path::PathBuf;

use belljar_bench::{Cancel, Matrix, Metric, Problem, Results, Run, Selection, judge};

/// The directory that the example is built into, beside that of this test.
fn examples() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    let examples = target.join("examples");
    assert!(examples.join("ping").exists(), "`cargo test -p belljar-bench` builds the example");
    examples
}

/// The results of a run; none where they are refused for differing too much.
fn measured(matrix: &Matrix) -> Option<Results> {
    let place = tempfile::tempdir().unwrap();
    let run = place.path().join("run");
    let mut run = Run::create(&run, matrix.clone(), place.path(), Selection::default(), 1).unwrap();
    run.execute(&Cancel::new().unwrap(), |_| ()).unwrap();
    match judge(run.state()) {
        Ok(results) => Some(results),
        Err(refusal) => {
            let is_unstable = |problem: &Problem| matches!(problem, Problem::Unstable { .. });
            assert!(refusal.problems.iter().all(is_unstable), "{refusal}");
            None
        }
    }
}

#[test]
fn the_example_measures_what_it_says() {
    let text = include_str!("../examples/ping.toml")
        .replace("duration_s = 1\n", "duration_s = 0.05\nforeign_cpus_max = 1e6\nspread_max = 10\n")
        .replace("duration_max_rate_s = 2\n", "duration_max_rate_s = 0.05\n");
    let build = ("debug".to_owned(), examples().display().to_string());
    let matrix = Matrix::parse(&text).unwrap().with_builds([build]).unwrap();
    // On a busy machine samples this short differ a hundredfold, and are not published.
    let results = (0..20).find_map(|_| measured(&matrix)).expect("one run of twenty is stable");
    assert_eq!(results.rows.len(), 6);
    for row in &results.rows {
        let figure = |metric| row.figure(metric).unwrap();
        let (operations, items) = (figure(Metric::OperationsPerS), figure(Metric::ThroughputPerS));
        let numbers: f64 = row.key.label("numbers").unwrap().parse().unwrap();
        assert!((items / operations / numbers - 1.0).abs() < 1e-9, "{row:?}");
        if row.key.label("rate") == Some("1000") {
            // No more than it was told; a busy machine may do less.
            assert!(operations <= 1050.0, "{row:?}");
        }
        assert!(figure(Metric::CpuNsPerOperation) > 0.0);
    }
}
