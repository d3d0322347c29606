//! `cargo belljar show`: what a test would do, without doing it.

use crate::args::ShowArgs;
use crate::build;
use crate::failure::{Exit, Failure};
use crate::output::data;
use crate::suite;
use anyhow::Context;
use belljar::host::shown;

/// Shows one test.
pub(crate) fn show(args: &ShowArgs) -> anyhow::Result<Exit> {
    let tests = suite::tests(build::build(&args.build, &args.targets)?)?;
    let exact = tests.iter().filter(|test| test.spec.name() == args.name);
    let mut found: Vec<_> = exact.collect();
    if found.is_empty() {
        found = tests.iter().filter(|test| test.spec.name().contains(&args.name)).collect();
    }
    let test = match found.as_slice() {
        [test] => test,
        [] => {
            let text = format!("no test has `{}` in its name", args.name);
            let hint = "`cargo belljar test --list` shows all names";
            return Err(Failure::new(Exit::NoTests, text).hint(hint).into());
        }
        several => {
            let names: Vec<String> = several.iter().take(8).map(|test| test.spec.name()).collect();
            let more = several.len().saturating_sub(names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!("`{}` may be {}{more}", args.name, names.join(", "));
            return Err(Failure::new(Exit::Usage, text).hint("give the whole name").into());
        }
    };
    let binary = &test.binary.artifact.executable;
    let shown = shown(binary, &test.spec.name())
        .with_context(|| format!("cannot ask {} for its test", binary.display()))?;
    if args.json {
        data(serde_json::to_string_pretty(&shown)?)?;
    } else {
        data(shown.to_string().trim_end())?;
    }
    Ok(Exit::Fine)
}
