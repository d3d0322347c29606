//! The parameters of kinds of work: shown, and held to what is possible.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::{SchbenchParameters, TaobenchParameters, Work, WorkPhase};

/// A parameter of a kind of work, as in `fan_out 4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the data model.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// What is possible, in the value's unit (times in nanoseconds).
    pub allowed: RangeInclusive<u64>,
}

/// The value of a [`Parameter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number of something.
    Count(u64),
    /// A size.
    Bytes(u64),
    /// A time.
    Time(Duration),
    /// A choice, which is always possible.
    Word(String),
}

/// A parameter that is out of the question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{work}` has {name} = {value}: give {allowed}")]
pub struct Impossible {
    /// The kind of work.
    pub work: String,
    /// The parameter.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// What is possible, in words.
    pub allowed: String,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Bytes(bytes) if bytes % (1 << 20) == 0 && *bytes > 0 => {
                write!(f, "{} MiB", bytes >> 20)
            }
            Self::Bytes(bytes) if bytes % (1 << 10) == 0 && *bytes > 0 => {
                write!(f, "{} KiB", bytes >> 10)
            }
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
            Self::Time(time) => write!(f, "{time:?}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.value)
    }
}

impl Value {
    fn number(&self) -> Option<u64> {
        match self {
            Self::Count(number) | Self::Bytes(number) => Some(*number),
            Self::Time(time) => Some(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            Self::Word(_) => None,
        }
    }

    /// `number` in the unit of this value.
    fn same_unit(&self, number: u64) -> Self {
        match self {
            Self::Bytes(_) => Self::Bytes(number),
            Self::Time(_) => Self::Time(Duration::from_nanos(number)),
            Self::Count(_) | Self::Word(_) => Self::Count(number),
        }
    }
}

impl Parameter {
    fn is_possible(&self) -> bool {
        self.value.number().is_none_or(|number| self.allowed.contains(&number))
    }

    fn allowed_in_words(&self) -> String {
        let least = self.value.same_unit(*self.allowed.start());
        match *self.allowed.end() {
            u64::MAX => format!("at least {least}"),
            most => format!("{least} to {}", self.value.same_unit(most)),
        }
    }
}

/// Workers that one of them can need beside it.
const WORKERS: RangeInclusive<u64> = 1..=4096;
const ANY: RangeInclusive<u64> = 0..=u64::MAX;
const SOME: RangeInclusive<u64> = 1..=u64::MAX;
/// A page, up to more than a guest has.
const FOOTPRINT: RangeInclusive<u64> = 4096..=16 << 30;
/// From the least Ethernet frame to the most without its check sum.
const DATAGRAM: RangeInclusive<u64> = 60..=1514;
const PERCENT: RangeInclusive<u64> = 0..=100;

fn count(name: &'static str, value: impl Into<u64>, allowed: RangeInclusive<u64>) -> Parameter {
    Parameter { name, value: Value::Count(value.into()), allowed }
}

fn bytes(name: &'static str, value: impl Into<u64>, allowed: RangeInclusive<u64>) -> Parameter {
    Parameter { name, value: Value::Bytes(value.into()), allowed }
}

fn time(name: &'static str, value: Duration, allowed: RangeInclusive<u64>) -> Parameter {
    Parameter { name, value: Value::Time(value), allowed }
}

fn word(name: &'static str, value: impl fmt::Debug) -> Parameter {
    Parameter { name, value: Value::Word(format!("{value:?}").to_lowercase()), allowed: ANY }
}

impl Work {
    /// The parameters, in the order of the data model; none for kinds that have none.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        match self {
            Self::SpinWait
            | Self::YieldHeavy
            | Self::Mixed
            | Self::IoSyncWrite
            | Self::IoRandRead
            | Self::IoConvoy
            | Self::ForkExit
            | Self::NiceSweep
            | Self::SmtSiblingSpin
            | Self::Custom(_) => Vec::new(),
            Self::Bursty { burst, sleep } => {
                vec![time("burst", *burst, SOME), time("sleep", *sleep, SOME)]
            }
            Self::PipeIo { burst } => vec![count("burst", *burst, ANY)],
            Self::FutexPingPong { spin }
            | Self::AffinityChurn { spin }
            | Self::CrossAffinityChurn { spin }
            | Self::PolicyChurn { spin } => vec![count("spin", *spin, ANY)],
            Self::CachePressure { bytes: footprint, stride }
            | Self::CacheYield { bytes: footprint, stride } => {
                let most = (*footprint).max(1);
                vec![bytes("bytes", *footprint, FOOTPRINT), bytes("stride", *stride, 1..=most)]
            }
            Self::CachePipe { bytes: footprint, burst } => {
                vec![bytes("bytes", *footprint, FOOTPRINT), count("burst", *burst, SOME)]
            }
            Self::FutexFanOut { fan_out, spin } => {
                vec![count("fan_out", *fan_out, WORKERS), count("spin", *spin, ANY)]
            }
            Self::FanOutCompute { workers, bytes: footprint, operations, sleep } => vec![
                count("workers", *workers, WORKERS),
                bytes("bytes", *footprint, FOOTPRINT),
                count("operations", *operations, SOME),
                time("sleep", *sleep, ANY),
            ],
            Self::Sequence { phases } => phases.iter().map(WorkPhase::parameter).collect(),
            Self::Schbench { parameters } => parameters.parameters(),
            Self::Taobench { parameters } => parameters.parameters(),
            Self::PageFaultChurn { bytes: mapped, touches, spin } => vec![
                bytes("bytes", *mapped, FOOTPRINT),
                count("touches", *touches, SOME),
                count("spin", *spin, ANY),
            ],
            Self::MutexContention { contenders, hold, work } => vec![
                count("contenders", *contenders, WORKERS),
                count("hold", *hold, SOME),
                count("work", *work, ANY),
            ],
            Self::ThunderingHerd { waiters, batches, interval } => vec![
                count("waiters", *waiters, WORKERS),
                count("batches", *batches, SOME),
                time("interval", *interval, SOME),
            ],
            Self::PriorityInversion { high, medium, low, hold, work, futex } => vec![
                count("high", *high, WORKERS),
                count("medium", *medium, WORKERS),
                count("low", *low, WORKERS),
                count("hold", *hold, SOME),
                count("work", *work, ANY),
                word("futex", futex),
            ],
            Self::ProducerConsumerImbalance {
                producers,
                consumers,
                rate_hz,
                consume_spin,
                depth,
            } => vec![
                count("producers", *producers, WORKERS),
                count("consumers", *consumers, WORKERS),
                count("rate_hz", *rate_hz, 1..=1_000_000),
                count("consume_spin", *consume_spin, ANY),
                count("depth", *depth, 1..=1 << 20),
            ],
            Self::RtStarvation { rt, fair, priority, burst } => vec![
                count("rt", *rt, WORKERS),
                count("fair", *fair, WORKERS),
                count("priority", *priority, 1..=99),
                count("burst", *burst, SOME),
            ],
            Self::AsymmetricWaker { waker, wakee, burst } => {
                let policy = |name, policy: &crate::Policy| Parameter {
                    name,
                    value: Value::Word(policy.to_string()),
                    allowed: ANY,
                };
                vec![policy("waker", waker), policy("wakee", wakee), count("burst", *burst, ANY)]
            }
            Self::WakeChain { depth, futex, hop } => vec![
                count("depth", *depth, 2..=*WORKERS.end()),
                word("futex", futex),
                time("hop", *hop, ANY),
            ],
            Self::NumaWorkingSetSweep { bytes: footprint, interval } => {
                vec![bytes("bytes", *footprint, FOOTPRINT), time("interval", *interval, SOME)]
            }
            Self::NumaMigrationChurn { interval } | Self::TimerLatency { interval } => {
                vec![time("interval", *interval, SOME)]
            }
            Self::CgroupChurn { groups, interval } => {
                vec![count("groups", *groups, 2..=64), time("interval", *interval, SOME)]
            }
            Self::CgroupAttachStorm { destination, reap } => {
                let destination = Parameter {
                    name: "destination",
                    value: Value::Word(destination.clone()),
                    allowed: ANY,
                };
                vec![destination, word("reap", reap)]
            }
            Self::SignalStorm { signals, spin } => {
                vec![count("signals", *signals, SOME), count("spin", *spin, ANY)]
            }
            Self::PreemptStorm { fair, burst, interval } => vec![
                count("fair", *fair, WORKERS),
                count("burst", *burst, SOME),
                time("interval", *interval, SOME),
            ],
            Self::EpollStorm { producers, consumers, events } => vec![
                count("producers", *producers, WORKERS),
                count("consumers", *consumers, WORKERS),
                count("events", *events, SOME),
            ],
            Self::IdleChurn { busy, sleep, precise } => vec![
                time("busy", *busy, SOME),
                time("sleep", *sleep, SOME),
                word("precise", precise),
            ],
            Self::NetTraffic { interval, bytes: size } => {
                vec![time("interval", *interval, ANY), bytes("bytes", *size, DATAGRAM)]
            }
            Self::IrqWake { interval, bytes: size } => {
                vec![time("interval", *interval, SOME), bytes("bytes", *size, DATAGRAM)]
            }
            Self::AluHot { width } => vec![word("width", width)],
            Self::IpcVariance { hot, cold, period } => vec![
                count("hot", *hot, SOME),
                count("cold", *cold, SOME),
                count("period", *period, SOME),
            ],
        }
    }

    /// Whether its parameters are possible.
    ///
    /// # Errors
    ///
    /// The first that is not, and what would be.
    pub fn validate(&self) -> Result<(), Impossible> {
        let impossible = |name, value, allowed: &str| {
            let work = self.name().to_owned();
            Err(Impossible { work, name, value, allowed: allowed.to_owned() })
        };
        match self {
            Self::Sequence { phases } if phases.is_empty() => {
                return impossible("phases", Value::Word("none".into()), "at least one");
            }
            Self::Custom(custom) if custom.run.is_none() => {
                let allowed = "one with `Work::custom`: a scenario that was read has none";
                return impossible("run", Value::Word("no function".into()), allowed);
            }
            Self::AsymmetricWaker { waker, wakee, .. } => {
                for (name, policy) in [("waker", waker), ("wakee", wakee)] {
                    if let Err(error) = policy.validate() {
                        let value = Value::Word(policy.to_string());
                        return impossible(name, value, &error.allowed);
                    }
                }
            }
            _ => {}
        }
        match self.parameters().into_iter().find(|parameter| !parameter.is_possible()) {
            Some(bad) => {
                let allowed = bad.allowed_in_words();
                impossible(bad.name, bad.value, &allowed)
            }
            None => Ok(()),
        }
    }
}

impl WorkPhase {
    fn parameter(&self) -> Parameter {
        match *self {
            Self::Spin { spins } => count("spins", spins, SOME),
            Self::Sleep { time: sleep } => time("sleep", sleep, SOME),
            Self::Yield { times } => count("yields", times, SOME),
            Self::Io { blocks } => count("blocks", blocks, SOME),
            Self::AluHot { steps } => count("steps", steps, SOME),
        }
    }
}

impl SchbenchParameters {
    fn parameters(&self) -> Vec<Parameter> {
        let mut all = vec![
            count("message_threads", self.message_threads, WORKERS),
            count("worker_threads", self.worker_threads, 0..=*WORKERS.end()),
            bytes("cache_bytes", self.cache_bytes, FOOTPRINT),
            count("operations", self.operations, SOME),
            time("sleep", self.sleep, ANY),
            word("skip_locking", self.skip_locking),
            count("requests_per_sec", self.requests_per_sec, ANY),
            count("auto_rps", self.auto_rps, PERCENT),
            bytes("pipe_transfer_bytes", self.pipe_transfer_bytes, ANY),
        ];
        all.extend(self.split_percent.map(|percent| count("split_percent", percent, PERCENT)));
        all
    }
}

impl TaobenchParameters {
    fn parameters(&self) -> Vec<Parameter> {
        vec![
            count("client_threads", self.client_threads, 0..=*WORKERS.end()),
            count("slow_threads", self.slow_threads, 0..=*WORKERS.end()),
            bytes("cache_bytes", self.cache_bytes, FOOTPRINT),
            count("hit_percent", self.hit_percent, PERCENT),
            time("slow_sleep", self.slow_sleep, ANY),
            time("slow_p99", self.slow_p99, ANY),
            time("arrival", self.arrival, ANY),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    #[test]
    fn defaults_are_possible() {
        for work in Work::all() {
            assert_eq!(work.validate(), Ok(()));
        }
    }

    #[test]
    fn what_is_impossible_is_named_with_what_is_possible() {
        let ms = Duration::from_millis(1);
        let hit_percent = 101;
        for (work, message) in [
            (
                Work::IdleChurn { busy: ms, sleep: Duration::ZERO, precise: false },
                "`IdleChurn` has sleep = 0ns: give at least 1ns",
            ),
            (
                Work::NetTraffic { interval: ms, bytes: 59 },
                "`NetTraffic` has bytes = 59 bytes: give 60 bytes to 1514 bytes",
            ),
            (
                Work::Taobench {
                    parameters: TaobenchParameters { hit_percent, ..TaobenchParameters::default() },
                },
                "`Taobench` has hit_percent = 101: give 0 to 100",
            ),
            (
                Work::WakeChain { depth: 1, futex: true, hop: ms },
                "`WakeChain` has depth = 1: give 2 to 4096",
            ),
            (
                Work::CachePressure { bytes: 32 << 10, stride: 64 << 10 },
                "`CachePressure` has stride = 64 KiB: give 1 bytes to 32 KiB",
            ),
            (
                Work::AsymmetricWaker {
                    waker: Policy::Normal,
                    wakee: Policy::Fifo { priority: 0 },
                    burst: 1,
                },
                "`AsymmetricWaker` has wakee = fifo 0: give a priority from 1 to 99",
            ),
            (Work::sequence(), "`Sequence` has phases = none: give at least one"),
        ] {
            assert_eq!(work.validate().unwrap_err().to_string(), message);
        }
        let mut custom = Work::custom("mine", |_| ());
        assert_eq!(custom.validate(), Ok(()));
        if let Work::Custom(custom) = &mut custom {
            custom.run = None;
        }
        assert!(custom.validate().is_err());
    }
}
