//! What a test needs, resolved: which machine, which payload, which seed.

use super::Host;
use crate::case::Spec;
use crate::config::Config;
use crate::scheduler::SchedulerSpec;
use belljar_kernel::{Kernel, Need};
use belljar_record::Reason;
use belljar_topology::{MemoryMib, Topology};
use belljar_vm::{Error, KvmProbe, Machine, Mode, Payload, Template, chain};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// What a test will be run with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The test.
    pub spec: Spec,
    /// Its binary.
    pub binary: PathBuf,
    /// The mode that was asked for: a mode's name or `auto`.
    pub requested: String,
    /// The mode.
    pub mode: Mode,
    /// Why that mode, where it is not the one that was asked for, or what it cannot
    /// promise here.
    pub why: Option<String>,
    /// The kernel.
    pub kernel: Kernel,
    /// The topology.
    pub topology: Topology,
    /// The memory.
    pub memory: MemoryMib,
    /// The seed.
    pub seed: u64,
    /// The time limit, in guest time.
    pub timeout: Duration,
    /// How many steps of the scenario are played; 0 for all.
    pub steps: u64,
    /// The programs of the schedulers that come along, by the id of the scheduler.
    schedulers: Vec<(SchedulerSpec, PathBuf)>,
    cpu_model: Option<String>,
}

/// What makes two tests share a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TemplateKey {
    machine: String,
    binary: PathBuf,
    modules: Vec<String>,
    tools: Vec<String>,
    scheduler: Option<SchedulerSpec>,
    staged: Vec<SchedulerSpec>,
}

impl Plan {
    /// The machine to run it on.
    pub fn machine(&self) -> Machine {
        let machine = Machine::new(self.topology.clone(), &self.kernel.vmlinux(), self.mode)
            .memory(self.memory)
            .kernel_id(self.kernel.id());
        match &self.cpu_model {
            Some(model) => machine.cpu_model(model),
            None => machine,
        }
    }

    /// What tells its template from others, for people and for counting.
    pub fn template(&self) -> String {
        format!("{:?}", self.template_key())
    }

    /// Its scheduler, for the record.
    pub(super) fn scheduler(&self) -> Option<belljar_record::Scheduler> {
        let spec = self.spec.scheduler.as_ref()?;
        let (_, program) = self.schedulers.iter().find(|(known, _)| known.id == spec.id)?;
        let hash = std::fs::read(program).map(|bytes| blake3::hash(&bytes).to_hex().to_string());
        Some(belljar_record::Scheduler {
            name: spec.name.clone(),
            source: spec.source.to_string(),
            command: spec.command(),
            program_hash: hash.unwrap_or_default(),
        })
    }

    fn template_key(&self) -> TemplateKey {
        TemplateKey {
            machine: format!("{:?}", self.machine()),
            binary: self.binary.clone(),
            modules: self.spec.modules.clone(),
            tools: self.tools(),
            scheduler: self.spec.scheduler.clone(),
            staged: self.spec.staged.clone(),
        }
    }

    /// The programs of the host that come along: the test's, and those of its scenario.
    fn tools(&self) -> Vec<String> {
        let programs = self.spec.scenario.iter().flat_map(|scenario| &scenario.programs);
        let tools: BTreeSet<&String> = self.spec.tools.iter().chain(programs).collect();
        tools.into_iter().cloned().collect()
    }

    fn payload(&self) -> Result<Payload, Reason> {
        let failed =
            |error: &dyn std::error::Error| Reason::TemplateFailed { detail: chain(error) };
        let mut payload = Payload::process(&self.binary, &[]).map_err(|error| failed(&error))?;
        payload.tools(&self.tools()).map_err(|error| failed(&error))?;
        let names: Vec<&str> = self.spec.modules.iter().map(String::as_str).collect();
        for module in self.kernel.module_closure(&names).map_err(|error| failed(&error))? {
            let image = module.read().map_err(|error| failed(&error))?;
            payload.module(&module.name, image);
        }
        if let Some(config) = self.kernel.config_path() {
            // libbpf looks for it there.
            let image = std::fs::read(&config).map_err(|error| failed(&error))?;
            payload.file(format!("/boot/config-{}", self.kernel.release()), image);
        }
        for (spec, program) in &self.schedulers {
            payload.program(program, &spec.guest_program()).map_err(|error| failed(&error))?;
            if let Some(config) = &spec.config {
                payload.file(spec.guest_config(), config.clone().into_bytes());
            }
        }
        if let Some(scheduler) = &self.spec.scheduler {
            // Attached before the template is taken, so that no fork has to wait for it.
            payload.file(crate::play::ATTACH, scheduler.id.clone().into_bytes());
        }
        Ok(payload)
    }
}

/// The topology of a test: its own, its scheduler's, or the workspace's.
pub(crate) fn topology_of(spec: &Spec, config: &Config) -> Result<Topology, Reason> {
    let of_scheduler = || spec.scheduler.as_ref()?.topology.as_ref();
    let Some(notation) = spec.topology.as_ref().or_else(of_scheduler) else {
        return Ok(config.topology.clone());
    };
    let failed = |error| Reason::TemplateFailed { detail: format!("{notation}: {error}") };
    notation.parse().map_err(failed)
}

impl Host {
    /// Resolves what a test declares.
    ///
    /// # Errors
    /// The reason for which the test cannot run here.
    pub fn plan(&self, spec: &Spec, binary: &Path) -> Result<Plan, Reason> {
        let config = self
            .config(Path::new(&spec.manifest_dir))
            .map_err(|error| Reason::TemplateFailed { detail: chain(&error) })?;
        if let Some(problem) = spec.scenario.as_ref().and_then(|facts| facts.problems.first()) {
            return Err(Reason::Scenario { detail: problem.clone() });
        }
        if let Some(check) = &spec.expect_check {
            check
                .parse::<belljar_verdict::CheckKind>()
                .map_err(|error| Reason::Scenario { detail: format!("`expect_check`: {error}") })?;
        }
        let kernel = self.kernel_for(spec, &config)?;
        let requested = spec
            .mode
            .clone()
            .or_else(|| self.options.mode.clone())
            .unwrap_or_else(|| config.mode.clone());
        let (mode, why) = self.mode_for(&requested, &kernel)?;
        let topology = topology_of(spec, &config)?;
        let memory = MemoryMib(u64::from(spec.memory_mib.unwrap_or(config.memory_mib)))
            .max(topology.memory_least());
        // A det run must come out the same every time; elsewhere a test that draws
        // numbers should not always draw the same.
        let seed = self.options.seed.or(spec.seed).unwrap_or_else(|| match mode {
            Mode::Det => 0,
            _ => fastrand::u64(..),
        });
        let length = spec.scenario.as_ref().map_or(0, |facts| facts.length_ns);
        let timeout = spec.timeout_ms.map_or_else(
            // A scenario has its time, and set-up and take-down theirs.
            || Duration::from_secs(u64::from(config.timeout_s)) + Duration::from_nanos(length),
            Duration::from_millis,
        );
        let schedulers = spec.scheduler.iter().chain(&spec.staged);
        let schedulers = schedulers
            .map(|scheduler| Ok((scheduler.clone(), self.scheduler_program(scheduler)?)))
            .collect::<Result<_, String>>()
            .map_err(|detail| Reason::SchedulerBuild { detail })?;
        Ok(Plan {
            spec: spec.clone(),
            binary: binary.to_owned(),
            requested,
            mode,
            why,
            kernel,
            topology,
            memory,
            seed,
            timeout,
            steps: 0,
            schedulers,
            cpu_model: config.cpu_model,
        })
    }

    fn kernel_for(&self, spec: &Spec, config: &Config) -> Result<Kernel, Reason> {
        let failed =
            |error: belljar_kernel::Error| Reason::TemplateFailed { detail: chain(&error) };
        let chosen = spec.kernel.as_ref().or(self.options.kernel.as_ref());
        let kernel = match chosen {
            Some(word) => self.kernel(word),
            None => match self.kernels.default_kernel() {
                Ok(Some(kernel)) => Ok(kernel),
                Ok(None) => self.kernel(&config.kernel),
                Err(error) => Err(error),
            },
        };
        let kernel = kernel.map_err(failed)?;
        let schedulers = spec.scheduler.iter().chain(&spec.staged);
        let needs: BTreeSet<&String> =
            spec.needs.iter().chain(schedulers.flat_map(|scheduler| &scheduler.needs)).collect();
        let needs: Vec<Need> = needs
            .into_iter()
            .map(|need| need.parse())
            .collect::<Result<_, belljar_kernel::ParseNeedError>>()
            .map_err(|error| Reason::TemplateFailed { detail: error.to_string() })?;
        let lacks = kernel.missing(&needs).map_err(failed)?;
        if lacks.is_empty() {
            return Ok(kernel);
        }
        let cached = self.kernels.who_has(&needs).unwrap_or_default();
        let mut found_in: Vec<String> = cached.iter().map(|k| k.id().to_owned()).collect();
        let known = needs.iter().filter_map(|need| match need {
            Need::Ability(ability) => ability.known_sources().first(),
            Need::Config(_) => None,
        });
        found_in.extend(known.map(|source| (*source).to_owned()));
        found_in.dedup();
        let missing = lacks.iter().map(|lack| format!("{} ({})", lack.need, lack.reason)).collect();
        Err(Reason::Refused { missing, found_in })
    }

    fn mode_for(&self, word: &str, kernel: &Kernel) -> Result<(Mode, Option<String>), Reason> {
        let probe = || KvmProbe::of_host(&self.engine, &kernel.vmlinux(), kernel.id());
        match word {
            "auto" => Ok(match probe() {
                probe if probe.works => (Mode::Kvm, None),
                probe => (Mode::Tcg, Some(format!("KVM was passed over: {}", probe.reason))),
            }),
            "kvm" => match probe() {
                probe if probe.works => Ok((Mode::Kvm, None)),
                probe => Err(Reason::Skipped { why: format!("no KVM: {}", probe.reason) }),
            },
            "det" => Ok((Mode::Det, self.engine.qemu().det_caveat())),
            word => {
                word.parse().map(|mode| (mode, None)).map_err(|error: belljar_vm::UnknownMode| {
                    Reason::TemplateFailed { detail: error.to_string() }
                })
            }
        }
    }

    /// The template that a plan needs: from the cache, or made now.
    ///
    /// # Errors
    /// The reason for which there is none.
    pub fn prepare(&self, plan: &Plan) -> Result<Arc<Template>, Reason> {
        let key = plan.template_key();
        let known = || self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = known().get(&key) {
            return Ok(Arc::clone(template));
        }
        // A machine that does not boot takes a minute to be given up: once is enough.
        let failures = || self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = failures().get(&key) {
            return Err(reason.clone());
        }
        let failed = |error: Error| match error {
            Error::Cancelled => Reason::Interrupted,
            error => Reason::TemplateFailed { detail: chain(&error) },
        };
        let payload = plan.payload()?;
        let base = self.engine.base(&plan.machine());
        match base.and_then(|base| self.engine.layer(&base, &payload)).map_err(failed) {
            Ok(template) => {
                known().insert(key, Arc::clone(&template));
                Ok(template)
            }
            Err(reason) => {
                failures().insert(key, reason.clone());
                Err(reason)
            }
        }
    }

    /// Says that a plan will be run soon, so that its fork can be made ahead.
    pub fn expect(&self, template: &Arc<Template>) {
        self.pool.expect(template);
    }

    /// Waits until the pool has made what was expected, as far as it has room.
    pub fn wait_for_pool(&self) {
        self.pool.wait();
    }

    pub(super) fn take(&self, template: &Arc<Template>) -> Result<belljar_vm::Fork, Reason> {
        self.pool.take(template).map_err(|error| match error {
            Error::QemuDied { status, stderr } => Reason::QemuDied { status, stderr },
            error => Reason::TemplateFailed { detail: chain(&error) },
        })
    }
}
