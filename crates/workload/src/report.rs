//! What a worker knows only at its end, and how it tells the crew: a service of its own over shared
//! memory, which is there while the crew stops and at no other time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use snapwire::codec::Limit;
use snapwire::{
    Client, ClientConfig, Endpoint, Error, Offer, Peers, Record, Server, ServerConfig, Service,
    State,
};

use crate::sys;

/// How long a worker tries to report. Then it goes without.
const WITHIN: Duration = Duration::from_secs(1);
/// How long it waits before it tries again to connect.
const AGAIN_AFTER: Duration = Duration::from_millis(1);
/// What most reports fit into, in bytes. More is asked for where one does not.
const LIMIT: Limit = Limit { payload_bytes: 4096, batch_items: 1 };

/// The last words of a worker.
#[derive(Debug, Default, Record)]
pub(crate) struct Report {
    /// The worker's index in its group.
    pub(crate) index: u32,
    /// Why it ended as it did; empty where that needs no words.
    pub(crate) text: String,
    /// How often it was given a CPU (`schedstat`).
    pub(crate) runs: u64,
    /// Context switches that it asked for by waiting.
    pub(crate) voluntary: u64,
    /// Context switches that were forced upon it.
    pub(crate) involuntary: u64,
    /// Pages of the working set by node; empty where they were not counted.
    pub(crate) node_pages: Vec<u64>,
}

/// The crew has it.
#[derive(Debug, Record)]
pub(crate) struct Received {
    /// The worker's index.
    pub(crate) index: u32,
}

/// Takes the reports of a crew's workers.
#[derive(Service)]
#[service(code = 100, request = Report, response = Received)]
pub(crate) enum Reports {}

/// By the worker's index.
pub(crate) type ByIndex = BTreeMap<u32, Report>;

/// Hands a report to the crew, which has said that it takes them.
///
/// # Errors
/// If that takes too long, or the crew is gone.
pub(crate) fn send(endpoint: &Endpoint, report: Report) -> Result<(), Error> {
    let offer = Offer { request: LIMIT, ..Offer::default() };
    let config = ClientConfig { offer, timeout: WITHIN, ..ClientConfig::default() };
    let mut client = Client::<Reports>::new(endpoint, &config);
    let began = Instant::now();
    client.refresh();
    while client.state() != State::Ready && began.elapsed() < WITHIN {
        std::thread::sleep(AGAIN_AFTER);
        client.refresh();
    }
    client.call(report).map(drop)
}

/// Where reports arrive.
#[derive(Debug)]
pub(crate) struct Inbox {
    server: Server,
    arrived: Arc<Mutex<ByIndex>>,
}

impl Inbox {
    /// Takes the reports of so many workers. Its threads are not behind the workers: they run by the
    /// policy of the calling thread. Workers may run as another user than the calling process.
    ///
    /// # Errors
    /// If the directory does not take a socket, or a thread cannot be started.
    pub(crate) fn open(
        endpoint: &Endpoint,
        workers: u32,
        user: Option<u32>,
    ) -> Result<Self, Error> {
        let arrived = Arc::new(Mutex::new(ByIndex::new()));
        let offer = Offer { request: LIMIT, response: LIMIT, ..Offer::default() };
        let peers = if user.is_some() { Peers::Any } else { Peers::SameUser };
        let config = ServerConfig {
            offer: Offer { request: Limit { payload_bytes: 0, ..LIMIT }, ..offer },
            workers: workers as usize,
            stall: WITHIN,
            peers,
            ..ServerConfig::default()
        };
        let server = sys::passing_policy_on(|| {
            let arrived = Arc::clone(&arrived);
            Server::start::<Reports>(endpoint, &config, move |report, reply| {
                let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
                arrived.insert(report.index, report.into());
                Ok(reply.set(&Received { index: report.index })?)
            })
        })?;
        if user.is_some() {
            // The region stays ours alone: such a worker reports over the socket.
            let path = endpoint.socket_path();
            std::os::unix::fs::chown(&path, user, None).map_err(|source| Error::Io {
                attempted: "hand over",
                path,
                source,
            })?;
        }
        Ok(Self { server, arrived })
    }

    /// What has arrived. Nothing does from now on, and no thread is left.
    pub(crate) fn close(self) -> ByIndex {
        self.server.stop();
        std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<ReportView<'_>> for Report {
    fn from(report: ReportView<'_>) -> Self {
        Self {
            index: report.index,
            text: report.text.to_owned(),
            runs: report.runs,
            voluntary: report.voluntary,
            involuntary: report.involuntary,
            node_pages: report.node_pages.iter().collect(),
        }
    }
}
