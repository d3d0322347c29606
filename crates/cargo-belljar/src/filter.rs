//! Which tests to run: filters as nextest has them.

use crate::args::{BuildArgs, RunIgnored, TestArgs};
use crate::build::metadata;
use crate::failure::{Exit, Failure};
use crate::suite::Test;
use anyhow::Context;
use guppy::PackageId;
use guppy::graph::PackageGraph;
use guppy::graph::cargo::BuildPlatform;
use miette::Diagnostic;
use nextest_filtering::{
    BinaryQuery, CompiledExpr, EvalContext, Filterset, FiltersetKind, KnownGroups, ParseContext,
    TestQuery,
};
use nextest_metadata::TestCaseName;
use std::fmt::Write as _;

/// Which tests to run.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    args: &'a TestArgs,
    filtersets: Vec<Filterset>,
}

/// Tests, told apart by a filter.
#[derive(Debug, Default)]
pub(crate) struct Filtered {
    /// Those to run.
    pub(crate) chosen: Vec<Test>,
    /// How many did not match.
    pub(crate) filtered_out: usize,
    /// How many match and were left out for being ignored, or for not being so.
    pub(crate) ignored: usize,
}

impl Filter<'_> {
    /// The filter on a command line.
    pub(crate) fn new(args: &TestArgs) -> anyhow::Result<Filter<'_>> {
        let mut filtersets = Vec::new();
        if !args.filtersets.is_empty() {
            let graph = package_graph(&args.build)?;
            let context = ParseContext::new(&graph);
            let groups = KnownGroups::Known { custom_groups: Default::default() };
            for text in &args.filtersets {
                let kind = FiltersetKind::Test;
                let filterset = Filterset::parse(text.clone(), &context, kind, &groups)
                    .map_err(|errors| bad_filterset(text, &errors.errors))?;
                if filterset.compiled.has_group_matchers() {
                    let message = format!("`{text}`: there are no test groups here");
                    return Err(Failure::new(Exit::Usage, message).into());
                }
                filtersets.push(filterset);
            }
        }
        Ok(Filter { args, filtersets })
    }

    /// Tells tests apart.
    pub(crate) fn apply(&self, tests: Vec<Test>) -> Filtered {
        let mut filtered = Filtered::default();
        for test in tests {
            let runs = match self.args.run_ignored {
                RunIgnored::Default => test.spec.ignore.is_none(),
                RunIgnored::Only => test.spec.ignore.is_some(),
                RunIgnored::All => true,
            };
            match (self.matches(&test), runs) {
                (false, _) => filtered.filtered_out += 1,
                (true, false) => filtered.ignored += 1,
                (true, true) => filtered.chosen.push(test),
            }
        }
        filtered
    }

    fn matches(&self, test: &Test) -> bool {
        let name = test.spec.name();
        let fits = |pattern: &String| match self.args.exact {
            true => name == *pattern,
            false => name.contains(pattern.as_str()),
        };
        let by_name = self.args.filters.is_empty() || self.args.filters.iter().any(fits);
        let skipped = self.args.skip.iter().any(fits);
        by_name && !skipped && (self.filtersets.is_empty() || self.matches_set(test, &name))
    }

    fn matches_set(&self, test: &Test, name: &str) -> bool {
        let binary = &test.binary;
        let query = TestQuery {
            binary_query: BinaryQuery {
                package_id: &PackageId::new(binary.artifact.package_id.clone()),
                binary_id: &binary.id,
                binary_name: &binary.artifact.target,
                kind: &binary.kind,
                platform: BuildPlatform::Target,
            },
            test_name: &TestCaseName::new(name),
        };
        let context = EvalContext { default_filter: &CompiledExpr::ALL };
        self.filtersets.iter().any(|filterset| filterset.matches_test(&query, &context))
    }
}

fn package_graph(build: &BuildArgs) -> anyhow::Result<PackageGraph> {
    let text = metadata(build, &["--all-features"])?;
    PackageGraph::from_json(text).context("cannot understand `cargo metadata`")
}

/// Says for each mistake where it is.
fn bad_filterset(text: &str, errors: &[nextest_filtering::errors::ParseSingleError]) -> Failure {
    let mut message = String::from("the filterset makes no sense:");
    for error in errors {
        let _ = write!(message, "\n  {text}");
        for label in error.labels().into_iter().flatten() {
            let before = text.get(..label.offset()).map_or(0, |before| before.chars().count());
            let marks = "^".repeat(label.len().max(1));
            let what = label.label().unwrap_or_default();
            let _ = write!(message, "\n  {}{marks} {what}", " ".repeat(before));
        }
        let _ = write!(message, "\n  {error}");
    }
    Failure::new(Exit::Usage, message)
        .hint("the language is nextest's: https://nexte.st/docs/filtersets/reference/")
}
