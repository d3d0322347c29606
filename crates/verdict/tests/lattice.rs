//! Verdicts merge in any order and grouping to the same.

use belljar_topology::CpuId;
use belljar_verdict::{CheckKind, Finding, Origin, Outcome, StepName, Subject, Unit, Verdict};
use proptest::prelude::*;
use proptest::sample::select;

prop_compose! {
    /// Few values for each part, so that findings often are equal in some.
    fn finding()(
        check in select(CheckKind::ALL),
        outcome in select(&Outcome::ALL[..]),
        name in select(&["", "a", "b"][..]),
        numbers in proptest::option::of((0u8..3, 0u8..3)),
        (cpu, step, at_ns) in any::<(Option<bool>, Option<bool>, Option<bool>)>(),
        text in select(&["one", "two"][..]),
    ) -> Finding {
        Finding {
            cpu: cpu.map(|it| CpuId(it.into())),
            step: step.map(|it| StepName { index: it.into(), name: name.into() }),
            at_ns: at_ns.map(Into::into),
            measured: numbers.map(|it| f64::from(it.0)),
            limit: numbers.map(|it| f64::from(it.1)),
            unit: if numbers.is_some() { Unit::Ns } else { Unit::Plain },
            origin: numbers.map(|_| Origin::Scheduler(name.into())),
            ..Finding::new(check, outcome, text).about(Subject::Cgroup { name: name.into() })
        }
    }
}

fn verdict() -> impl Strategy<Value = Verdict> {
    proptest::collection::vec(finding(), 0..6).prop_map(|findings| findings.into_iter().collect())
}

proptest! {
    #[test]
    fn merging_is_a_lattice(a in verdict(), b in verdict(), c in verdict()) {
        let merged = a.clone().merge(b.clone()).merge(c.clone());
        prop_assert_eq!(&merged, &a.clone().merge(b.clone().merge(c.clone())));
        prop_assert_eq!(a.clone().merge(b.clone()), b.clone().merge(a.clone()));
        prop_assert_eq!(&merged.clone().merge(b.clone()), &merged);
        prop_assert_eq!(&a.clone().merge(Verdict::new()), &a);
        prop_assert_eq!(merged.outcome(), a.outcome().merge(b.outcome()).merge(c.outcome()));
        for finding in a.findings().iter().chain(b.findings()).chain(c.findings()) {
            prop_assert!(merged.findings().contains(finding));
        }
    }

    #[test]
    fn records_hold_all_of_it(verdict in verdict()) {
        let json = serde_json::to_string(&verdict).unwrap();
        prop_assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
    }
}
