//! How long a scenario takes, what it uses, and scenarios made from it.

use std::time::Duration;

use crate::{Cgroup, Hold, Op, Payload, Scenario, Work, Workers};

impl Hold {
    /// How long it is, in guest time; zero where its fraction is out of range.
    #[must_use]
    pub fn time(&self, duration: Duration) -> Duration {
        match *self {
            Self::Fixed { time } => time,
            Self::Fraction { of } | Self::Loop { of, .. } if of > 0.0 && of <= 1.0 => {
                duration.mul_f64(of)
            }
            Self::Fraction { .. } | Self::Loop { .. } => Duration::ZERO,
        }
    }
}

impl Scenario {
    /// Guest time of all holds.
    #[must_use]
    pub fn length(&self) -> Duration {
        let holds = self.steps.iter().map(|step| step.hold.time(self.duration));
        holds.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The least time limit, in guest time, that a test of this scenario should have: its holds, and
    /// for what happens between them 5 s, 1 s for each step, 10 s for each operation on schedulers, and
    /// the time limits of payloads that are waited for.
    #[must_use]
    pub fn least_timeout(&self) -> Duration {
        let mut waits = Duration::from_secs(5 + self.steps.len() as u64);
        for op in self.ops() {
            let wait = match op {
                Op::AttachScheduler { .. }
                | Op::DetachScheduler
                | Op::RestartScheduler
                | Op::ReplaceScheduler { .. } => Duration::from_secs(10),
                Op::WaitPayload { payload } => self
                    .payloads()
                    .find(|other| other.name == *payload)
                    .and_then(|payload| payload.timeout)
                    .map_or(Duration::ZERO, |timeout| timeout.0),
                _ => Duration::ZERO,
            };
            waits = waits.saturating_add(wait);
        }
        waits.saturating_add(self.length())
    }

    /// The backdrop and the first `steps` steps alone, to find the smallest part that fails.
    #[must_use]
    pub fn prefix(&self, steps: usize) -> Self {
        let mut part = self.clone();
        part.steps.truncate(steps);
        part
    }

    /// The same with other work in the groups of all cgroups that are `swappable`. Whether their
    /// numbers of workers suit it is for [`Scenario::check`] to say.
    #[must_use]
    pub fn with_work(&self, work: &Work) -> Self {
        let mut other = self.clone();
        let steps = other.steps.iter_mut().flat_map(|step| {
            step.cgroups.iter_mut().chain(step.ops.iter_mut().filter_map(added_mut))
        });
        let backdrop = &mut other.backdrop;
        let backdrop =
            backdrop.cgroups.iter_mut().chain(backdrop.ops.iter_mut().filter_map(added_mut));
        for cgroup in backdrop.chain(steps).filter(|cgroup| cgroup.swappable) {
            for group in &mut cgroup.workers {
                group.work = work.clone();
            }
        }
        other
    }

    /// All operations, in the order in which they are done first.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.backdrop.ops.iter().chain(self.steps.iter().flat_map(|step| &step.ops))
    }

    /// All payloads, in the order in which they are started first.
    pub fn payloads(&self) -> impl Iterator<Item = &Payload> {
        fn run(op: &Op) -> Option<&Payload> {
            match op {
                Op::RunPayload { payload } => Some(payload),
                _ => None,
            }
        }
        let backdrop = self.backdrop.ops.iter().filter_map(run).chain(&self.backdrop.payloads);
        backdrop.chain(self.steps.iter().flat_map(|step| step.ops.iter().filter_map(run)))
    }

    /// Whether all that computes in it is this workspace's own work: no program and no work of the
    /// author's.
    #[must_use]
    pub fn is_own_work(&self) -> bool {
        fn added(op: &Op) -> &[Workers] {
            match op {
                Op::AddCgroup { cgroup } => &cgroup.workers,
                Op::Spawn { workers, .. } => std::slice::from_ref(workers),
                _ => &[],
            }
        }
        let declared = self.steps.iter().flat_map(|step| &step.cgroups);
        let declared = self.backdrop.cgroups.iter().chain(declared);
        let mut workers =
            declared.flat_map(|cgroup| &cgroup.workers).chain(self.ops().flat_map(added));
        self.payloads().next().is_none()
            && workers.all(|group| !matches!(group.work, Work::Custom(_)))
    }

    /// The programs that payloads run, each once.
    #[must_use]
    pub fn programs(&self) -> Vec<&str> {
        each_once(self.payloads().map(|payload| payload.program.as_str()))
    }

    /// The schedulers that operations start, each once.
    #[must_use]
    pub fn schedulers(&self) -> Vec<&str> {
        each_once(self.ops().filter_map(|op| match op {
            Op::AttachScheduler { scheduler } | Op::ReplaceScheduler { scheduler } => {
                Some(scheduler.as_str())
            }
            _ => None,
        }))
    }
}

fn added_mut(op: &mut Op) -> Option<&mut Cgroup> {
    match op {
        Op::AddCgroup { cgroup } => Some(cgroup),
        _ => None,
    }
}

fn each_once<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut once = Vec::new();
    for word in words {
        if !once.contains(&word) {
            once.push(word);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn scenario() -> Scenario {
        let stress = Payload::new("/usr/bin/stress-ng").timeout(ms(300));
        let fixed = Cgroup::new("fixed").workers(2, Work::SpinWait);
        let swappable = Cgroup::new("a").workers(2, Work::SpinWait).swappable();
        Scenario::new()
            .duration(ms(1000))
            .backdrop(swappable.clone())
            .backdrop(fixed)
            .backdrop_payload(stress.clone().named("always"))
            .step(Step::new("one").hold_fraction(0.5).op(Op::RestartScheduler))
            .step(
                Step::new("two")
                    .hold(ms(250))
                    .op(Op::AddCgroup {
                        cgroup: Box::new(Cgroup { name: "b".into(), ..swappable }),
                    })
                    .op(Op::RunPayload { payload: Box::new(stress) })
                    .op(Op::WaitPayload { payload: "stress-ng".into() }),
            )
            .step(
                Step::new("three")
                    .hold_loop(ms(10), 0.25)
                    .op(Op::ReplaceScheduler { scheduler: "other".into() })
                    .op(Op::ReplaceScheduler { scheduler: "mine".into() })
                    .op(Op::ReplaceScheduler { scheduler: "other".into() }),
            )
    }

    #[test]
    fn times_add_up() {
        let scenario = scenario();
        assert_eq!(scenario.length(), ms(1000));
        assert_eq!(scenario.least_timeout(), ms(1000 + 8000 + 4 * 10_000 + 300));
        assert_eq!(scenario.prefix(1).length(), ms(500));
        assert_eq!(scenario.prefix(9), scenario);
        for of in [f64::NAN, -1.0, f64::INFINITY] {
            assert_eq!(Hold::Fraction { of }.time(ms(1000)), Duration::ZERO);
        }
    }

    #[test]
    fn what_it_uses_is_listed_once() {
        let scenario = scenario();
        assert_eq!(scenario.programs(), ["/usr/bin/stress-ng"]);
        assert_eq!(scenario.schedulers(), ["other", "mine"]);
        assert_eq!(scenario.prefix(2).schedulers(), Vec::<&str>::new());
    }

    #[test]
    fn work_is_swapped_where_it_may_be() {
        let other = scenario().with_work(&Work::pipe_io());
        let work = |cgroup: &Cgroup| cgroup.workers[0].work.name().to_owned();
        let backdrop: Vec<String> = other.backdrop.cgroups.iter().map(work).collect();
        assert_eq!(backdrop, ["PipeIo", "SpinWait"]);
        let Op::AddCgroup { cgroup } = &other.steps[1].ops[0] else { panic!("it adds a cgroup") };
        assert_eq!(work(cgroup), "PipeIo");
    }
}
