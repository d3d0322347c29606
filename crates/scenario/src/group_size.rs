//! How many workers a kind of work takes, and what each of them does.

use std::fmt;

use belljar_topology::word;

use crate::Work;

/// How many workers a kind of work takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSize {
    /// Any number: each is on its own.
    Any,
    /// At least this many: they act on one another.
    AtLeast(u32),
    /// So many work together; there may be several such groups.
    MultipleOf(u32),
    /// One, which starts its own threads.
    One,
}

impl GroupSize {
    /// Whether `count` workers can do it.
    #[must_use]
    pub const fn fits(self, count: u32) -> bool {
        match self {
            Self::Any => count > 0,
            Self::AtLeast(least) => count >= least,
            Self::MultipleOf(size) => count > 0 && size > 0 && count.is_multiple_of(size),
            Self::One => count == 1,
        }
    }

    /// How many work together, out of `count`: all, or the size of one of several groups.
    #[must_use]
    pub const fn together(self, count: u32) -> u32 {
        match self {
            Self::Any | Self::One => 1,
            Self::AtLeast(_) => count,
            Self::MultipleOf(size) => size,
        }
    }

    /// What would fit instead of `count`, in words: `4 or 8`.
    pub(crate) fn instead_of(self, count: u32) -> String {
        match self {
            Self::MultipleOf(size) if count > size => {
                let below = count - count % size;
                format!("{below} or {}", below.saturating_add(size))
            }
            Self::Any => "at least 1".into(),
            Self::MultipleOf(size) => format!("{size}"),
            Self::AtLeast(least) => format!("at least {least}"),
            Self::One => "1".into(),
        }
    }
}

impl fmt::Display for GroupSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("at least one worker"),
            Self::AtLeast(least) => write!(f, "at least {least} workers"),
            Self::MultipleOf(2) => f.write_str("pairs of workers"),
            Self::MultipleOf(size) => write!(f, "groups of {size} workers"),
            Self::One => f.write_str("one worker, which starts its own threads"),
        }
    }
}

/// No kind of work has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of work is called `{name}`; {}", advice(closest.as_deref()))]
pub struct UnknownWork {
    /// The name that was asked for, cut short if very long.
    pub name: String,
    /// The known name closest to it, if any is close.
    pub closest: Option<String>,
}

fn advice(closest: Option<&str>) -> String {
    closest.map_or_else(
        || {
            let all = Work::all();
            let names: Vec<&str> = all.iter().map(Work::name).collect();
            format!("there are {}", names.join(", "))
        },
        |closest| format!("did you mean `{closest}`?"),
    )
}

impl Work {
    /// How many workers it takes.
    #[must_use]
    pub fn group_size(&self) -> GroupSize {
        let of = |counts: &[u32]| {
            GroupSize::MultipleOf(counts.iter().fold(0, |sum, count| sum.saturating_add(*count)))
        };
        match *self {
            Self::PipeIo { .. }
            | Self::FutexPingPong { .. }
            | Self::CachePipe { .. }
            | Self::AsymmetricWaker { .. }
            | Self::SignalStorm { .. }
            | Self::IrqWake { .. }
            | Self::SmtSiblingSpin => GroupSize::MultipleOf(2),
            Self::CrossAffinityChurn { .. } => GroupSize::AtLeast(2),
            Self::Schbench { .. } | Self::Taobench { .. } => GroupSize::One,
            Self::FutexFanOut { fan_out: woken, .. }
            | Self::FanOutCompute { workers: woken, .. }
            | Self::ThunderingHerd { waiters: woken, .. } => of(&[1, woken]),
            Self::PreemptStorm { fair, .. } => of(&[1, fair]),
            Self::MutexContention { contenders, .. } => of(&[contenders]),
            Self::WakeChain { depth, .. } => of(&[depth]),
            Self::PriorityInversion { high, medium, low, .. } => of(&[high, medium, low]),
            Self::RtStarvation { rt, fair, .. } => of(&[rt, fair]),
            Self::ProducerConsumerImbalance { producers, consumers, .. }
            | Self::EpollStorm { producers, consumers, .. } => of(&[producers, consumers]),
            _ => GroupSize::Any,
        }
    }

    /// What the worker of this index in its group does, as in `waker`; empty where all do the same.
    ///
    /// Of workers that work together the first come first: with `PriorityInversion` of 1, 2 and 1
    /// they are `high`, `medium`, `medium`, `low`, and so on from the fifth.
    #[must_use]
    pub fn role(&self, index: u32) -> &'static str {
        let roles: [(&'static str, u32); 3] = match *self {
            Self::FutexFanOut { fan_out, .. } => [("waker", 1), ("woken", fan_out), ("", 0)],
            Self::FanOutCompute { workers, .. } => [("messenger", 1), ("worker", workers), ("", 0)],
            Self::ThunderingHerd { waiters, .. } => [("waker", 1), ("waiter", waiters), ("", 0)],
            Self::PriorityInversion { high, medium, low, .. } => {
                [("high", high), ("medium", medium), ("low", low)]
            }
            Self::ProducerConsumerImbalance { producers, consumers, .. }
            | Self::EpollStorm { producers, consumers, .. } => {
                [("producer", producers), ("consumer", consumers), ("", 0)]
            }
            Self::RtStarvation { rt, fair, .. } => [("rt", rt), ("fair", fair), ("", 0)],
            Self::PreemptStorm { fair, .. } => [("rt", 1), ("fair", fair), ("", 0)],
            Self::AsymmetricWaker { .. } => [("waker", 1), ("wakee", 1), ("", 0)],
            Self::IrqWake { .. } => [("sender", 1), ("receiver", 1), ("", 0)],
            _ => return "",
        };
        let together = roles.iter().fold(0u32, |sum, role| sum.saturating_add(role.1));
        let mut left = index.checked_rem(together).unwrap_or(0);
        for (role, count) in roles {
            if left < count {
                return role;
            }
            left -= count;
        }
        ""
    }

    /// Whether each worker must be a process of its own, as threads cannot do it.
    #[must_use]
    pub const fn needs_processes(&self) -> bool {
        matches!(self, Self::ForkExit | Self::CgroupChurn { .. } | Self::CgroupAttachStorm { .. })
    }

    /// The work of that name with default parameters; see [`Work::all`].
    ///
    /// # Errors
    ///
    /// If there is none, with the closest name or all of them.
    pub fn find(name: &str) -> Result<Self, UnknownWork> {
        let all = Self::all();
        all.iter().find(|work| work.name() == name).cloned().ok_or_else(|| UnknownWork {
            name: word::clip(name),
            closest: word::closest(name, all.iter().map(Self::name)).map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_sizes_and_roles() {
        let sizes: Vec<String> = Work::all()
            .iter()
            .filter(|work| work.group_size() != GroupSize::Any)
            .map(|work| {
                let size = work.group_size();
                let roles: Vec<&str> =
                    (0..size.together(2)).map(|index| work.role(index)).collect();
                format!("{}: {size}: {}", work.name(), roles.join(" ")).trim_end().to_owned()
            })
            .collect();
        insta::assert_snapshot!(sizes.join("\n"), @r"
        PipeIo: pairs of workers:
        FutexPingPong: pairs of workers:
        CachePipe: pairs of workers:
        FutexFanOut: groups of 5 workers: waker woken woken woken woken
        FanOutCompute: groups of 5 workers: messenger worker worker worker worker
        CrossAffinityChurn: at least 2 workers:
        Schbench: one worker, which starts its own threads:
        Taobench: one worker, which starts its own threads:
        MutexContention: groups of 4 workers:
        ThunderingHerd: groups of 8 workers: waker waiter waiter waiter waiter waiter waiter waiter
        PriorityInversion: groups of 3 workers: high medium low
        ProducerConsumerImbalance: groups of 3 workers: producer producer consumer
        RtStarvation: pairs of workers: rt fair
        AsymmetricWaker: pairs of workers: waker wakee
        WakeChain: groups of 4 workers:
        SignalStorm: pairs of workers:
        PreemptStorm: groups of 3 workers: rt fair fair
        EpollStorm: groups of 3 workers: producer consumer consumer
        IrqWake: pairs of workers: sender receiver
        SmtSiblingSpin: pairs of workers:
        ");
    }

    #[test]
    fn roles_start_over_in_the_next_group() {
        let herd = Work::thundering_herd();
        assert_eq!((herd.role(7), herd.role(8), herd.role(9)), ("waiter", "waker", "waiter"));
        let none = Work::EpollStorm { producers: 0, consumers: 0, events: 1 };
        assert_eq!((none.role(3), none.group_size().fits(3)), ("", false));
    }

    #[test]
    fn work_is_found_by_name() {
        for work in Work::all() {
            assert_eq!(Work::find(work.name()), Ok(work));
        }
        assert_eq!(
            Work::find("SpinWiat").unwrap_err().to_string(),
            "no kind of work is called `SpinWiat`; did you mean `SpinWait`?"
        );
        assert!(Work::find("Sequence").is_err());
    }
}
