//! What a run is held to, and where each limit came from.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::{duration_ns, one_line};

/// One list of all limits: what may be given, how layers merge, and what is shown.
macro_rules! limits {
    ($(
        $(#[$doc:meta])*
        $name:ident: $type:ty, $show:expr, $set:ident($arg:ident: $from:ty) = $value:expr;
    )*) => {
        /// What a run is held to; what is `None` is left to whoever is asked next (step, then test, then
        /// scheduler, then the defaults).
        ///
        /// ```
        /// use std::time::Duration;
        /// use belljar_verdict::{Limits, Resolved};
        ///
        /// let test = Limits::fair().max_gap(Duration::from_millis(500)).isolation(false);
        /// let resolved = Resolved::new().scheduler("scx_mine", &Limits::new().max_wake_cv(2.0)).test(&test);
        /// assert!(resolved.show().contains("max_gap_ms            500 ms     test\n"));
        /// assert!(resolved.show().contains("max_wake_cv           2          scheduler scx_mine\n"));
        /// assert!(resolved.show().contains("progress              on         default\n"));
        /// ```
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $(
                $(#[$doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
        }

        /// What a run is held to after all layers are merged, each limit with where it came from; `None` is
        /// not checked. The fields are those of [`Limits`].
        #[derive(Clone, Debug, PartialEq)]
        pub struct Resolved {
            $(
                $(#[$doc])*
                pub $name: Option<Sourced<$type>>,
            )*
        }

        impl Limits {
            /// These limits, and where they have none those of `below`.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $($name: self.$name.or(below.$name),)* }
            }

            $(
                $(#[$doc])*
                #[must_use]
                pub fn $set(mut self, $arg: $from) -> Self {
                    self.$name = Some($value);
                    self
                }
            )*
        }

        impl Resolved {
            /// No limit at all.
            fn none() -> Self {
                Self { $($name: None,)* }
            }

            /// Sets what `limits` has over what was there.
            #[must_use]
            fn with(mut self, limits: &Limits, origin: &Origin) -> Self {
                $(
                    if let Some(value) = limits.$name {
                        self.$name = Some(Sourced { value, origin: origin.clone() });
                    }
                )*
                self
            }

            /// Every limit's name, its value as people write it, and its origin.
            pub fn rows(&self) -> Vec<(&'static str, Option<(String, &Origin)>)> {
                vec![$((
                    stringify!($name),
                    self.$name.as_ref().map(|limit| ($show(limit.value), &limit.origin)),
                ),)*]
            }
        }
    };
}

limits! {
    /// Whether every worker must do at least one unit of work.
    progress: bool, on_off,
        progress(on: bool) = on;
    /// Whether workers must stay on the CPUs they are allowed.
    isolation: bool, on_off,
        isolation(on: bool) = on;
    /// Whether the scheduler under test must live until it is detached.
    scheduler_lives: bool, on_off,
        scheduler_lives(on: bool) = on;
    /// Whether the kernel's log must be clean.
    clean_log: bool, on_off,
        clean_log(on: bool) = on;
    /// The longest time between two checkpoints of a worker, in milliseconds of guest time.
    max_gap_ms: u64, |ms: u64| duration_ns(ms.saturating_mul(1_000_000)),
        max_gap(time: Duration) = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    /// The largest difference in the share of time off the CPU between the workers of one group, in
    /// percentage points.
    max_spread_pct: f64, |points| format!("{points} points"),
        max_spread_pct(limit: f64) = limit;
    /// The largest coefficient of variation of units per second between the workers of one group.
    max_throughput_cv: f64, plain,
        max_throughput_cv(limit: f64) = limit;
    /// The least units per second of CPU time, of each worker.
    min_work_rate: f64, per_second,
        min_work_rate(limit: f64) = limit;
    /// The least rounds per second of CPU time, of each worker.
    min_iteration_rate: f64, per_second,
        min_iteration_rate(limit: f64) = limit;
    /// The most migrations per round, of each cgroup's workers.
    max_migration_ratio: f64, plain,
        max_migration_ratio(limit: f64) = limit;
    /// The highest 99th percentile of wake latency, of each worker, in nanoseconds.
    max_p99_wake_ns: u64, duration_ns,
        max_p99_wake(time: Duration) = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    /// The highest coefficient of variation of wake latency, of each worker.
    max_wake_cv: f64, plain,
        max_wake_cv(limit: f64) = limit;
    /// The least share of pages on the nodes that the worker's CPUs belong to, 0 to 1.
    min_page_locality: f64, plain,
        min_page_locality(limit: f64) = limit;
    /// The most migrations to another node, as a share of each cgroup's migrations, 0 to 1.
    max_cross_node_ratio: f64, plain,
        max_cross_node_ratio(limit: f64) = limit;
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

fn plain(value: f64) -> String {
    value.to_string()
}

fn per_second(value: f64) -> String {
    format!("{value}/s")
}

/// Where a limit came from; a later one overrules an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "from", content = "name", rename_all = "kebab-case")]
pub enum Origin {
    /// It holds for every test that says nothing else.
    #[default]
    Default,
    /// The scheduler under test brings it, by the scheduler's name.
    Scheduler(String),
    /// The test sets it.
    Test,
    /// A step sets it for itself, by the step's name.
    Step(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(out, "default"),
            Self::Scheduler(name) => write!(out, "scheduler {}", one_line(name, 60)),
            Self::Test => write!(out, "test"),
            Self::Step(name) => write!(out, "step {}", one_line(name, 60)),
        }
    }
}

/// A limit and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<T> {
    /// The limit.
    pub value: T,
    /// Who set it.
    pub origin: Origin,
}

/// Why limits cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit `{name}` is {value}: give {wanted}")]
pub struct LimitError {
    /// The field of [`Limits`].
    pub name: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it can be.
    pub wanted: &'static str,
}

impl Limits {
    /// The largest spread that is customarily called fair, in percentage points.
    pub const FAIR_SPREAD_PCT: f64 = 15.0;
    /// The longest gap that is customarily called fair, in milliseconds.
    pub const FAIR_GAP_MS: u64 = 2000;

    /// No limit: everything is left to whoever is asked next.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is asserted when nobody says anything: progress, isolation, a scheduler that lives, a clean
    /// kernel log.
    #[must_use]
    pub fn defaults() -> Self {
        Self::new().progress(true).isolation(true).scheduler_lives(true).clean_log(true)
    }

    /// The customary limits on unfairness: a spread of 15 points and a gap of 2 s.
    #[must_use]
    pub fn fair() -> Self {
        let gap = Duration::from_millis(Self::FAIR_GAP_MS);
        Self::new().max_spread_pct(Self::FAIR_SPREAD_PCT).max_gap(gap)
    }

    /// Whether every limit is a number that something can be compared with.
    ///
    /// # Errors
    ///
    /// Names the first limit that is negative, not a number, or a share above 1.
    pub fn validate(&self) -> Result<(), LimitError> {
        let any = f64::INFINITY;
        for (name, value, most) in [
            ("max_spread_pct", self.max_spread_pct, any),
            ("max_throughput_cv", self.max_throughput_cv, any),
            ("min_work_rate", self.min_work_rate, f64::MAX),
            ("min_iteration_rate", self.min_iteration_rate, f64::MAX),
            ("max_migration_ratio", self.max_migration_ratio, any),
            ("max_wake_cv", self.max_wake_cv, any),
            ("min_page_locality", self.min_page_locality, 1.0),
            ("max_cross_node_ratio", self.max_cross_node_ratio, 1.0),
        ] {
            if let Some(value) = value.filter(|value| !(0.0..=most).contains(value)) {
                let wanted = if most == 1.0 {
                    "a share from 0 to 1"
                } else {
                    "a number that is not negative"
                };
                return Err(LimitError { name, value: value.to_string(), wanted });
            }
        }
        Ok(())
    }
}

impl Default for Resolved {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolved {
    /// The defaults alone.
    #[must_use]
    pub fn new() -> Self {
        Self::none().with(&Limits::defaults(), &Origin::Default)
    }

    /// Lays a scheduler's limits over what was there.
    #[must_use]
    pub fn scheduler(self, name: &str, limits: &Limits) -> Self {
        self.with(limits, &Origin::Scheduler(name.to_owned()))
    }

    /// Lays the test's limits over what was there.
    #[must_use]
    pub fn test(self, limits: &Limits) -> Self {
        self.with(limits, &Origin::Test)
    }

    /// What holds in a step: its limits over what was there.
    #[must_use]
    pub fn step(self, name: &str, limits: &Limits) -> Self {
        self.with(limits, &Origin::Step(name.to_owned()))
    }

    /// A table with a line for each limit: its name, its value, and where it came from.
    pub fn show(&self) -> String {
        self.table(|_| true)
    }

    /// The table of those limits that a step sets; empty where it sets none.
    pub(crate) fn show_of_step(&self) -> String {
        self.table(|origin| matches!(origin, Some(Origin::Step(_))))
    }

    fn table(&self, wanted: impl Fn(Option<&Origin>) -> bool) -> String {
        let mut out = String::new();
        for (name, limit) in self.rows() {
            if !wanted(limit.as_ref().map(|(_, origin)| *origin)) {
                continue;
            }
            let _ = match limit {
                Some((value, origin)) => writeln!(out, "{name:<21} {value:<10} {origin}"),
                None => writeln!(out, "{name:<21} -"),
            };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_names_every_origin() {
        let scheduler = Limits::fair().min_work_rate(1000.0);
        let test = Limits::new().max_gap(Duration::from_millis(250)).clean_log(false);
        let resolved = Resolved::new().scheduler("scx_mine", &scheduler).test(&test);
        let step = resolved.clone().step("squeeze", &Limits::new().max_gap(Duration::from_secs(3)));
        insta::assert_snapshot!(resolved.show());
        assert_eq!(step.show_of_step(), "max_gap_ms            3 s        step squeeze\n");
    }

    #[test]
    fn impossible_limits_are_named() {
        assert_eq!(Limits::fair().over(Limits::defaults()).validate(), Ok(()));
        assert_eq!(Limits::new().max_spread_pct(f64::INFINITY).validate(), Ok(()));
        let said = |limits: Limits| limits.validate().unwrap_err().to_string();
        assert_eq!(
            said(Limits::new().min_page_locality(95.0)),
            "limit `min_page_locality` is 95: give a share from 0 to 1"
        );
        assert_eq!(
            said(Limits::new().max_wake_cv(f64::NAN)),
            "limit `max_wake_cv` is NaN: give a number that is not negative"
        );
    }

    #[test]
    fn what_is_not_set_is_not_written_and_what_is_unknown_is_refused() {
        let json = serde_json::to_string(&Limits::fair()).unwrap();
        assert_eq!(json, r#"{"max_gap_ms":2000,"max_spread_pct":15.0}"#);
        assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), Limits::fair());
        assert!(serde_json::from_str::<Limits>(r#"{"max_gap":1}"#).is_err());
    }

    prop_compose! {
        fn limits()(
            progress in any::<Option<bool>>(),
            gap in any::<Option<u64>>(),
            cv in proptest::option::of(0.0..9.0),
        ) -> Limits {
            Limits { progress, max_gap_ms: gap, max_wake_cv: cv, ..Limits::default() }
        }
    }

    proptest! {
        #[test]
        fn layers_merge_field_by_field(a in limits(), b in limits(), c in limits()) {
            let merged = a.clone().over(b.clone()).over(c.clone());
            prop_assert_eq!(&merged, &a.clone().over(b.clone().over(c.clone())));
            prop_assert_eq!(merged.max_gap_ms, a.max_gap_ms.or(b.max_gap_ms).or(c.max_gap_ms));
            // The same as laying one layer over another, which also tells who won.
            let layers = Resolved::none().with(&c, &Origin::Default).scheduler("s", &b).test(&a);
            prop_assert_eq!(layers.max_gap_ms.as_ref().map(|limit| limit.value), merged.max_gap_ms);
            prop_assert_eq!(layers.max_wake_cv.as_ref().map(|limit| limit.value), merged.max_wake_cv);
            let origin = match (a.progress, b.progress, c.progress) {
                (Some(_), ..) => Some(Origin::Test),
                (_, Some(_), _) => Some(Origin::Scheduler("s".into())),
                (.., Some(_)) => Some(Origin::Default),
                _ => None,
            };
            prop_assert_eq!(layers.progress.map(|limit| limit.origin), origin);
        }
    }
}
