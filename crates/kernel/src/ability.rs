//! What a kernel can do, by name, read before anything is booted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::btf::BtfState;
use crate::config::{Config, Setting};
use crate::text::{closest, did_you_mean};

macro_rules! abilities {
    ($($(#[$doc:meta])* $variant:ident $name:literal $rule:expr,)*) => {
        /// Something that a test may need of a kernel. Names are written with `-` or `_`.
        ///
        /// ```
        /// use belljar_kernel::Ability;
        ///
        /// assert_eq!("sched_ext".parse::<Ability>()?, Ability::SchedExt);
        /// assert_eq!(Ability::SchedExt.to_string(), "sched-ext");
        /// assert_eq!(
        ///     "shed-ext".parse::<Ability>().unwrap_err().to_string(),
        ///     "no ability of a kernel is called `shed-ext`; did you mean `sched-ext`?"
        /// );
        /// # Ok::<(), belljar_kernel::ParseNeedError>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Ability {
            $($(#[$doc])* $variant,)*
        }

        impl Ability {
            /// All of them, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, as tests write it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn rule(self) -> Rule {
                match self { $(Self::$variant => $rule,)* }
            }
        }
    };
}

/// How an ability is told from what is known about a kernel.
enum Rule {
    /// All of these options are set; those set to `m` make it a module's.
    Options(&'static [&'static str]),
    /// Any of these options is set: they were renamed or split.
    AnyOption(&'static [&'static str]),
    /// The option is set, or the kernel is of this version or later, where it is always on.
    OptionUntil(&'static str, (u32, u32)),
    Btf,
    BtfSound,
    Pvh,
}

use Rule::{AnyOption, OptionUntil, Options};

abilities! {
    /// Schedulers written in BPF.
    SchedExt "sched-ext" Options(&["SCHED_CLASS_EXT"]),
    /// Types for BPF programs.
    Btf "btf" Rule::Btf,
    /// BTF in which kfuncs can be called; see [`BtfState::Present`].
    BtfSound "btf-sound" Rule::BtfSound,
    /// The system call `bpf`.
    BpfSyscall "bpf-syscall" Options(&["BPF_SYSCALL"]),
    /// BPF programs compiled to machine code.
    BpfJit "bpf-jit" Options(&["BPF_JIT"]),
    /// Probes in the kernel.
    Kprobes "kprobes" Options(&["KPROBES", "KPROBE_EVENTS"]),
    /// Probes in programs.
    Uprobes "uprobes" Options(&["UPROBES", "UPROBE_EVENTS"]),
    /// Entry by PVH: the ELF kernel boots without its decompressor.
    Pvh "pvh" Rule::Pvh,
    /// Virtio devices on PCI.
    VirtioPci "virtio-pci" Options(&["VIRTIO_PCI"]),
    /// A console that is a virtio device.
    VirtioConsole "virtio-console" Options(&["VIRTIO_CONSOLE"]),
    /// Sockets between guest and host.
    Vsock "vsock" Options(&["VSOCKETS", "VIRTIO_VSOCKETS"]),
    /// A device that tells the host of a panic.
    Pvpanic "pvpanic" AnyOption(&["PVPANIC_PCI", "PVPANIC_MMIO"]),
    /// Physical memory as a file.
    Devmem "devmem" Options(&["DEVMEM"]),
    /// Port access by programs: `ioperm` and `iopl`.
    Ioperm "ioperm" Options(&["X86_IOPL_IOPERM"]),
    /// Huge pages as files.
    Hugetlbfs "hugetlbfs" Options(&["HUGETLBFS"]),
    /// Several nodes of memory.
    Numa "numa" Options(&["NUMA"]),
    /// Socket state by netlink.
    InetDiag "inet-diag" Options(&["INET_DIAG"]),
    /// The same for TCP.
    TcpDiag "tcp-diag" Options(&["INET_TCP_DIAG"]),
    /// Filesystems on top of others.
    Overlay "overlay" Options(&["OVERLAY_FS"]),
    /// The cgroup v2 controller `cpuset`.
    CgroupCpuset "cgroup-cpuset" Options(&["CPUSETS"]),
    /// The cgroup v2 controller `cpu` with weights.
    CgroupCpu "cgroup-cpu" Options(&["CGROUP_SCHED", "FAIR_GROUP_SCHED"]),
    /// Limits of CPU time: `cpu.max`.
    CgroupCpuMax "cgroup-cpu-max" Options(&["CFS_BANDWIDTH"]),
    /// The cgroup v2 controller `memory`.
    CgroupMemory "cgroup-memory" Options(&["MEMCG"]),
    /// The cgroup v2 controller `io`.
    CgroupIo "cgroup-io" Options(&["BLK_CGROUP"]),
    /// The cgroup v2 controller `pids`.
    CgroupPids "cgroup-pids" Options(&["CGROUP_PIDS"]),
    /// User namespaces.
    UserNs "user-ns" Options(&["USER_NS"]),
    /// Network namespaces.
    NetNs "net-ns" Options(&["NET_NS"]),
    /// Pressure stall information.
    Psi "psi" Options(&["PSI"]),
    /// Scheduler state in debugfs.
    SchedDebug "sched-debug" OptionUntil("SCHED_DEBUG", (6, 15)),
    /// Scheduler statistics per task and CPU.
    Schedstats "schedstats" Options(&["SCHEDSTATS"]),
}

impl Ability {
    /// Debian sources that are known to have it, for hints; the first is the best. Empty where
    /// every Debian kernel has it, or none.
    #[must_use]
    pub fn known_sources(self) -> &'static [&'static str] {
        match self {
            Self::SchedExt | Self::BtfSound => &["debian:sid"],
            _ => &[],
        }
    }
}

/// What a test needs of a kernel: an ability, or an option of its configuration.
///
/// ```
/// use belljar_kernel::{Ability, Need};
///
/// assert_eq!("psi".parse::<Need>()?, Need::Ability(Ability::Psi));
/// assert_eq!("config:CONFIG_FUSE_FS".parse::<Need>()?.to_string(), "config:CONFIG_FUSE_FS");
/// # Ok::<(), belljar_kernel::ParseNeedError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Need {
    /// An ability.
    Ability(Ability),
    /// An option that must be set to anything; its name starts with `CONFIG_`.
    Config(String),
}

/// The text is no need.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNeedError {
    /// It is the name of no ability.
    #[error(
        "no ability of a kernel is called `{name}`{}",
        if closest.is_some() { did_you_mean(*closest) } else { format!("; there are {}, and config:CONFIG_...", names()) }
    )]
    Unknown {
        /// The text.
        name: String,
        /// The name closest to it.
        closest: Option<&'static str>,
    },
    /// What follows `config:` is the name of no option.
    #[error(
        "`{name}` is no option of a kernel's configuration; write it as in `config:CONFIG_FUSE_FS`"
    )]
    Option {
        /// The text.
        name: String,
    },
}

fn names() -> String {
    Ability::ALL.iter().map(|ability| ability.name()).collect::<Vec<_>>().join(", ")
}

/// Whether a kernel has an ability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "why")]
pub enum Support {
    /// It is there from the start.
    Builtin,
    /// It is there once modules are loaded.
    Module,
    /// It is not there, for this reason.
    Absent(String),
}

/// What a kernel can do. [`fmt::Display`] is a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    ability: Ability,
    #[serde(flatten)]
    support: Support,
}

/// A need that a kernel does not meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// What was needed.
    pub need: Need,
    /// Why it is not there, as `CONFIG_SCHED_CLASS_EXT is not set`.
    pub reason: String,
}

/// What abilities are told from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) release: &'a str,
    pub(crate) config: &'a Config,
    pub(crate) btf: &'a BtfState,
    pub(crate) pvh: bool,
}

impl Evidence<'_> {
    pub(crate) fn abilities(self) -> Abilities {
        Abilities(
            Ability::ALL
                .iter()
                .map(|&ability| Entry { ability, support: self.support(ability) })
                .collect(),
        )
    }

    pub(crate) fn lack(self, need: &Need) -> Option<Lack> {
        let support = match need {
            Need::Ability(ability) => self.support(*ability),
            Need::Config(option) => self.option(option),
        };
        let Support::Absent(reason) = support else { return None };
        Some(Lack { need: need.clone(), reason })
    }

    fn support(self, ability: Ability) -> Support {
        let absent = |reason: &str| Support::Absent(reason.to_owned());
        match ability.rule() {
            Options(options) => {
                options.iter().map(|option| self.option(option)).fold(Support::Builtin, worse)
            }
            AnyOption(options) => {
                let all: Vec<Support> = options.iter().map(|option| self.option(option)).collect();
                all.iter()
                    .find(|support| !matches!(support, Support::Absent(_)))
                    .cloned()
                    .unwrap_or_else(|| all.into_iter().fold(Support::Builtin, worse))
            }
            OptionUntil(option, since) => match version(self.release) {
                Some(version) if version >= since => Support::Builtin,
                _ => self.option(option),
            },
            Rule::Pvh if self.pvh => Support::Builtin,
            Rule::Pvh => absent("vmlinux has no PVH note (CONFIG_PVH)"),
            Rule::Btf | Rule::BtfSound => match self.btf {
                BtfState::Absent => absent("vmlinux has no BTF (CONFIG_DEBUG_INFO_BTF)"),
                BtfState::Damaged { reason } => {
                    Support::Absent(format!("its BTF cannot be read: {reason}"))
                }
                BtfState::Present { exposed, .. }
                    if !exposed.is_empty() && matches!(ability.rule(), Rule::BtfSound) =>
                {
                    Support::Absent(format!(
                        "the BTF of {} kfuncs ({}, ...) shows an argument that only the verifier may give \
                         (struct bpf_prog_aux *), so libbpf refuses programs that call them",
                        exposed.len(),
                        // A scheduler's author knows these.
                        exposed.iter().find(|name| name.starts_with("scx_")).unwrap_or(&exposed[0]),
                    ))
                }
                BtfState::Present { .. } => Support::Builtin,
            },
        }
    }

    fn option(self, option: &str) -> Support {
        let option = option.strip_prefix("CONFIG_").unwrap_or(option);
        if self.config.is_empty() {
            return Support::Absent(format!(
                "CONFIG_{option} is unknown: no configuration came with the kernel"
            ));
        }
        match self.config.get(option) {
            Setting::Yes | Setting::Value(_) => Support::Builtin,
            Setting::Module => Support::Module,
            Setting::Unset => Support::Absent(format!("CONFIG_{option} is not set")),
        }
    }
}

fn worse(a: Support, b: Support) -> Support {
    match (a, b) {
        (Support::Absent(why), _) | (_, Support::Absent(why)) => Support::Absent(why),
        (Support::Module, _) | (_, Support::Module) => Support::Module,
        (Support::Builtin, Support::Builtin) => Support::Builtin,
    }
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

impl Abilities {
    /// Whether the kernel has `ability`.
    #[must_use]
    pub fn support(&self, ability: Ability) -> &Support {
        static UNKNOWN: Support = Support::Absent(String::new());
        self.0
            .iter()
            .find(|entry| entry.ability == ability)
            .map_or(&UNKNOWN, |entry| &entry.support)
    }

    /// Each ability and whether the kernel has it.
    pub fn iter(&self) -> impl Iterator<Item = (Ability, &Support)> {
        self.0.iter().map(|entry| (entry.ability, &entry.support))
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (ability, support) in self.iter() {
            writeln!(f, "{:<16}{support}", ability.name())?;
        }
        Ok(())
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("yes"),
            Self::Module => f.write_str("module"),
            Self::Absent(why) => write!(f, "no: {why}"),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.need, self.reason)
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ability(ability) => ability.fmt(f),
            Self::Config(option) => write!(f, "config:{option}"),
        }
    }
}

impl FromStr for Ability {
    type Err = ParseNeedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.replace('_', "-");
        Self::ALL.iter().find(|ability| ability.name() == name).copied().ok_or_else(|| {
            let closest = closest(&name, Self::ALL.iter().map(|ability| ability.name()));
            ParseNeedError::Unknown { name: text.to_owned(), closest }
        })
    }
}

impl FromStr for Need {
    type Err = ParseNeedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(option) = text.strip_prefix("config:") else {
            return text.parse().map(Self::Ability);
        };
        let word = option.strip_prefix("CONFIG_").unwrap_or_default();
        if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(ParseNeedError::Option { name: option.to_owned() });
        }
        Ok(Self::Config(option.to_owned()))
    }
}

impl From<Ability> for Need {
    fn from(ability: Ability) -> Self {
        Self::Ability(ability)
    }
}

impl From<Need> for String {
    fn from(need: Need) -> Self {
        need.to_string()
    }
}

impl TryFrom<String> for Need {
    type Error = ParseNeedError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence<'a>(config: &'a Config, btf: &'a BtfState) -> Evidence<'a> {
        Evidence { release: "6.1.0-50-cloud-amd64", config, btf, pvh: true }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for ability in Ability::ALL {
            assert_eq!(ability.to_string().parse::<Ability>(), Ok(*ability));
            assert_eq!(serde_json::to_string(ability).unwrap(), format!("{:?}", ability.name()));
        }
        assert!("config:FUSE".parse::<Need>().is_err());
        assert!(
            "everything"
                .parse::<Need>()
                .unwrap_err()
                .to_string()
                .contains("there are sched-ext, btf,")
        );
    }

    #[test]
    fn a_lack_says_why() {
        let config = Config::parse(
            "CONFIG_VSOCKETS=m\nCONFIG_VIRTIO_VSOCKETS=m\nCONFIG_HZ=250\nCONFIG_PVPANIC_PCI=m\n",
        );
        let btf = BtfState::Present {
            types: 9,
            kfuncs: 2,
            exposed: vec!["bpf_x".into(), "scx_bpf_y".into()],
        };
        let evidence = evidence(&config, &btf);
        let reason =
            |need: &str| evidence.lack(&need.parse().unwrap()).map(|lack| lack.to_string());
        assert_eq!(reason("sched_ext").unwrap(), "sched-ext: CONFIG_SCHED_CLASS_EXT is not set");
        assert!(
            reason("btf-sound")
                .unwrap()
                .starts_with("btf-sound: the BTF of 2 kfuncs (scx_bpf_y, ...)")
        );
        assert_eq!(reason("sched-debug").unwrap(), "sched-debug: CONFIG_SCHED_DEBUG is not set");
        for met in ["config:CONFIG_HZ", "vsock", "btf", "pvh", "pvpanic"] {
            assert_eq!(reason(met), None, "{met}");
        }
        let later = Evidence { release: "7.2.13", ..evidence };
        assert_eq!(later.support(Ability::SchedDebug), Support::Builtin);
    }

    #[test]
    fn without_a_configuration_nothing_is_claimed() {
        let abilities = evidence(&Config::default(), &BtfState::Absent).abilities();
        let table = abilities.to_string();
        assert!(table.contains("psi             no: CONFIG_PSI is unknown"), "{table}");
        assert!(table.contains("btf             no: vmlinux has no BTF"), "{table}");
    }
}
