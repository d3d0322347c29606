//! What cgroups, workers, payloads and operations do to what is there.

use belljar_topology::{CpuSet, word};

use super::{Crew, Life, Live, Name, Running, Walk, is_below, parent};
use crate::fault::{self, fault};
use crate::{Affinity, Cgroup, Op, Payload, Policy, Schedulers, Setup, Work, Workers};

/// The most workers that a group may have.
const WORKERS_MAX: u32 = 4096;

impl Walk<'_> {
    pub(super) fn define(&mut self, cgroup: &Cgroup, life: Life) {
        let name = cgroup.name.as_str();
        name.clone_into(&mut self.here.cgroup);
        if let Some(bad) = fault::name(name) {
            return self.wrong(bad);
        }
        if let Some(first) = self.cgroups.get(name) {
            let at = first.at.map_or_else(String::new, |at| self.words(at));
            let message = format!("`{name}` is there already, from {at}: name them apart");
            return self.wrong(fault(name, message));
        }
        let parent = parent(name);
        self.knows(parent, true);
        self.wrong_all(fault::cgroup(cgroup));
        let usable = self.cpus(parent);
        let cpus = cgroup.cpuset.as_ref().map(|cpus| (cpus, cpus.resolve(self.topology, &usable)));
        let cpus = cpus.and_then(|(words, cpus)| {
            cpus.map_err(|error| self.wrong(fault(words, error.to_string()))).ok()
        });
        let confined = cpus.is_some();
        let nodes = cgroup.mems.as_deref().and_then(|mems| self.mems(mems, parent));
        self.gone.remove(&Name::Cgroup(name.to_owned()));
        let live = Live {
            at: self.here.site,
            life,
            cpus,
            nodes,
            pids_max: cgroup.pids_max,
            crews: Vec::new(),
        };
        self.cgroups.insert(name.to_owned(), live);
        let resolved = cgroup.cpuset.is_none() || confined;
        let cpus = if resolved { self.cpus(name) } else { CpuSet::new() };
        let mut counts = Vec::new();
        for (index, workers) in (0..).zip(&cgroup.workers) {
            self.here.group = Some(index);
            counts.push(self.start(name, workers, life));
        }
        self.here.group = None;
        self.settle(cpus, counts);
    }

    /// Notes what this place comes to, the first time that it is played.
    fn settle(&mut self, cpus: CpuSet, counts: Vec<u32>) {
        if let Some(site) = self.here.site {
            self.sites.entry(site).or_insert(Setup { cpus, counts });
        }
    }

    fn mems(&mut self, mems: &str, parent: &str) -> Option<CpuSet> {
        let usable = self.nodes(parent);
        match mems.parse::<CpuSet>() {
            Ok(nodes) if !nodes.is_empty() && nodes.is_subset(&usable) => Some(nodes),
            _ => {
                let clipped = word::clip(mems);
                let message =
                    format!("memory nodes `{clipped}` are not possible: give some of {usable}");
                self.wrong(fault(mems, message));
                None
            }
        }
    }

    /// Starts workers, and says how many.
    fn start(&mut self, name: &str, workers: &Workers, life: Life) -> u32 {
        let cpus = self.cpus(name);
        let count = workers.count.resolve(cpus.len());
        let work = &workers.work;
        self.wrong_all(fault::workers(workers));
        self.wrong_all(fault::memory(&workers.memory, &self.nodes(name)));
        if count > WORKERS_MAX {
            let message = format!("{count} workers are too many: give at most {WORKERS_MAX}");
            self.wrong(fault(count, message));
            return count;
        }
        let size = work.group_size();
        if work.validate().is_ok() && !size.fits(count) {
            let message = format!(
                "`{}` takes {size}, and there are {count}: give {}",
                work.name(),
                size.instead_of(count)
            );
            self.wrong(fault(count, message));
        }
        if let Err(error) = workers.bound_to(count, &cpus, self.topology, 0) {
            self.wrong(fault(&workers.affinity, error.to_string()));
        }
        let deadline = matches!(workers.policy, Policy::Deadline { .. });
        if deadline {
            self.deadline_is_unbound(&workers.affinity);
        }
        if let Work::CgroupAttachStorm { destination, .. } = work {
            self.knows(destination, true);
        }
        let churns_siblings = matches!(work, Work::CrossAffinityChurn { .. });
        self.has_none_beside_churn(name, churns_siblings);
        if let Some(cgroup) = self.cgroups.get_mut(name) {
            cgroup.crews.push(Crew { life, count, deadline, churns_siblings });
            self.count_tasks(name);
        }
        count
    }

    /// Work that binds all tasks of its cgroup has the cgroup for itself. Told once for each cgroup.
    fn has_none_beside_churn(&mut self, name: &str, churns: bool) {
        let crews = self.cgroups.get_mut(name).map_or(&mut [][..], |cgroup| &mut cgroup.crews);
        if crews.is_empty() || !(churns || crews.iter().any(|crew| crew.churns_siblings)) {
            return;
        }
        crews.iter_mut().for_each(|crew| crew.churns_siblings = false);
        let work = Work::cross_affinity_churn();
        let message =
            format!("`{}` binds all tasks of its cgroup: give it a cgroup of its own", work.name());
        self.wrong(fault(work.name(), message));
    }

    /// The kernel refuses to bind a deadline task: `sched_setattr(2)`, EPERM, and
    /// `sched_setaffinity(2)`, EBUSY.
    fn deadline_is_unbound(&mut self, affinity: &Affinity) {
        if !matches!(affinity, Affinity::Inherit | Affinity::CrossCgroup) {
            let message = "workers of policy `deadline` cannot be bound to CPUs: the kernel wants \
                           them free to use all; give `inherit` or `cross-cgroup`";
            self.wrong(fault(affinity, message.into()));
        }
    }

    pub(super) fn run(&mut self, payload: &Payload, life: Life) {
        payload.cgroup.clone_into(&mut self.here.cgroup);
        self.wrong_all(fault::payload(payload));
        self.knows(&payload.cgroup, true);
        if let Some(first) = self.payloads.get(&payload.name) {
            let at = self.words(first.at);
            let message = format!(
                "payload `{}` runs already, from {at}: name them apart, or wait for it first",
                payload.name
            );
            return self.wrong(fault(&payload.name, message));
        }
        self.gone.remove(&Name::Payload(payload.name.clone()));
        let Some(at) = self.here.site else { return };
        let running = Running { cgroup: payload.cgroup.clone(), life, at };
        self.payloads.insert(payload.name.clone(), running);
        self.count_tasks(&payload.cgroup);
    }

    /// Ends a payload that is waited for or killed.
    fn end(&mut self, name: &str) {
        if self.payloads.remove(name).is_some() {
            let how = format!("it ended in {}", self.here_in_words());
            self.gone.insert(Name::Payload(name.to_owned()), how);
            return;
        }
        let message = match self.gone.get(&Name::Payload(name.to_owned())) {
            Some(how) => format!("payload `{name}` does not run any more: {how}"),
            None => {
                let known = self.payloads.keys().map(String::as_str);
                format!(
                    "no payload is called `{}`; {}",
                    word::clip(name),
                    Self::advice(name, known)
                )
            }
        };
        self.wrong(fault(name, message));
    }

    pub(super) fn op(&mut self, op: &Op, life: Life) {
        if let Op::RemoveCgroup { cgroup }
        | Op::StopCgroup { cgroup }
        | Op::SetCpuset { cgroup, .. }
        | Op::ClearCpuset { cgroup }
        | Op::SetWeight { cgroup, .. }
        | Op::SetQuota { cgroup, .. }
        | Op::Freeze { cgroup }
        | Op::Unfreeze { cgroup }
        | Op::SetAffinity { cgroup, .. }
        | Op::CaptureProcs { cgroup, .. } = op
        {
            if !self.knows(cgroup, false) {
                return;
            }
            cgroup.clone_into(&mut self.here.cgroup);
        }
        match op {
            Op::AddCgroup { cgroup } => self.define(cgroup, life),
            Op::RemoveCgroup { cgroup } => self.remove(cgroup),
            Op::StopCgroup { cgroup } => {
                if let Some(cgroup) = self.cgroups.get_mut(cgroup) {
                    cgroup.crews.clear();
                }
            }
            Op::SetCpuset { cgroup, cpus } => {
                match cpus.resolve(self.topology, &self.cpus(parent(cgroup))) {
                    Ok(cpus) => {
                        self.confine(cgroup, Some(cpus));
                        self.settle(self.cpus(cgroup), Vec::new());
                    }
                    Err(error) => self.wrong(fault(cpus, error.to_string())),
                }
            }
            Op::ClearCpuset { cgroup } => {
                self.confine(cgroup, None);
                self.settle(self.cpus(cgroup), Vec::new());
            }
            Op::SwapCpusets { a, b } => self.swap(a, b),
            Op::SetWeight { weight, .. } => self.wrong_all(fault::weight("weight", *weight)),
            Op::SetQuota { percent, .. } => self.wrong_all(percent.and_then(fault::quota)),
            Op::Freeze { .. } | Op::Unfreeze { .. } => {}
            Op::MoveAllTasks { from, to } => self.move_tasks(from, to),
            Op::Spawn { cgroup, workers } => {
                cgroup.clone_into(&mut self.here.cgroup);
                if self.knows(cgroup, true) {
                    let count = self.start(cgroup, workers, life);
                    self.settle(self.cpus(cgroup), vec![count]);
                }
            }
            Op::SetAffinity { cgroup, affinity } => self.bind(cgroup, affinity),
            Op::RunPayload { payload } => self.run(payload, life),
            Op::WaitPayload { payload } | Op::KillPayload { payload } => self.end(payload),
            Op::AttachScheduler { scheduler } => {
                self.knows_scheduler(scheduler);
                if self.attached {
                    let message = "a scheduler is attached already: detach it first, or replace it";
                    self.wrong(fault(scheduler, message.into()));
                }
                self.attached = true;
            }
            Op::DetachScheduler => {
                self.is_attached();
                self.attached = false;
            }
            Op::RestartScheduler => self.is_attached(),
            Op::ReplaceScheduler { scheduler } => {
                self.knows_scheduler(scheduler);
                self.is_attached();
                self.attached = true;
            }
            Op::CaptureProcs { .. } => {}
            Op::CaptureFile { path, .. } => {
                if !path.starts_with('/') {
                    let path = word::clip(path);
                    let message =
                        format!("`{path}` is not a path from the root, as in `/proc/schedstat`");
                    self.wrong(fault(path, message));
                }
            }
        }
    }

    /// Removes a cgroup with those below it, and what runs in them.
    fn remove(&mut self, name: &str) {
        let how = format!("{} removed it", self.here_in_words());
        let within = |cgroup: &str| cgroup == name || is_below(cgroup, name);
        for (cgroup, _) in self.cgroups.extract_if(.., |cgroup, _| within(cgroup)) {
            self.gone.insert(Name::Cgroup(cgroup), how.clone());
        }
        for (payload, _) in self.payloads.extract_if(.., |_, payload| within(&payload.cgroup)) {
            self.gone.insert(Name::Payload(payload), how.clone());
        }
    }

    fn confine(&mut self, name: &str, cpus: Option<CpuSet>) {
        if let Some(cgroup) = self.cgroups.get_mut(name) {
            cgroup.cpus = cpus;
            self.leave_cpus_to_children(name);
        }
    }

    fn swap(&mut self, a: &str, b: &str) {
        if !self.knows(a, false) || !self.knows(b, false) {
            return;
        }
        if a == b {
            let message = format!("`{a}` cannot swap its CPUs with itself: name two cgroups");
            return self.wrong(fault(a, message));
        }
        let (cpus_of_a, cpus_of_b) = (self.cpus(a), self.cpus(b));
        for (name, cpus) in [(a, &cpus_of_b), (b, &cpus_of_a)] {
            let usable = self.cpus(parent(name));
            if !cpus.is_subset(&usable) {
                let message = format!(
                    "`{name}` cannot have the CPUs {cpus}: its parent has {usable}; swap cgroups of \
                     one parent"
                );
                return self.wrong(fault(name, message));
            }
        }
        self.confine(a, Some(cpus_of_b));
        self.confine(b, Some(cpus_of_a));
    }

    fn move_tasks(&mut self, from: &str, to: &str) {
        if !self.knows(from, false) || !self.knows(to, true) {
            return;
        }
        if from == to {
            let message =
                format!("`{from}` cannot move its tasks into itself: name another cgroup");
            return self.wrong(fault(to, message));
        }
        if !self.has_tasks(from) {
            let message = format!("`{from}` has no tasks to move: start some in it first");
            return self.wrong(fault(from, message));
        }
        let life = |name: &str| self.cgroups.get(name).and_then(|cgroup| cgroup.life);
        if life(from).is_none() && life(to).is_some() {
            let message = format!(
                "the tasks of `{from}` outlive the step, and `{to}` does not: move them to a cgroup of \
                 the backdrop"
            );
            return self.wrong(fault(to, message));
        }
        let crews = self.cgroups.get_mut(from).map(|cgroup| std::mem::take(&mut cgroup.crews));
        if let Some(cgroup) = self.cgroups.get_mut(to) {
            cgroup.crews.extend(crews.into_iter().flatten());
        }
        for payload in self.payloads.values_mut().filter(|payload| payload.cgroup == from) {
            to.clone_into(&mut payload.cgroup);
        }
        self.count_tasks(to);
    }

    fn bind(&mut self, name: &str, affinity: &Affinity) {
        let crews = self.cgroups.get(name).map_or(&[][..], |cgroup| &cgroup.crews);
        if crews.is_empty() {
            let message = "it has no workers to bind: start some in it first";
            return self.wrong(fault(name, message.into()));
        }
        let deadline = crews.iter().any(|crew| crew.deadline);
        let counts: Vec<u32> = crews.iter().map(|crew| crew.count).collect();
        let cpus = self.cpus(name);
        for count in counts {
            if let Err(error) = affinity.resolve(count, &cpus, self.topology, 0) {
                return self.wrong(fault(affinity, error.to_string()));
            }
        }
        if deadline {
            self.deadline_is_unbound(affinity);
        }
        self.settle(cpus, Vec::new());
    }

    fn knows_scheduler(&mut self, name: &str) {
        let Schedulers { attached, staged } = self.schedulers;
        let known = attached.into_iter().chain(staged.iter().copied());
        if !known.clone().any(|known| known == name) {
            let advice = Self::advice(name, known);
            let message =
                format!("no scheduler of the test is called `{}`; {advice}", word::clip(name));
            self.wrong(fault(name, message));
        }
    }

    fn is_attached(&mut self) {
        if !self.attached {
            let message = "no scheduler is attached here: attach one first";
            self.wrong(fault("scheduler", message.into()));
        }
    }
}
