//! What would run: the plan of a run, and the part of it that fits into a budget.

use crate::args::TestArgs;
use crate::event::Entry;
use crate::failure::{Exit, Failure};
use crate::output::data;
use belljar::host::Plan;
use belljar_record::Reason;
use belljar_scenario::select::{Cell, Selection};
use belljar_vm::Mode;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A test as it would be run.
type Expanded = (Arc<Entry>, Result<Plan, Reason>);

/// Leaves what fits into the budget, and prints the plan if that was asked for.
pub(crate) fn select(
    args: &TestArgs,
    expanded: &mut Vec<Expanded>,
    say: &dyn Fn(String),
) -> anyhow::Result<()> {
    let mut cells: Vec<Cell> = expanded.iter().map(|(entry, plan)| cell(entry, plan)).collect();
    if let Some(budget) = args.budget {
        let selection = Selection::within(&cells, f64::from(budget));
        if selection.chosen.is_empty() {
            let cheapest = cells.iter().map(|cell| cell.seconds).fold(f64::INFINITY, f64::min);
            let text =
                format!("no test fits into {budget} s: the cheapest takes about {cheapest:.1} s");
            return Err(Failure::new(Exit::NoTests, text).hint("raise --budget").into());
        }
        say(format!(
            "{} of {} tests in about {:.0} s cover {} of {} features",
            selection.chosen.len(),
            cells.len(),
            selection.seconds,
            selection.covered,
            selection.of
        ));
        let chosen: BTreeSet<usize> = selection.chosen.iter().copied().collect();
        let mut index = 0;
        let mut keep = |_: &_| {
            index += 1;
            chosen.contains(&(index - 1))
        };
        expanded.retain(|one| keep(one));
        let mut index = 0;
        cells.retain(|_| {
            index += 1;
            chosen.contains(&(index - 1))
        });
        for (index, (entry, _)) in expanded.iter_mut().enumerate() {
            let Entry { test, setting, .. } = &**entry;
            *entry = Arc::new(Entry { index, test: test.clone(), setting: setting.clone() });
        }
    }
    if !args.plan {
        return Ok(());
    }
    let templates: BTreeSet<String> =
        expanded.iter().filter_map(|(_, plan)| Some(plan.as_ref().ok()?.template())).collect();
    for ((entry, plan), cell) in expanded.iter().zip(&cells) {
        let refused = plan.as_ref().err().map(ToString::to_string);
        if args.json {
            data(json!({
                "test": entry.spec().name(),
                "binary_id": entry.test.binary.id.as_str(),
                "setting": entry.setting,
                "seconds": cell.seconds,
                "refused": refused,
            }))?;
        } else {
            let refused = refused.map(|why| format!(": {why}")).unwrap_or_default();
            data(format_args!("{:>7.1} s  {}{refused}", cell.seconds, entry.title()))?;
        }
    }
    let seconds: f64 = cells.iter().map(|cell| cell.seconds).sum();
    if !args.json {
        data(format_args!(
            "{} tests on {} templates, about {seconds:.0} s of one core",
            cells.len(),
            templates.len()
        ))?;
    }
    Ok(())
}

/// A test with what it covers and what it costs.
fn cell(entry: &Entry, plan: &Result<Plan, Reason>) -> Cell {
    let spec = entry.spec();
    let mut cell = Cell { test: spec.test.clone(), ..Cell::default() };
    let Ok(plan) = plan else { return cell };
    cell.topology = Some(plan.topology.clone());
    cell.kernel = plan.kernel.id().to_owned();
    cell.scheduler = spec.scheduler.as_ref().map_or("eevdf", |one| one.name.as_str()).to_owned();
    cell.mode = plan.mode.to_string();
    cell.seed = plan.seed;
    cell.expects_failure = spec.expect_fail.is_some() || spec.expect_check.is_some();
    let length = spec.scenario.as_ref().map_or(0.0, |facts| facts.length_ns as f64 / 1e9);
    let cpus = f64::from(plan.topology.cpu_count());
    // Measured on two cores without KVM: a busy second of a guest takes about half a second in det,
    // whatever the number of its CPUs, as they share one thread; in tcg and under KVM it takes a
    // second, or more where the guest has more CPUs than the host.
    let pace = if plan.mode == Mode::Det { 0.6 } else { 1.0 };
    cell.seconds = 0.3 + cpus * 0.02 + length * pace;
    cell
}
