//! Schedulers under test: a program is started, attaches itself to the kernel, is watched, and goes.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use belljar_verdict::evidence::{SchedulerEnd, SchedulerReport};
use rustix::process::Signal;

use crate::capture::Capture;
use crate::clock::{self, Wants};
use crate::ending::{Disabled, Ending};
use crate::kmsg::KernelLog;
use crate::process::Process;
use crate::sysfs::SchedExt;

/// The beginning of what a scheduler writes that is kept: a verifier's log is long.
const HEAD_BYTES: usize = 4 << 20;
/// The end of what it writes that is kept: a dump, and why it ended.
const TAIL_BYTES: usize = 4 << 20;
/// So much of the end of its output is put into the report.
const REPORT_BYTES: usize = 16 << 10;
/// How often sysfs is asked, which does not tell of changes by itself.
const POLL: Duration = Duration::from_millis(5);
/// How long a scheduler may take to go when it is asked to. On a slow machine under load real ones
/// take seconds.
const GRACE: Duration = Duration::from_secs(20);
/// How long it may take after SIGTERM, and the kernel to put it out.
const SHORT_GRACE: Duration = Duration::from_secs(5);

/// A scheduler that a test brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerSpec {
    /// What the test calls it.
    pub name: String,
    /// Its program in the guest, and its arguments.
    pub command: Vec<String>,
}

/// A scheduler that is attached to the kernel. When this is dropped it is made to go.
///
/// It holds descriptors and moments of guest time, nothing that a fork of the machine does not
/// carry over.
#[derive(Debug)]
pub struct Attached {
    spec: SchedulerSpec,
    sched_ext: SchedExt,
    process: Process,
    log: KernelLog,
    report: SchedulerReport,
    asked: bool,
    killed: bool,
    /// The kernel has it out for an error, or its process has ended.
    out_ns: Option<u64>,
    /// Its report has been made.
    done: bool,
}

/// Starts a scheduler, and waits until the kernel says that it is attached, at most for `limit`.
///
/// No other scheduler may be attached before: the one that the kernel then names is ours.
///
/// # Errors
/// The report of a scheduler that did not attach: [`SchedulerReport::end`] says why. Nothing of it is
/// left then.
pub fn attach(spec: &SchedulerSpec, limit: Duration) -> Result<Attached, Box<SchedulerReport>> {
    attach_while(&SchedExt::default(), spec, limit, &mut || ())
}

/// [`attach`], doing something every few milliseconds.
pub(crate) fn attach_while(
    sched_ext: &SchedExt,
    spec: &SchedulerSpec,
    limit: Duration,
    meanwhile: &mut dyn FnMut(),
) -> Result<Attached, Box<SchedulerReport>> {
    let began_ns = clock::now_ns();
    let report = SchedulerReport {
        name: spec.name.clone(),
        command: spec.command.clone(),
        began_ns,
        ..SchedulerReport::default()
    };
    let not_begun = |end: SchedulerEnd| {
        Box::new(SchedulerReport { end, ended_ns: Some(clock::now_ns()), ..report.clone() })
    };
    let not_started = |error: String| not_begun(SchedulerEnd::NotStarted { error });
    if !sched_ext.exists() {
        let path = sched_ext.sysfs.display();
        let missing = format!("sched_ext (CONFIG_SCHED_CLASS_EXT): there is no {path}");
        return Err(not_begun(SchedulerEnd::Unsupported { missing }));
    }
    // One that has just gone may still be on its way out.
    if sched_ext.state() == "enabled" || !until_disabled(sched_ext, clock::after(SHORT_GRACE)) {
        let (state, ops) = (sched_ext.state(), sched_ext.ops());
        return Err(not_started(format!("another scheduler is attached: `{ops}` is {state}")));
    }
    let log = KernelLog::open(&sched_ext.kmsg).map_err(|error| {
        let path = sched_ext.kmsg.display();
        not_started(format!("cannot read the kernel's log, {path}: {error}: run as root"))
    })?;
    let before = sched_ext.enable_seq();
    let capture = Capture::new(HEAD_BYTES, TAIL_BYTES);
    let process = Process::start(&spec.command, None, vec![capture]).map_err(|error| {
        let program = spec.command.first().map_or("", String::as_str);
        not_started(format!("cannot start `{program}`: {error}"))
    })?;
    let mut scheduler = Attached {
        spec: spec.clone(),
        sched_ext: sched_ext.clone(),
        process,
        log,
        report,
        asked: false,
        killed: false,
        out_ns: None,
        done: false,
    };
    let until = began_ns.saturating_add(clock::ns(limit));
    loop {
        let has_ended = scheduler.pump();
        // Counted before it ended, if it did: one that came and went at once was attached.
        let is_counted = before.is_none_or(|before| sched_ext.enable_seq() > Some(before));
        if scheduler.report.ops.is_empty() {
            scheduler.report.ops = sched_ext.ops();
        }
        let is_enabled = is_counted && sched_ext.state() == "enabled";
        if is_enabled || (has_ended && before.is_some() && is_counted) {
            scheduler.report.attached_ns = Some(clock::now_ns());
        }
        if is_enabled && !has_ended && !scheduler.report.ops.is_empty() {
            return Ok(scheduler);
        }
        if has_ended || clock::now_ns() >= until {
            return Err(Box::new(scheduler.into_report()));
        }
        meanwhile();
        let files: Vec<_> = scheduler.files().collect();
        clock::wait(&files, until.min(clock::after(POLL)));
    }
}

/// Waits until no scheduler is attached; false if one still is at that moment.
fn until_disabled(sched_ext: &SchedExt, until_ns: u64) -> bool {
    while sched_ext.state() != "disabled" {
        if clock::now_ns() >= until_ns {
            return false;
        }
        clock::sleep_until(until_ns.min(clock::after(POLL)));
    }
    true
}

impl Attached {
    /// What the test calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it was started as.
    #[must_use]
    pub const fn spec(&self) -> &SchedulerSpec {
        &self.spec
    }

    /// What the kernel calls it.
    #[must_use]
    pub fn ops(&self) -> &str {
        &self.report.ops
    }

    /// When it was seen to be attached.
    #[must_use]
    pub fn attached_ns(&self) -> u64 {
        self.report.attached_ns.unwrap_or_default()
    }

    /// Files that tell when there is something to [`pump`](Self::pump).
    pub(crate) fn files(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Wants)> {
        let log = (self.log.as_fd(), Wants::Read);
        // Of one that is out the rest is taken when it is reported.
        self.process.files().chain([log]).filter(|_| self.out_ns.is_none())
    }

    /// Takes what it and the kernel say; true when it has ended, now or before: its process is gone, or
    /// the kernel has thrown it out.
    pub fn pump(&mut self) -> bool {
        let known = self.log.lines().len();
        self.log.read();
        if self.out_ns.is_some() {
            self.process.pump();
            return true;
        }
        let thrown_out = Disabled::find(&self.report.ops, &self.log.lines()[known..]);
        if let Some(end) = self.process.pump() {
            self.out_ns = Some(end.at_ns);
        } else if thrown_out.is_some_and(|why| why.is_error()) {
            self.out_ns = Some(clock::now_ns());
        }
        self.out_ns.is_some()
    }

    /// When it ended, as far as [`pump`](Self::pump) has seen.
    #[must_use]
    pub const fn ended_ns(&self) -> Option<u64> {
        self.out_ns
    }

    /// Reads the kernel's counters of its events. They go with the scheduler, so that those of one that
    /// ends unasked are the last that were read.
    pub fn count_events(&mut self) {
        let events = self.sched_ext.events();
        if !events.is_empty() && self.sched_ext.ops() == self.report.ops {
            self.report.events = events;
        }
    }

    /// Asks it to go and sees to it that it does: SIGINT, after 20 s SIGTERM, after 5 s more SIGKILL.
    /// Should the kernel then still have it, SysRq-S takes it out.
    #[must_use]
    pub fn detach(mut self) -> SchedulerReport {
        self.count_events();
        self.into_report()
    }

    /// Makes it go, and says how it ended.
    fn into_report(mut self) -> SchedulerReport {
        self.leave();
        std::mem::take(&mut self.report)
    }

    fn leave(&mut self) {
        self.done = true;
        let waited_ns = clock::now_ns().saturating_sub(self.report.began_ns);
        let was_out = self.pump();
        // One that never attached is not asked: there is nothing to wait for.
        let is_attached = self.report.attached_ns.is_some();
        self.asked = !was_out && is_attached;
        for (signal, grace) in [(Signal::INT, GRACE), (Signal::TERM, SHORT_GRACE)] {
            if is_attached && self.process.end().is_none() {
                self.process.signal(signal);
                self.process.wait(clock::after(grace));
            }
        }
        if self.process.end().is_none() {
            self.killed = !was_out;
            self.process.kill();
        }
        if !until_disabled(&self.sched_ext, clock::after(SHORT_GRACE)) {
            // Documented in sched-ext.rst: it returns all tasks to the fair class. Where even this
            // fails the next attach tells.
            let _ = std::fs::write(&self.sched_ext.sysrq, "S");
            until_disabled(&self.sched_ext, clock::after(SHORT_GRACE));
        }
        self.process.pump();
        self.log.read();
        let output = self.process.captured(0);
        self.report.end = Ending {
            ops: &self.report.ops,
            attached: is_attached,
            asked: self.asked,
            killed: self.killed,
            waited_ns,
            status: self.process.end().map(|end| end.status),
            log: self.log.lines(),
            output: &output.text(),
        }
        .classify();
        self.report.output_tail = output.end(REPORT_BYTES);
        let ended_ns = self.out_ns.or(self.process.end().map(|end| end.at_ns));
        self.report.ended_ns = ended_ns.or_else(|| Some(clock::now_ns()));
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.done {
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach_to(
        kernel: &SchedExt,
        spec: &SchedulerSpec,
        limit: Duration,
    ) -> Result<Attached, Box<SchedulerReport>> {
        attach_while(kernel, spec, limit, &mut || ())
    }

    fn spec(script: &str) -> SchedulerSpec {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        SchedulerSpec { name: "s".into(), command }
    }

    /// A kernel of plain files, to which the shell scripts below play schedulers. That the real one
    /// does as they do is shown in a virtual machine.
    struct Kernel {
        dir: tempfile::TempDir,
        sched_ext: SchedExt,
    }

    impl Kernel {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (file, text) in
                [("state", "disabled"), ("enable_seq", "0"), ("kmsg", ""), ("sysrq", "")]
            {
                std::fs::write(dir.path().join(file), text).unwrap();
            }
            let sched_ext = SchedExt::at(dir.path());
            Self { dir, sched_ext }
        }

        /// A scheduler that attaches, and then does what the script says.
        fn scheduler(&self, then: &str) -> SchedulerSpec {
            spec(&format!(
                "cd {}; mkdir root; echo 1 > enable_seq; echo bell > root/ops; echo 'FALLBACK 7' > \
                 root/events; echo enabled > state; gone() {{ rm -r root; echo disabled > state; }}; \
                 while [ ! -e go ]; do sleep 0.01; done; {then}",
                self.dir.path().display()
            ))
        }

        fn attach(&self, then: &str) -> Attached {
            attach_to(&self.sched_ext, &self.scheduler(then), Duration::from_secs(60)).unwrap()
        }

        fn go(&self) {
            std::fs::write(self.dir.path().join("go"), "").unwrap();
        }
    }

    fn until_out(attached: &mut Attached) {
        while !attached.pump() {
            clock::sleep_until(clock::after(Duration::from_millis(1)));
        }
    }

    #[test]
    fn a_kernel_without_sched_ext_is_unsupported() {
        let none = SchedExt::at(std::path::Path::new("/nowhere/sched_ext"));
        let report = attach_to(&none, &spec("exit 0"), Duration::from_secs(9)).unwrap_err();
        let missing =
            "sched_ext (CONFIG_SCHED_CLASS_EXT): there is no /nowhere/sched_ext".to_owned();
        assert_eq!(report.end, SchedulerEnd::Unsupported { missing });
        assert_eq!(report.attached_ns, None);
    }

    #[test]
    fn a_program_that_is_not_there_or_ends_or_only_waits_does_not_attach() {
        let Kernel { dir: _dir, sched_ext: kernel } = Kernel::new();
        let missing =
            SchedulerSpec { name: "s".into(), command: vec!["/nowhere/at/all".to_owned()] };
        let report = attach_to(&kernel, &missing, Duration::from_secs(9)).unwrap_err();
        let error =
            "cannot start `/nowhere/at/all`: No such file or directory (os error 2)".to_owned();
        assert_eq!(report.end, SchedulerEnd::NotStarted { error });

        let report =
            attach_to(&kernel, &spec("echo no; exit 7"), Duration::from_secs(9)).unwrap_err();
        let status = "it exited with code 7".to_owned();
        assert_eq!(report.end, SchedulerEnd::NotLoaded { status });
        assert_eq!(report.output_tail, "no\n");

        let limit = Duration::from_millis(20);
        let report = attach_to(&kernel, &spec("exec sleep 1000"), limit).unwrap_err();
        let SchedulerEnd::NeverAttached { waited_ns } = report.end else { panic!("{report:?}") };
        assert!(waited_ns >= 20_000_000);
    }

    #[test]
    fn a_healthy_one_is_attached_and_detached() {
        let kernel = Kernel::new();
        let mut attached =
            kernel.attach("trap 'gone; exit 0' INT; echo ready; while :; do sleep 0.01; done");
        assert_eq!((attached.name(), attached.ops()), ("s", "bell"));
        let second = attach_to(&kernel.sched_ext, &spec("exit 0"), Duration::ZERO);
        let SchedulerEnd::NotStarted { error } = second.unwrap_err().end else { panic!() };
        assert_eq!(error, "another scheduler is attached: `bell` is enabled");
        kernel.go();
        while attached.process.captured(0).total() == 0 {
            assert!(!attached.pump());
        }
        let report = attached.detach();
        assert_eq!(report.end, SchedulerEnd::Detached);
        assert_eq!(report.events.get("FALLBACK"), Some(&7));
        assert!(report.ended_ns > report.attached_ns && report.attached_ns.is_some());
    }

    #[test]
    fn one_that_ends_is_noticed() {
        let kernel = Kernel::new();
        let mut attached = kernel.attach("gone; kill -9 $$");
        assert!(!attached.pump());
        kernel.go();
        until_out(&mut attached);
        assert!(attached.ended_ns().is_some());
        let status = "signal 9 ended it".to_owned();
        assert_eq!(attached.detach().end, SchedulerEnd::Died { status });
    }

    #[test]
    fn one_that_the_kernel_throws_out_is_noticed_while_its_program_lives() {
        let kernel = Kernel::new();
        let line = r#"3,7,8,-;sched_ext: BPF scheduler "bell" disabled (runnable task stall)"#;
        let mut attached = kernel.attach(&format!("gone; echo '{line}' >> kmsg; exec sleep 1000"));
        kernel.go();
        until_out(&mut attached);
        let report = attached.detach();
        let (message, dump) = (String::new(), String::new());
        assert_eq!(report.end, SchedulerEnd::Stalled { message, dump });
    }
}
