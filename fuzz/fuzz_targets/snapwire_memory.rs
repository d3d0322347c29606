//! Sessions in shared memory whose peer writes what it likes, wherever it likes, also while they
//! read; and regions with any header. Errors, and nothing worse.

#![no_main]

#[path = "snapwire_raw.rs"]
mod raw;

use libfuzzer_sys::fuzz_target;
use raw::{RawServer, endpoint};
use snapwire::codec::{Code, Header, HelloAck, Kind, Limit, Profiles, Status};
use snapwire::{Buffer, Endpoint, Listener, Offer, Patience, Session, SessionId};
use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const LIMIT: Limit = Limit { payload_bytes: 1000, batch_items: 16 };

fn offer(profile: Profiles) -> Offer {
    Offer {
        profiles: Profiles::BASELINE | profile,
        preferred: profile,
        request: LIMIT,
        response: LIMIT,
        auth_token: 0,
        packet_size: 0,
    }
}

/// Where a direction's words are: number, length, area.
type Places = [u64; 3];

/// Two peers and their region, of which one is played by this target.
struct Pair {
    client: Session,
    server: Session,
    file: Arc<File>,
    /// Of requests and of responses.
    places: [Places; 2],
}

impl Pair {
    fn new(profile: Profiles) -> Pair {
        // Each has a name of its own, or they would be in the way of each other's regions.
        let endpoint = endpoint(&format!("svc-{}", profile.0));
        let offer = offer(profile);
        let mut listener = Listener::bind(&endpoint, &offer).expect("a listener");
        let patience = || Patience::new(Duration::from_secs(5));
        let (client, server) = thread::scope(|scope| {
            let client = scope.spawn(|| Session::connect(&endpoint, &offer, &mut patience()));
            let server = listener.accept(&mut patience()).expect("a session");
            (client.join().expect("no panic").expect("a session"), server)
        });
        assert_eq!(client.terms().profile, profile);
        let path = endpoint.region_path(client.terms().session);
        let file = File::options().read(true).write(true).open(path).expect("a region");
        let mut offset = [0; 4];
        file.read_exact_at(&mut offset, 24).expect("a header");
        let responses_at = u64::from(u32::from_ne_bytes(offset));
        let places = if profile == Profiles::SHM_HYBRID {
            [[32, 48, 64], [40, 52, responses_at]]
        } else {
            [64, responses_at].map(|area| [area, area + 12, area + 16])
        };
        Pair { client, server, file: Arc::new(file), places }
    }

    /// What the peer publishes: a message that is right but for a few bytes.
    fn publish(&self, to_client: bool, id: u64, payload: &[u8], damage: [u8; 2]) {
        let [seq, len, area] = self.places[usize::from(to_client)];
        let request = Header::request(Code::INCREMENT, id);
        let header = if to_client { request.response(Status::OK) } else { request };
        let header = Header { payload_len: payload.len() as u32, ..header };
        let mut message = [&header.encode()[..], payload].concat();
        let length = (message.len() as u32).wrapping_add_signed(i32::from(damage[1] as i8 / 16));
        let at = usize::from(damage[0]) % message.len();
        message[at] ^= damage[1];
        let mut number = [0; 8];
        self.file.read_exact_at(&mut number, seq).expect("a number");
        let next = u64::from_ne_bytes(number).wrapping_add(1);
        self.write(area, &message);
        self.write(len, &length.to_ne_bytes());
        self.write(seq, &next.to_ne_bytes());
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let length = self.file.metadata().expect("a file").len();
        let room = length.saturating_sub(at) as usize;
        let _ = self.file.write_all_at(&bytes[..bytes.len().min(room)], at);
    }
}

/// A thread that keeps writing to a region while others read it.
struct Scribbler(Arc<Mutex<Option<(Arc<File>, u64, Vec<u8>)>>>);

impl Scribbler {
    fn start() -> Scribbler {
        let work: Arc<Mutex<Option<(Arc<File>, u64, Vec<u8>)>>> = Arc::default();
        let shared = Arc::clone(&work);
        thread::spawn(move || {
            loop {
                if let Some((file, at, bytes)) = &mut *shared.lock().expect("no panic") {
                    let _ = file.write_all_at(bytes, *at);
                    bytes.rotate_left(1);
                } else {
                    thread::sleep(Duration::from_micros(50));
                }
            }
        });
        Scribbler(work)
    }

    fn set(&self, work: Option<(Arc<File>, u64, Vec<u8>)>) {
        *self.0.lock().expect("no panic") = work;
    }
}

struct Stage {
    pairs: [Option<Pair>; 2],
    scribbler: Scribbler,
    server: RawServer,
    lair: Endpoint,
}

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new({
        let lair = endpoint("lair");
        let server = RawServer::start(&lair);
        Stage { pairs: [None, None], scribbler: Scribbler::start(), server, lair }
    });
}

/// A client that is promised a region and finds this file.
fn attach(stage: &Stage, profile: Profiles, input: &[u8]) {
    let path = stage.lair.region_path(SessionId(1));
    let (head, rest) = input.split_at(input.len().min(64));
    let length = rest.first().map_or(4096, |byte| 64 * u64::from(*byte));
    let file = File::create(&path).expect("a file");
    file.set_len(length).and_then(|()| file.write_all_at(head, 0)).expect("room");
    let ack = HelloAck {
        supported: profile,
        common: profile,
        selected: profile,
        request: LIMIT,
        response: LIMIT,
        packet_size: 4096,
        session_id: 1,
    };
    let header = Header {
        kind: Kind::Control,
        batch: false,
        code: Code::HELLO_ACK,
        status: Status::OK,
        payload_len: HelloAck::LEN as u32,
        item_count: 1,
        message_id: 0,
    };
    stage.server.say_next(vec![[&header.encode()[..], &ack.encode()].concat()]);
    let mut patience = Patience::new(Duration::from_millis(500));
    if let Ok(mut session) = Session::connect(&stage.lair, &offer(profile), &mut patience) {
        let _ = session.send(&Header::request(Code::INCREMENT, 1), &[1; 900], &mut patience);
        let _ = session.recv(&mut Buffer::new(), &mut Patience::new(Duration::from_micros(20)));
    }
}

/// Messages and scribbles of the input, and a peer that goes on as if nothing were.
fn session(stage: &mut Stage, mode: u8, mut input: &[u8]) {
    let profile = [Profiles::SHM_HYBRID, Profiles::SHM_WAITERS][usize::from(mode & 1)];
    let kept = &mut stage.pairs[usize::from(mode & 1)];
    if kept.as_ref().is_none_or(|pair| pair.client.is_over() || pair.server.is_over()) {
        *kept = None;
        *kept = Some(Pair::new(profile));
    }
    let pair = kept.as_mut().expect("it was made");
    let to_client = mode & 2 != 0;
    let mut buffer = Buffer::new();
    let mut id = 0;
    while let Some(([how, length, first, second], rest)) = input.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        input = rest;
        id += 1;
        if to_client {
            let patience = &mut Patience::new(Duration::from_micros(20));
            let _ = pair.client.send(&Header::request(Code::INCREMENT, id), &[1; 8], patience);
        }
        let [seq, len, area] = pair.places[usize::from(to_client)];
        match how % 4 {
            0 => pair.publish(to_client, id, bytes, [*first, *second]),
            1 => pair.write(u64::from(u16::from_le_bytes([*first, *second])), bytes),
            2 => pair.write([seq, len, area][usize::from(first % 3)], bytes),
            _ => {
                pair.publish(to_client, id, bytes, [0, 0]);
                let at = [seq, len, area, area + 16][usize::from(first % 4)];
                let noise = if bytes.is_empty() { vec![*second] } else { bytes.to_vec() };
                stage.scribbler.set(Some((Arc::clone(&pair.file), at, noise)));
            }
        }
        let victim = if to_client { &mut pair.client } else { &mut pair.server };
        let received = victim.recv(&mut buffer, &mut Patience::new(Duration::from_micros(20)));
        stage.scribbler.set(None);
        if let Ok(header) = received {
            assert_eq!(header.payload_len as usize, buffer.as_slice().len());
            assert!(header.payload_len <= LIMIT.payload_bytes);
            assert!(header.item_count <= LIMIT.batch_items);
        }
        if victim.is_over() {
            return;
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    STAGE.with_borrow_mut(|stage| {
        if mode & 4 == 0 {
            session(stage, *mode, rest);
        } else {
            let profile = [Profiles::SHM_HYBRID, Profiles::SHM_WAITERS][usize::from(mode & 1)];
            attach(stage, profile, rest);
        }
    });
});
