//! What handlers fill.

use crate::status::{Failure, guard, guard_or, snapwire_status};
use crate::types::{
    SNAPWIRE_CGROUP_HOST_ROOT, SNAPWIRE_CGROUP_KNOWN, SNAPWIRE_CGROUP_UNKNOWN_PERMANENT,
    SNAPWIRE_CGROUP_UNKNOWN_RETRY_LATER, SNAPWIRE_UID_UNSET, array, given, put, snapwire_app,
    snapwire_bytes, snapwire_label, snapwire_snapshot_item,
};
use snapwire_core::codec::{
    App, AppCgroup, AppsReply, CgroupsReply, Label, Orchestrator, Pid, Placed, SnapshotItem,
};
use snapwire_core::{Failure as HandlerFailure, SnapshotReply, TextReply};

/// A reply, and the first error of filling it, which outlives what the handler returns.
#[derive(Debug)]
pub(crate) struct Filling<'a, R> {
    reply: &'a mut R,
    failed: Option<HandlerFailure>,
}

impl<'a, R> Filling<'a, R> {
    pub(crate) fn new(reply: &'a mut R) -> Filling<'a, R> {
        Filling { reply, failed: None }
    }

    pub(crate) fn failed(&self) -> Option<HandlerFailure> {
        self.failed
    }

    fn fill<T>(&mut self, fill: impl FnOnce(&mut R) -> Result<T, Failure>) -> Result<T, Failure> {
        fill(self.reply).inspect_err(|failure| {
            self.failed.get_or_insert(failure.handler);
        })
    }
}

/// The answer of a handler of SNAPWIRE_STRING_REVERSE.
#[derive(Debug)]
pub struct snapwire_text_reply<'a, 'b>(pub(crate) Filling<'a, TextReply<'b>>);

/// The answer of a handler of SNAPWIRE_CGROUPS_SNAPSHOT.
#[derive(Debug)]
pub struct snapwire_snapshot_reply<'a, 'b>(pub(crate) Filling<'a, SnapshotReply<'b>>);

/// The answer of a handler of SNAPWIRE_CGROUPS_LOOKUP: one item for each path, in order.
#[derive(Debug)]
pub struct snapwire_cgroups_reply<'a, 'r, 'b>(pub(crate) Filling<'a, CgroupsReply<'r, 'b>>);

/// The answer of a handler of SNAPWIRE_APPS_LOOKUP: one item for each pid, in order.
#[derive(Debug)]
pub struct snapwire_apps_reply<'a, 'r, 'b>(pub(crate) Filling<'a, AppsReply<'r, 'b>>);

/// A reply that the running handler was given.
///
/// # Safety
/// It is NULL or that, and nobody else uses it.
unsafe fn reply<'p, T>(reply: *mut T) -> Result<&'p mut T, Failure> {
    // SAFETY: the caller's.
    unsafe { reply.as_mut() }.ok_or_else(|| Failure::null("reply"))
}

/// Answers a text.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_text(
    to: *mut snapwire_text_reply<'_, '_>,
    text: snapwire_bytes,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let to = unsafe { reply(to) }?;
        // SAFETY: the caller's.
        to.0.fill(|reply| Ok(reply.set(unsafe { text.get("text.data") }?)?))
    })
}

/// Sets what a snapshot says of its provider.
///
/// # Safety
/// The pointer is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_snapshot(
    to: *mut snapwire_snapshot_reply<'_, '_>,
    generation: u64,
    systemd_enabled: u32,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let to = unsafe { reply(to) }?;
        let builder = to.0.reply.builder();
        builder.set_generation(generation);
        builder.set_systemd_enabled(systemd_enabled);
        Ok(())
    })
}

/// Appends a cgroup to a snapshot.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_snapshot_item(
    to: *mut snapwire_snapshot_reply<'_, '_>,
    item: *const snapwire_snapshot_item,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let to = unsafe { reply(to) }?;
        to.0.fill(|reply| {
            // SAFETY: the caller's.
            let item = unsafe { given(item, "item") }?;
            // SAFETY: the caller's.
            let name = unsafe { item.name.get("item.name.data") }?;
            // SAFETY: the caller's.
            let path = unsafe { item.path.get("item.path.data") }?;
            let snapwire_snapshot_item { hash, options, enabled, .. } = *item;
            Ok(reply.builder().push(&SnapshotItem { hash, options, enabled, name, path })?)
        })
    })
}

/// Sets the generation of the answers to paths.
///
/// # Safety
/// The pointer is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_cgroups(
    to: *mut snapwire_cgroups_reply<'_, '_, '_>,
    generation: u64,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        unsafe { reply(to) }?.0.reply.set_generation(generation);
        Ok(())
    })
}

/// Says which path is to be answered next; false when all are.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_next_path(
    from: *const snapwire_cgroups_reply<'_, '_, '_>,
    path: *mut snapwire_bytes,
) -> bool {
    guard_or(false, || {
        // SAFETY: the caller's.
        let next = unsafe { from.as_ref() }.and_then(|from| from.0.reply.next_path());
        // SAFETY: the caller's.
        next.is_some_and(|next| unsafe { put(path, snapwire_bytes::of(next), "path") }.is_ok())
    })
}

/// Labels of the caller's.
///
/// # Safety
/// There are as many as `count` says, and all their bytes, for as long as the result lives.
unsafe fn labels<'a>(
    labels: *const snapwire_label,
    count: usize,
) -> Result<Vec<Label<'a>>, Failure> {
    // SAFETY: the caller's.
    let labels: &[snapwire_label] = unsafe { array(labels, count, "labels") }?;
    let label = |label: &snapwire_label| {
        // SAFETY: the caller's.
        let key = unsafe { label.key.get("labels[].key.data") }?;
        // SAFETY: the caller's.
        let value = unsafe { label.value.get("labels[].value.data") }?;
        Ok((key, value))
    };
    labels.iter().map(label).collect()
}

/// Answers the next path: it is known. `placed`, if not NULL, says whether the response had room for
/// it. If not, what is said of the paths that follow does not matter: the client asks for them again.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_cgroup_known(
    to: *mut snapwire_cgroups_reply<'_, '_, '_>,
    orchestrator: u16,
    name: snapwire_bytes,
    first_label: *const snapwire_label,
    label_count: usize,
    placed: *mut bool,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let to = unsafe { reply(to) }?;
        let known = |reply: &mut CgroupsReply<'_, '_>| {
            // SAFETY: the caller's.
            let name = unsafe { name.get("name.data") }?;
            // SAFETY: the caller's.
            let labels = unsafe { labels(first_label, label_count) }?;
            Ok(reply.known(Orchestrator(orchestrator), name, &labels)?)
        };
        let whole = to.0.fill(known)? == Placed::Whole;
        if !placed.is_null() {
            // SAFETY: the caller's.
            unsafe { put(placed, whole, "placed") }?;
        }
        Ok(())
    })
}

/// Answers the next path: it is not known, for ever or not.
///
/// # Safety
/// The pointer is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_cgroup_unknown(
    to: *mut snapwire_cgroups_reply<'_, '_, '_>,
    permanent: bool,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let to = unsafe { reply(to) }?;
        let unknown = |reply: &mut CgroupsReply<'_, '_>| match permanent {
            true => Ok(reply.unknown_permanent()?),
            false => Ok(reply.unknown_retry_later()?),
        };
        to.0.fill(unknown).map(|_| ())
    })
}

/// Sets the generation of the answers to pids.
///
/// # Safety
/// The pointer is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_apps(
    to: *mut snapwire_apps_reply<'_, '_, '_>,
    generation: u64,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        unsafe { reply(to) }?.0.reply.set_generation(generation);
        Ok(())
    })
}

/// Says which pid is to be answered next; false when all are.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_next_pid(
    from: *const snapwire_apps_reply<'_, '_, '_>,
    pid: *mut u32,
) -> bool {
    guard_or(false, || {
        // SAFETY: the caller's.
        let next = unsafe { from.as_ref() }.and_then(|from| from.0.reply.next_pid());
        // SAFETY: the caller's.
        next.is_some_and(|next| unsafe { put(pid, next.0, "pid") }.is_ok())
    })
}

/// Answers the next pid: it is known. Of `app`, the fields `status` and `pid` are not looked at.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_app_known(
    to: *mut snapwire_apps_reply<'_, '_, '_>,
    app: *const snapwire_app,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let to = unsafe { reply(to) }?;
        to.0.fill(|reply| {
            // SAFETY: the caller's.
            let app = unsafe { given(app, "app") }?;
            // SAFETY: the caller's.
            let comm = unsafe { app.comm.get("app.comm.data") }?;
            // SAFETY: the caller's.
            let path = unsafe { app.cgroup_path.get("app.cgroup_path.data") }?;
            // SAFETY: the caller's.
            let name = unsafe { app.cgroup_name.get("app.cgroup_name.data") }?;
            // SAFETY: the caller's.
            let labels = unsafe { labels(app.labels, app.label_count) }?;
            let cgroup = match app.cgroup_status {
                SNAPWIRE_CGROUP_KNOWN => {
                    let orchestrator = Orchestrator(app.orchestrator);
                    AppCgroup::Known { orchestrator, path, name, labels: &labels }
                }
                SNAPWIRE_CGROUP_UNKNOWN_RETRY_LATER => AppCgroup::UnknownRetryLater { path },
                SNAPWIRE_CGROUP_UNKNOWN_PERMANENT => AppCgroup::UnknownPermanent { path },
                SNAPWIRE_CGROUP_HOST_ROOT => AppCgroup::HostRoot,
                other => {
                    let message = format!("`app.cgroup_status` is {other}, which is none");
                    return Err(Failure::new(snapwire_status::SNAPWIRE_BAD_ARGUMENT, message));
                }
            };
            let app = App {
                parent: Pid(app.parent),
                uid: (app.uid != SNAPWIRE_UID_UNSET).then_some(app.uid),
                starttime_jiffies: app.starttime_jiffies,
                comm,
                cgroup,
            };
            Ok(reply.known(&app)?)
        })
        .map(|_| ())
    })
}

/// Answers the next pid: it is not known.
///
/// # Safety
/// The pointer is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_reply_app_unknown(
    to: *mut snapwire_apps_reply<'_, '_, '_>,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let to = unsafe { reply(to) }?;
        to.0.fill(|reply| Ok(reply.unknown()?)).map(|_| ())
    })
}
