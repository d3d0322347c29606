//! Operations.

use belljar_scenario::{Affinity, Op};
use belljar_topology::CpuSet;
use belljar_verdict::evidence::Capture;

use super::{Stage, pump_payloads, quota};
use crate::cgroup::{Controller, is_below, parent};
use crate::scheduler::attach_while;
use crate::sysfs::SchedExt;
use crate::{Event, Trouble, clock};

impl Stage<'_> {
    /// Does an operation.
    pub(super) fn act(&mut self, op: &Op) -> Result<(), Trouble> {
        self.begin();
        // What was written meanwhile is taken between operations, too.
        self.pump();
        match op {
            Op::AddCgroup { cgroup } => self.set_up(std::slice::from_ref(cgroup)),
            Op::RemoveCgroup { cgroup } => self.remove_cgroup(cgroup),
            Op::StopCgroup { cgroup } => {
                self.group(cgroup)?;
                self.end_troupes(|troupe| troupe.cgroup == *cgroup, true);
                Ok(())
            }
            Op::SetCpuset { cgroup, cpus } => {
                self.group(cgroup)?;
                let cpus = cpus
                    .resolve(self.setting.topology, &self.allowed(parent(cgroup)))
                    .map_err(|source| Trouble::Cpus { cgroup: cgroup.clone(), source })?;
                self.confine(vec![(cgroup.clone(), Some(cpus))])
            }
            Op::ClearCpuset { cgroup } => self.confine(vec![(cgroup.clone(), None)]),
            Op::SwapCpusets { a, b } => {
                let (of_a, of_b) = (self.allowed(a), self.allowed(b));
                self.confine(vec![(a.clone(), Some(of_b)), (b.clone(), Some(of_a))])
            }
            Op::SetWeight { cgroup, weight } => {
                let at = self.group(cgroup)?;
                self.tree.set(cgroup, Controller::Cpu, "cpu.weight", &weight.to_string())?;
                let at = self.cgroups[at].at;
                if let Some(evidence) = self.evidence.cgroups.get_mut(at) {
                    evidence.weight = *weight;
                }
                Ok(())
            }
            Op::SetQuota { cgroup, percent } => {
                let value = percent.map_or_else(|| "max".to_owned(), quota);
                Ok(self.tree.set(cgroup, Controller::Cpu, "cpu.max", &value)?)
            }
            Op::Freeze { cgroup } => self.freeze(cgroup, true),
            Op::Unfreeze { cgroup } => self.freeze(cgroup, false),
            Op::MoveAllTasks { from, to } => self.move_tasks(from, to),
            Op::Spawn { cgroup, workers } => {
                let troupe = self.start(cgroup, workers)?;
                self.release([troupe].into())
            }
            Op::SetAffinity { cgroup, affinity } => self.bind(cgroup, affinity),
            Op::RunPayload { payload } => self.run_payload(payload),
            Op::WaitPayload { payload } => self.wait_payload(payload),
            Op::KillPayload { payload } => {
                let at = self.find_payload(payload)?;
                self.payloads[at].running.stop(false);
                self.end_payload(at);
                Ok(())
            }
            Op::AttachScheduler { scheduler } => match &self.scheduler {
                Some(other) => Err(Trouble::SchedulerAttached(other.name().to_owned())),
                None => self.attach(scheduler),
            },
            Op::DetachScheduler => self.detach().map(drop),
            Op::RestartScheduler => {
                let name = self.detach()?;
                self.attach(&name)
            }
            Op::ReplaceScheduler { scheduler } => {
                self.detach()?;
                self.attach(scheduler)
            }
            Op::CaptureProcs { cgroup, tag } => self.capture_processes(cgroup, tag),
            Op::CaptureFile { path, tag } => {
                let text = std::fs::read(path)
                    .map_err(|source| Trouble::File { path: path.clone(), source })?;
                let text = String::from_utf8_lossy(&text).into_owned();
                self.capture(tag, path.clone(), text);
                Ok(())
            }
        }
    }

    fn remove_cgroup(&mut self, cgroup: &str) -> Result<(), Trouble> {
        self.group(cgroup)?;
        let is_in = |name: &str| name == cgroup || is_below(name, cgroup);
        self.end_troupes(|troupe| is_in(&troupe.cgroup), true);
        self.end_payloads(|payload| is_in(payload.cgroup()));
        self.remove_groups(|group| is_in(&group.name))
    }

    fn freeze(&mut self, cgroup: &str, freeze: bool) -> Result<(), Trouble> {
        let at = self.group(cgroup)?;
        self.tree.freeze(cgroup, freeze)?;
        self.cgroups[at].frozen = freeze;
        Ok(())
    }

    fn move_tasks(&mut self, from: &str, to: &str) -> Result<(), Trouble> {
        self.group(from)?;
        self.group(to)?;
        let movers = (0..self.troupes.len()).filter(|at| self.troupes[*at].cgroup == from);
        let movers: Vec<usize> = movers.collect();
        movers.iter().for_each(|at| self.troupes[*at].crew.forbid());
        self.tree.move_all(from, to)?;
        let allowed = self.allowed(to);
        for at in movers {
            let troupe = &mut self.troupes[at];
            to.clone_into(&mut troupe.cgroup);
            troupe.crew.allow(&allowed, self.step);
        }
        for act in self.payloads.iter_mut().filter(|act| act.running.cgroup() == from) {
            act.running.moved(to);
        }
        Ok(())
    }

    fn bind(&mut self, cgroup: &str, affinity: &Affinity) -> Result<(), Trouble> {
        self.group(cgroup)?;
        let (topology, allowed, seed) = (self.setting.topology, self.allowed(cgroup), self.draw());
        for troupe in self.troupes.iter_mut().filter(|troupe| troupe.cgroup == cgroup) {
            let each = affinity
                .resolve(troupe.count, &allowed, topology, seed)
                .map_err(|source| Trouble::Affinity { cgroup: cgroup.to_owned(), source })?;
            // Not bound is bound to all: the kernel takes away what the cgroup has not.
            let each = each.into_iter().map(|cpus| cpus.unwrap_or_else(|| topology.cpus()));
            troupe.crew.set_affinity(&each.collect::<Vec<CpuSet>>())?;
        }
        Ok(())
    }

    fn find_payload(&self, name: &str) -> Result<usize, Trouble> {
        let at = self.payloads.iter().rposition(|act| act.running.name() == name);
        at.ok_or_else(|| Trouble::Unknown { what: "payload", name: name.to_owned() })
    }

    /// Waits for a payload's end, or for its time limit.
    fn wait_payload(&mut self, name: &str) -> Result<(), Trouble> {
        let at = self.find_payload(name)?;
        self.payloads[at].running.limit(clock::after(self.setting.wait_limit));
        self.wait_for(u64::MAX, |stage| stage.payloads[at].running.has_ended());
        self.end_payload(at);
        Ok(())
    }

    fn attach(&mut self, name: &str) -> Result<(), Trouble> {
        let specs = self.setting.schedulers.iter();
        let spec = specs.clone().find(|spec| spec.name == name);
        let spec = match (spec, &self.restarted) {
            (Some(spec), _) => spec,
            (None, Some(spec)) if spec.name == name => spec,
            _ => return Err(Trouble::Unknown { what: "scheduler", name: name.to_owned() }),
        };
        let mut events = Vec::new();
        let payloads = &mut self.payloads;
        let result =
            attach_while(&SchedExt::default(), spec, self.setting.attach_limit, &mut || {
                pump_payloads(payloads, &mut events);
            });
        events.into_iter().for_each(|event| (self.on_event)(event));
        match result {
            Ok(scheduler) => {
                let (name, ops) = (scheduler.name().to_owned(), scheduler.ops().to_owned());
                self.tell(Event::SchedulerAttached { scheduler: name, ops });
                self.scheduler = Some(scheduler);
                Ok(())
            }
            Err(report) => {
                self.tell(Event::SchedulerEnded { scheduler: report.name.clone() });
                self.evidence.schedulers.push((*report).clone());
                Err(Trouble::NotAttached(report))
            }
        }
    }

    /// Makes the scheduler go, or takes note of its end, and gives its name.
    fn detach(&mut self) -> Result<String, Trouble> {
        let scheduler = self.scheduler.as_ref().ok_or(Trouble::NoScheduler)?;
        self.restarted = Some(scheduler.spec().clone());
        let name = scheduler.name().to_owned();
        self.end_scheduler();
        Ok(name)
    }

    fn capture_processes(&mut self, cgroup: &str, tag: &str) -> Result<(), Trouble> {
        self.group(cgroup)?;
        let mut text = String::new();
        for pid in self.tree.processes(cgroup)? {
            // One that ends just now has no name any more.
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            text.push_str(&format!("{pid} {}\n", comm.trim_end()));
        }
        self.capture(tag, format!("processes of {cgroup}"), text);
        Ok(())
    }

    fn capture(&mut self, tag: &str, what: String, text: String) {
        let tag = tag.to_owned();
        self.evidence.captures.push(Capture { tag, at_ns: clock::now_ns(), what, text });
    }
}
