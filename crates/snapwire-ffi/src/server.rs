//! Servers and handlers.

use crate::replies::{
    Filling, snapwire_apps_reply, snapwire_cgroups_reply, snapwire_snapshot_reply,
    snapwire_text_reply,
};
use crate::status::{Failure, Handled, guard, guard_or, handled, snapwire_status};
use crate::types::{
    Options, endpoint, given, put, snapwire_bytes, snapwire_options, snapwire_server_status,
};
use snapwire_core::{
    AppsLookup, CgroupsLookup, CgroupsSnapshot, Increment, Server, ServerConfig, Service,
    StringReverse,
};
use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

/// A service that is running.
#[derive(Debug)]
pub struct snapwire_server {
    server: Server,
}

/// Answers a number by writing to `answer`. Handlers return SNAPWIRE_OK; anything else refuses.
pub type snapwire_increment_handler =
    Option<unsafe extern "C" fn(context: *mut c_void, number: u64, answer: *mut u64) -> c_int>;

/// Answers a text with `snapwire_reply_text`.
pub type snapwire_string_reverse_handler = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        text: snapwire_bytes,
        reply: *mut snapwire_text_reply<'_, '_>,
    ) -> c_int,
>;

/// Answers with `snapwire_reply_snapshot` and `snapwire_reply_snapshot_item`.
pub type snapwire_snapshot_handler = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        reply: *mut snapwire_snapshot_reply<'_, '_>,
    ) -> c_int,
>;

/// Answers every path that `snapwire_next_path` gives.
pub type snapwire_cgroups_handler = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        reply: *mut snapwire_cgroups_reply<'_, '_, '_>,
    ) -> c_int,
>;

/// Answers every pid that `snapwire_next_pid` gives.
pub type snapwire_apps_handler = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        reply: *mut snapwire_apps_reply<'_, '_, '_>,
    ) -> c_int,
>;

/// What handlers are given back.
#[derive(Clone, Copy, Debug)]
struct Context(*mut c_void);

// SAFETY: this side never follows it; whoever starts a server promises that handlers may be called
// with it from several threads at once.
unsafe impl Send for Context {}
// SAFETY: likewise.
unsafe impl Sync for Context {}

impl Context {
    /// A method, so that closures take the whole of it.
    fn get(self) -> *mut c_void {
        self.0
    }
}

/// What a server is started with: pointers are NULL or valid, strings end with a NUL.
struct Start<H> {
    run_dir: *const c_char,
    service: *const c_char,
    options: *const snapwire_options,
    handler: Option<H>,
    context: *mut c_void,
    server: *mut *mut snapwire_server,
}

impl<H: Copy + Send + Sync + 'static> Start<H> {
    /// # Safety
    /// Pointers are NULL or valid; strings end with a NUL.
    unsafe fn of(
        run_dir: *const c_char,
        service: *const c_char,
        options: *const snapwire_options,
        handler: Option<H>,
        context: *mut c_void,
        server: *mut *mut snapwire_server,
    ) -> Start<H> {
        Start { run_dir, service, options, handler, context, server }
    }

    /// Starts a server whose requests go to `answer`, which calls the handler with its context.
    fn serve<S: Service>(
        self,
        answer: impl Fn(H, *mut c_void, S::Request<'_>, &mut S::Reply<'_, '_>) -> Handled
        + Send
        + Sync
        + 'static,
    ) -> snapwire_status {
        let context = Context(self.context);
        guard(|| {
            let handler = self.handler.ok_or_else(|| Failure::null("handler"))?;
            if self.server.is_null() {
                return Err(Failure::null("server"));
            }
            // SAFETY: NULL, or strings that end with a NUL, as was promised.
            let endpoint = unsafe { endpoint(self.run_dir, self.service) }?;
            // SAFETY: NULL or valid, as was promised.
            let options = unsafe { Options::of(self.options) }?;
            let defaults = ServerConfig::default();
            let workers = options.workers.unwrap_or(defaults.workers);
            let config = ServerConfig { offer: options.offer, workers, ..defaults };
            let server = Server::start::<S>(&endpoint, &config, move |request, reply| {
                answer(handler, context.get(), request, reply)
            })?;
            let started = Box::into_raw(Box::new(snapwire_server { server }));
            // SAFETY: not null, and so valid, as was promised.
            unsafe { put(self.server, started, "server") }
        })
    }
}

/// Serves SNAPWIRE_INCREMENT. The context is given to the handler, from several threads at once, and
/// must be valid until the server has stopped. Options may be NULL.
///
/// # Safety
/// Pointers are NULL or valid; strings end with a NUL; the handler is a function of this type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_serve_increment(
    run_dir: *const c_char,
    service: *const c_char,
    options: *const snapwire_options,
    handler: snapwire_increment_handler,
    context: *mut c_void,
    server: *mut *mut snapwire_server,
) -> snapwire_status {
    // SAFETY: the caller's.
    let start = unsafe { Start::of(run_dir, service, options, handler, context, server) };
    start.serve::<Increment>(|handler, context, number, reply| {
        let mut answer = 0;
        // SAFETY: the handler and its context are the caller's; the answer is there.
        let status = unsafe { handler(context, number, &raw mut answer) };
        reply.set(answer);
        handled(status, None)
    })
}

/// Serves SNAPWIRE_STRING_REVERSE, as `snapwire_serve_increment` does its kind.
///
/// # Safety
/// As for `snapwire_serve_increment`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_serve_string_reverse(
    run_dir: *const c_char,
    service: *const c_char,
    options: *const snapwire_options,
    handler: snapwire_string_reverse_handler,
    context: *mut c_void,
    server: *mut *mut snapwire_server,
) -> snapwire_status {
    // SAFETY: the caller's.
    let start = unsafe { Start::of(run_dir, service, options, handler, context, server) };
    start.serve::<StringReverse>(|handler, context, text, reply| {
        let mut reply = snapwire_text_reply(Filling::new(reply));
        let text = snapwire_bytes::of(text);
        // SAFETY: the handler and its context are the caller's; the rest is here.
        let status = unsafe { handler(context, text, &raw mut reply) };
        handled(status, reply.0.failed())
    })
}

/// Serves SNAPWIRE_CGROUPS_SNAPSHOT, as `snapwire_serve_increment` does its kind.
///
/// # Safety
/// As for `snapwire_serve_increment`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_serve_snapshots(
    run_dir: *const c_char,
    service: *const c_char,
    options: *const snapwire_options,
    handler: snapwire_snapshot_handler,
    context: *mut c_void,
    server: *mut *mut snapwire_server,
) -> snapwire_status {
    // SAFETY: the caller's.
    let start = unsafe { Start::of(run_dir, service, options, handler, context, server) };
    start.serve::<CgroupsSnapshot>(|handler, context, _, reply| {
        let mut reply = snapwire_snapshot_reply(Filling::new(reply));
        // SAFETY: the handler and its context are the caller's; the reply is here.
        let status = unsafe { handler(context, &raw mut reply) };
        handled(status, reply.0.failed())
    })
}

/// Serves SNAPWIRE_CGROUPS_LOOKUP, as `snapwire_serve_increment` does its kind.
///
/// # Safety
/// As for `snapwire_serve_increment`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_serve_cgroups(
    run_dir: *const c_char,
    service: *const c_char,
    options: *const snapwire_options,
    handler: snapwire_cgroups_handler,
    context: *mut c_void,
    server: *mut *mut snapwire_server,
) -> snapwire_status {
    // SAFETY: the caller's.
    let start = unsafe { Start::of(run_dir, service, options, handler, context, server) };
    start.serve::<CgroupsLookup>(|handler, context, _, reply| {
        let mut reply = snapwire_cgroups_reply(Filling::new(reply));
        // SAFETY: the handler and its context are the caller's; the reply is here.
        let status = unsafe { handler(context, &raw mut reply) };
        handled(status, reply.0.failed())
    })
}

/// Serves SNAPWIRE_APPS_LOOKUP, as `snapwire_serve_increment` does its kind.
///
/// # Safety
/// As for `snapwire_serve_increment`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_serve_apps(
    run_dir: *const c_char,
    service: *const c_char,
    options: *const snapwire_options,
    handler: snapwire_apps_handler,
    context: *mut c_void,
    server: *mut *mut snapwire_server,
) -> snapwire_status {
    // SAFETY: the caller's.
    let start = unsafe { Start::of(run_dir, service, options, handler, context, server) };
    start.serve::<AppsLookup>(|handler, context, _, reply| {
        let mut reply = snapwire_apps_reply(Filling::new(reply));
        // SAFETY: the handler and its context are the caller's; the reply is here.
        let status = unsafe { handler(context, &raw mut reply) };
        handled(status, reply.0.failed())
    })
}

/// What a server has done so far.
///
/// # Safety
/// Pointers are NULL or valid, and the server has not been stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_server_get_status(
    server: *const snapwire_server,
    status: *mut snapwire_server_status,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let now = unsafe { given(server, "server") }?.server.status();
        let value = snapwire_server_status {
            sessions: now.sessions,
            sessions_total: now.sessions_total,
            refused_total: now.refused_total,
            requests_total: now.requests_total,
        };
        // SAFETY: the caller's.
        unsafe { put(status, value, "status") }
    })
}

/// Takes no more clients, lets what is being answered be answered for so long, stops and frees a
/// server. True when everything was answered. Not to be called from a handler. NULL is allowed.
///
/// # Safety
/// The pointer is NULL or that of a server that has not been stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_server_drain(
    server: *mut snapwire_server,
    timeout_ms: u32,
) -> bool {
    guard_or(false, || {
        if server.is_null() {
            return true;
        }
        // SAFETY: it came out of a box, and nobody has taken it back.
        let server = unsafe { Box::from_raw(server) };
        server.server.drain(Duration::from_millis(timeout_ms.into()))
    })
}

/// Stops a server at once, waits for handlers that are running, and frees it. Not to be called from a
/// handler. NULL is allowed.
///
/// # Safety
/// The pointer is NULL or that of a server that has not been stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_server_stop(server: *mut snapwire_server) {
    guard_or((), || {
        if !server.is_null() {
            // SAFETY: it came out of a box, and nobody has taken it back.
            let server = unsafe { Box::from_raw(server) };
            server.server.stop();
        }
    });
}
