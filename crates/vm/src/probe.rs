//! Whether KVM works here.
//!
//! A `/dev/kvm` that opens proves nothing: there are hosts where it creates machines
//! whose kernels never get past their first pages. So the probe boots one.

use crate::engine::Engine;
use crate::machine::Machine;
use crate::mode::Mode;
use crate::vm::{Halt, Vm};
use belljar_guest::channel::State;
use belljar_topology::MemoryMib;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a kernel may take to its init under KVM. It takes well under a second
/// where KVM works.
const PATIENCE: Duration = Duration::from_secs(8);

/// What became of an attempt to boot a kernel under KVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvmProbe {
    /// Whether it works.
    pub works: bool,
    /// Why not, or how long the boot took, in one line.
    pub reason: String,
    /// What the answer holds for.
    subject: String,
}

impl KvmProbe {
    /// Boots the kernel under KVM, or remembers what came of it since the host was
    /// booted.
    pub fn of_host(engine: &Engine, vmlinux: &Path, kernel_id: &str) -> KvmProbe {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let subject = format!("{} {} {kernel_id}", boot.trim(), engine.qemu().banner());
        let path = engine.cache().root().join("kvm-probe.json");
        // One process at a time: the others then find the answer.
        let lock = engine.cache().lock("kvm-probe", || ());
        let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(probe) = known.filter(|probe: &KvmProbe| probe.subject == subject) {
            return probe;
        }
        let (works, reason) = match probe(engine, vmlinux, kernel_id) {
            Ok(took) => (true, format!("a kernel booted in {} ms", took.as_millis())),
            Err(reason) => (false, reason.lines().next().unwrap_or_default().to_owned()),
        };
        let probe = KvmProbe { works, reason, subject };
        let new = path.with_extension("json.new");
        let text = serde_json::to_vec(&probe).unwrap_or_default();
        // When the answer cannot be kept it is found again next time.
        let _ = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        drop(lock);
        probe
    }
}

fn probe(engine: &Engine, vmlinux: &Path, kernel_id: &str) -> Result<Duration, String> {
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        return Err(format!("/dev/kvm cannot be opened: {error}"));
    }
    let topology = "1n1l1c1t".parse().map_err(|error| format!("{error}"))?;
    let machine =
        Machine::new(topology, vmlinux, Mode::Kvm).memory(MemoryMib(256)).kernel_id(kernel_id);
    let started = Instant::now();
    let staging = engine.cache().stage("kvm-probe", 320).map_err(|error| error.to_string())?;
    let boot = || {
        let mut vm = Vm::boot(engine.qemu(), &machine, staging.path())?;
        vm.resume()?;
        vm.wait(started + PATIENCE, Duration::from_secs(1), |_| Ok(()))
    };
    match boot() {
        Ok(Halt::Frozen(State::Ready)) => Ok(started.elapsed()),
        Ok(Halt::StillRunning) => Err(format!(
            "/dev/kvm opens, but a kernel did not reach its init within {} s",
            PATIENCE.as_secs()
        )),
        Ok(halt) => Err(format!("/dev/kvm opens, but a kernel did not boot: {halt:?}")),
        Err(error) => Err(format!("/dev/kvm opens, but QEMU failed: {error}")),
    }
}
