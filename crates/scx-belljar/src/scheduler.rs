//! The scheduler's programs: loading, attaching, and what they say.

use crate::args::Args;
use crate::libbpf;
use crate::outcome::{Outcome, text_of};
use crate::report::{Cause, Event, Stage};
use crate::selector::Selector;
use bpf::{BelljarSkel, BelljarSkelBuilder, OpenBelljarSkel, types};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, OpenObject};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// What libbpf-cargo makes of `bpf/belljar.bpf.c`.
#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]
mod bpf {
    include!(concat!(env!("OUT_DIR"), "/belljar.skel.rs"));
}

/// The name of the scheduler, as the kernel shows it.
pub(crate) const NAME: &str = "belljar";
/// The operation flag that lets the scheduler decide about the last task of a CPU.
const SCX_OPS_ENQ_LAST: u64 = 2;

/// The scheduler in the kernel; attached or not. It leaves the kernel when it is dropped.
pub(crate) struct Scheduler<'obj> {
    // The link goes first.
    link: Option<Link>,
    skel: BelljarSkel<'obj>,
    load: Duration,
}

/// The scheduler could not be loaded or attached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct LoadError {
    /// How far it came.
    pub(crate) stage: Stage,
    /// Why no further.
    pub(crate) cause: Cause,
    /// The program or ability it failed for.
    pub(crate) what: Option<String>,
    message: String,
}

impl LoadError {
    fn new(stage: Stage, error: &libbpf_rs::Error) -> LoadError {
        let (cause, what) = libbpf::why();
        LoadError { stage, cause, what, message: format!("cannot {} it: {error:#}", stage.word()) }
    }

    /// What to say of it.
    pub(crate) fn event(&self) -> Event {
        Event::LoadFailed {
            stage: self.stage,
            cause: self.cause,
            what: self.what.clone(),
            message: self.message.clone(),
        }
    }
}

/// Whether the kernel has what every sched_ext scheduler needs.
///
/// # Errors
/// Says what is missing, and where it was looked for.
pub(crate) fn probe(sys: &Path) -> Result<(), LoadError> {
    let needs = [("sched_ext", "kernel/sched_ext"), ("btf", "kernel/btf/vmlinux")];
    match needs.iter().find(|(_, path)| !sys.join(path).exists()) {
        None => Ok(()),
        Some((what, path)) => Err(LoadError {
            stage: Stage::Probe,
            cause: Cause::Missing,
            what: Some((*what).to_owned()),
            message: format!(
                "this kernel cannot run it: there is no {}; take a kernel with \
                 CONFIG_SCHED_CLASS_EXT and CONFIG_DEBUG_INFO_BTF, and mount sysfs",
                sys.join(path).display()
            ),
        }),
    }
}

impl<'obj> Scheduler<'obj> {
    /// Loads the programs, with the faults that the command line asks for.
    ///
    /// # Errors
    /// Says how far it came and why no further; libbpf's own words have been shown.
    pub(crate) fn load(
        args: &Args,
        object: &'obj mut MaybeUninit<OpenObject>,
    ) -> Result<Scheduler<'obj>, LoadError> {
        let start = Instant::now();
        let mut open = BelljarSkelBuilder::default()
            .open(object)
            .map_err(|error| LoadError::new(Stage::Open, &error))?;
        configure(args, &mut open);
        let skel = open.load().map_err(|error| LoadError::new(Stage::Load, &error))?;
        Ok(Scheduler { link: None, skel, load: start.elapsed() })
    }

    /// How long loading took.
    pub(crate) fn load_time(&self) -> Duration {
        self.load
    }

    /// Takes over all tasks. Returns how long that took.
    ///
    /// # Errors
    /// When another scheduler is there, or the kernel refuses for another reason.
    pub(crate) fn attach(&mut self) -> Result<Duration, LoadError> {
        let start = Instant::now();
        let link = self.skel.maps.belljar.attach_struct_ops().map_err(|error| {
            let mut failed = LoadError::new(Stage::Attach, &error);
            if let Ok(other) = fs::read_to_string("/sys/kernel/sched_ext/root/ops") {
                failed.cause = Cause::Busy;
                failed.what = Some(other.trim_end().to_owned());
            }
            failed
        })?;
        self.link = Some(link);
        Ok(start.elapsed())
    }

    /// A file that becomes readable when the scheduler has ended.
    pub(crate) fn doorbell(&self) -> BorrowedFd<'_> {
        self.skel.maps.doorbell.as_fd()
    }

    /// Counters since the start.
    pub(crate) fn stats(&self) -> Event {
        let types::counters { direct, queued, parked, released, steered } = self.bss().stats;
        Event::Stats { direct, queued, parked, released, steered }
    }

    /// Takes the scheduler out of the kernel, and says how it ended.
    pub(crate) fn leave(mut self) -> Outcome {
        // The kernel comes back from this when it is out, and `exit` has run.
        self.link = None;
        let end = &self.bss().outcome;
        Outcome {
            kind: end.kind,
            reason: text_of(&end.reason),
            message: text_of(&end.message),
            code: end.code,
            dump: text_of(&end.dump),
        }
    }

    fn bss(&self) -> &types::bss {
        self.skel.maps.bss_data.as_deref().expect("the programs have variables")
    }
}

/// Writes the command line into the programs' constants.
fn configure(args: &Args, open: &mut OpenBelljarSkel<'_>) {
    let ns_of_ms = |ms: u32| u64::from(ms) * 1_000_000;
    let everybody = Selector::everybody();
    let constants = open.maps.rodata_data.as_deref_mut().expect("the programs have constants");
    constants.slice_ns = args.slice().as_nanos() as u64;
    constants.loader_tgid = std::process::id() as i32;
    set_selector(&mut constants.stalled, args.stall.as_ref());
    set_selector(&mut constants.starved, args.starve.as_ref());
    set_selector(&mut constants.only, Some(args.only.as_ref().unwrap_or(&everybody)));
    constants.starve_ns = ns_of_ms(args.starve_ms);
    constants.lose_every = args.lose_wakeups.unwrap_or(0);
    constants.lose_ns = ns_of_ms(args.lose_ms);
    constants.unfair_factor = args.unfair.unwrap_or(1);
    constants.one_cpu = args.one_cpu.map_or(-1, |cpu| cpu as i32);
    constants.bounce = args.bounce;
    constants.wrong_cpu = args.wrong_cpu;
    constants.keep_last = args.keep_last;
    constants.error_after_ns = args.error_after.map_or(0, ns_of_ms);
    constants.reject = args.reject_by_verifier;

    let operations = open.struct_ops.belljar_mut();
    operations.timeout_ms = args.watchdog_ms;
    let holds_back = args.stall.is_some() || args.starve.is_some() || args.lose_wakeups.is_some();
    if holds_back || args.bounce || args.one_cpu.is_some() {
        operations.flags |= SCX_OPS_ENQ_LAST;
    }
}

fn set_selector(to: &mut types::selector, from: Option<&Selector>) {
    let Some(from) = from else { return };
    to.on = 1;
    to.one_in = from.one_in;
    to.comm_len = from.comm.len() as u32;
    for (to, byte) in to.comm.iter_mut().zip(from.comm.bytes()) {
        *to = byte as i8;
    }
    for (to, bytes) in to.cgroup.iter_mut().zip(from.cgroup.as_bytes().chunks(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        *to = u64::from_ne_bytes(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_reaches_the_programs_byte_by_byte() {
        let mut to = types::selector::default();
        set_selector(&mut to, None);
        assert_eq!(to.on, 0);
        let from: Selector = "cgroup:nine_byte%2".parse().unwrap();
        set_selector(&mut to, Some(&from));
        assert_eq!((to.on, to.one_in, to.comm_len), (1, 2, 0));
        assert_eq!(to.cgroup[0].to_ne_bytes(), *b"nine_byt");
        assert_eq!(to.cgroup[1].to_ne_bytes(), *b"e\0\0\0\0\0\0\0");
        assert_eq!(to.cgroup[2..], [0; 6]);
        let mut to = types::selector::default();
        set_selector(&mut to, Some(&"ab".parse().unwrap()));
        assert_eq!((to.comm_len, &to.comm[..3]), (2, &[97, 98, 0][..]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let sys = tempfile::tempdir().unwrap();
        let missing = || probe(sys.path()).map_err(|error| (error.cause, error.what.unwrap()));
        assert_eq!(missing(), Err((Cause::Missing, "sched_ext".to_owned())));
        fs::create_dir_all(sys.path().join("kernel/sched_ext")).unwrap();
        assert_eq!(missing(), Err((Cause::Missing, "btf".to_owned())));
        fs::create_dir_all(sys.path().join("kernel/btf/vmlinux")).unwrap();
        assert_eq!(missing(), Ok(()));
    }
}
