//! What to run: a machine's description, and the arguments that build it.

use crate::error::Error;
use crate::mode::Mode;
use belljar_guest::channel;
use belljar_topology::{MemoryMib, Topology};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nanoseconds of guest time for an instruction in `det`, as a power of two.
///
/// At 2 an emulated CPU runs at 250 million instructions a second of guest time,
/// about what the emulation reaches in host time.
pub(crate) const DET_SHIFT: u32 = 2;

/// Guest time within which every CPU gets its turn while a `det` run is on.
///
/// A pipe's round trip between two CPUs while two others compute took, p50 and p90, 0.54
/// and 1.1 ms without it. Shorter is not always better: which CPUs come first after each
/// round, and get a little more for it, follows from its length. From 10 to 150 us this
/// one treats the four best, wherever the two are.
pub const DET_ROUND: Duration = Duration::from_micros(33);

/// What every kernel is told.
///
/// * `cryptomgr.notests`: kernels test their ciphers in the background for many
///   emulated seconds after boot. `damon_stat.enabled=0` and the compaction: two more
///   that wake up all the time and take CPU from whatever is measured.
/// * `tsc=reliable`: a kernel that does not trust its clock keeps every idle CPU
///   ticking, and its timers are as coarse as the tick.
/// * `panic=-1` with `oops=panic`: a kernel that is broken ends its machine at once.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 nokaslr mitigations=off cryptomgr.notests \
    damon_stat.enabled=0 sysctl.vm.compaction_proactiveness=0 tsc=reliable \
    panic=-1 oops=panic quiet 8250.nr_uarts=2";

/// A machine to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    topology: Topology,
    memory: MemoryMib,
    mode: Mode,
    vmlinux: PathBuf,
    kernel_id: String,
    cpu_model: Option<String>,
    kernel_arguments: Vec<String>,
}

impl Machine {
    /// Memory of a machine of which nothing else is said.
    pub const MEMORY_DEFAULT: MemoryMib = MemoryMib(512);

    /// A machine with this shape that boots the kernel in an uncompressed ELF file.
    pub fn new(topology: Topology, vmlinux: &Path, mode: Mode) -> Machine {
        Machine {
            topology,
            memory: Machine::MEMORY_DEFAULT,
            mode,
            vmlinux: vmlinux.to_owned(),
            kernel_id: vmlinux.display().to_string(),
            cpu_model: None,
            kernel_arguments: Vec::new(),
        }
    }

    /// With this much memory, over all nodes.
    #[must_use]
    pub fn memory(mut self, memory: MemoryMib) -> Machine {
        self.memory = memory;
        self
    }

    /// With this name for the kernel's contents. Templates of machines whose kernels
    /// have the same name are taken for the same; by default it is the path.
    #[must_use]
    pub fn kernel_id(mut self, id: impl Into<String>) -> Machine {
        self.kernel_id = id.into();
        self
    }

    /// With this `-cpu` model instead of the mode's own.
    #[must_use]
    pub fn cpu_model(mut self, model: impl Into<String>) -> Machine {
        self.cpu_model = Some(model.into());
        self
    }

    /// With one more argument on the kernel's command line.
    #[must_use]
    pub fn kernel_argument(mut self, argument: impl Into<String>) -> Machine {
        self.kernel_arguments.push(argument.into());
        self
    }

    /// The shape.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The memory over all nodes.
    pub fn memory_mib(&self) -> u64 {
        self.memory.0
    }

    /// The kernel's file.
    pub(crate) fn vmlinux(&self) -> &Path {
        &self.vmlinux
    }

    /// The kernel's command line.
    pub(crate) fn command_line(&self) -> String {
        let mut line = format!("{KERNEL_ARGUMENTS} {}", channel::KERNEL_ARGUMENT);
        for argument in &self.kernel_arguments {
            line.push(' ');
            line.push_str(argument);
        }
        line
    }

    /// A line that tells people which machine it is.
    pub fn describe(&self) -> String {
        format!("{} {} {} MiB, {}", self.mode, self.topology, self.memory.0, self.kernel_id)
    }

    /// Everything but the memory files that shapes the machine, for a template's key.
    pub(crate) fn fingerprint(&self) -> Result<String, Error> {
        let arguments = self.arguments(Path::new(""), false)?;
        let mut text = format!("{}\n{}\n", self.kernel_id, self.command_line());
        if self.mode == Mode::Det {
            text.push_str(&format!("round {} ns\n", DET_ROUND.as_nanos()));
        }
        for argument in arguments {
            text.push_str(&argument.to_string_lossy());
            text.push('\n');
        }
        Ok(text)
    }

    /// The files that hold the memory of each node, in a template's directory.
    pub(crate) fn memory_files(&self, directory: &Path) -> Vec<PathBuf> {
        self.topology.node_ids().map(|node| directory.join(format!("ram{node}"))).collect()
    }

    /// QEMU's arguments for the machine, with its memory in `directory`: shared with
    /// the files there, or a private copy of them.
    pub(crate) fn arguments(&self, directory: &Path, shared: bool) -> Result<Vec<OsString>, Error> {
        let shape = self
            .topology
            .qemu(self.memory, "ram")
            .map_err(|error| Error::Machine { problem: error.to_string() })?;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut push = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        let mut machine = String::from("q35,smm=off,vmport=off,sata=off,usb=off");
        if let Some(backend) = shape.machine_memory_backend() {
            machine.push_str(&format!(",memory-backend={backend}"));
        }
        let cpu = format!("{},{}", self.cpu(), shape.cpu_properties());
        push(&["-machine", &machine, "-cpu", &cpu]);
        let words = shape.args();
        push(&words.iter().map(String::as_str).collect::<Vec<_>>());
        for node in &shape.nodes {
            // A comma in a value is written twice.
            let path = directory.join(&node.memdev).to_string_lossy().replace(',', ",,");
            let share = if shared { "on" } else { "off" };
            push(&[
                "-object",
                &format!(
                    "memory-backend-file,id={},size={}M,mem-path={path},share={share}",
                    node.memdev, node.memory.0
                ),
            ]);
        }
        push(&["-device", &format!("pvpanic,ioport={}", channel::FREEZE_PORT)]);
        match self.mode {
            Mode::Kvm => push(&["-accel", "kvm", "-rtc", "base=utc"]),
            Mode::Tcg => push(&["-accel", "tcg,thread=multi", "-rtc", "base=utc"]),
            Mode::Det => push(&[
                "-accel",
                "tcg,thread=single",
                "-icount",
                &format!("shift={DET_SHIFT},sleep=off"),
                "-rtc",
                "clock=vm,base=2026-01-01",
                "-seed",
                "1",
                // With it the guest has QEMU's turns be short. The CPU below says that its
                // timer never stops, or the kernel would take the HPET for its own.
                "-global",
                "hpet.msi=on",
            ]),
        }
        // After an incoming migration QEMU announces itself to networks that are not
        // there, and each announcement would wake a det machine. Zero is refused.
        for parameter in ["rounds", "initial", "max", "step"] {
            push(&["-global", &format!("migration.announce-{parameter}=1")]);
        }
        Ok(arguments)
    }

    /// Measured by boots to the agent, CPU seconds, kernel 7.2, 4 CPUs, tcg: `max` 3.7,
    /// `qemu64` 3.3, `Haswell` 3.0, `EPYC` 2.9, `Nehalem` 2.4. It is x86-64-v2; the
    /// newer ones pay for saving wide registers at every switch. It has no RDRAND,
    /// which `det` could not bear.
    fn cpu(&self) -> &str {
        match (&self.cpu_model, self.mode) {
            (Some(model), _) => model,
            (None, Mode::Kvm) => "host",
            (None, Mode::Tcg) => "Nehalem",
            (None, Mode::Det) => "Nehalem,arat=on",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(notation: &str, mode: Mode) -> Machine {
        Machine::new(notation.parse().unwrap(), Path::new("/k/vmlinux"), mode)
    }

    fn words(machine: &Machine) -> String {
        let arguments = machine.arguments(Path::new("/c,d"), true).unwrap();
        arguments.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn det_counts_instructions_and_tcg_does_not() {
        let det = words(&machine("1n1l4c1t", Mode::Det));
        assert!(det.contains("-icount shift=2,sleep=off -rtc clock=vm"), "{det}");
        assert!(det.contains("mem-path=/c,,d/ram0,share=on"), "{det}");
        let tcg = words(&machine("1n1l4c1t", Mode::Tcg));
        assert!(!tcg.contains("icount") && tcg.contains("thread=multi"), "{tcg}");
    }

    #[test]
    fn what_shapes_a_machine_is_in_its_fingerprint() {
        let machine = machine("2n2l1c1t", Mode::Tcg);
        let fingerprint = machine.fingerprint().unwrap();
        for other in [
            machine.clone().memory(MemoryMib(1024)),
            machine.clone().kernel_id("other"),
            machine.clone().cpu_model("max"),
            machine.clone().kernel_argument("psi=1"),
            Machine { mode: Mode::Det, ..machine.clone() },
        ] {
            assert_ne!(other.fingerprint().unwrap(), fingerprint);
        }
        assert_eq!(machine.memory_files(Path::new("/t")).len(), 2);
    }

    #[test]
    fn too_little_memory_is_an_error() {
        let error = machine("1n1l1c1t", Mode::Tcg).memory(MemoryMib(64)).fingerprint().unwrap_err();
        assert!(matches!(error, Error::Machine { .. }), "{error}");
    }
}
