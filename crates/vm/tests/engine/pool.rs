//! Forks made ahead of time.

use crate::support::{command_line, machine, output, payload, qemus_of, shared, wait_for};
use belljar_vm::{Mode, Pool};

#[test]
fn what_was_expected_is_taken_and_the_rest_is_cleared_away() {
    let engine = shared();
    let base = engine.base(&machine(Mode::Tcg)).unwrap();
    let template = engine.layer(&base, &payload("pool")).unwrap();
    let here = template.directory().to_string_lossy().into_owned();
    let paused = || {
        let mut pids = qemus_of(std::process::id());
        pids.retain(|pid| command_line(*pid).contains(&here));
        pids
    };
    let pool = Pool::new(engine, 2, None);
    for _ in 0..4 {
        pool.expect(&template);
    }
    pool.wait();
    let made = paused();
    assert_eq!(made.len(), 2, "its capacity");
    // What is taken is one of those, and works; the next is made in its place.
    let fork = pool.take(&template).unwrap();
    assert!(made.contains(&fork.process_id()));
    assert_eq!(output(fork, "cat /word"), "pool");
    pool.wait();
    assert_eq!(paused().len(), 2);
    // A fork that nobody expected is made on the spot.
    let other = pool.take(&base).unwrap();
    assert_eq!(other.template().key(), base.key());
    drop(other);
    drop(pool);
    wait_for("the end of all forks", || paused().is_empty());
}
