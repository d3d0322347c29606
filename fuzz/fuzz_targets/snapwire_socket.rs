//! Sessions over sockets with a peer that says what it likes: a server's and a client's, before and
//! after the handshake. Errors, and nothing worse.

#![no_main]

#[path = "snapwire_raw.rs"]
mod raw;

use libfuzzer_sys::fuzz_target;
use raw::{RawServer, attack, endpoint};
use snapwire::codec::{Code, Header, Hello, HelloAck, Kind, Limit, Profiles, Status};
use snapwire::{Buffer, Endpoint, Listener, Offer, Patience, Session};
use std::cell::RefCell;
use std::time::Duration;

const LIMIT: Limit = Limit { payload_bytes: 1 << 16, batch_items: 64 };
const OFFER: Offer = Offer {
    profiles: Profiles::BASELINE,
    preferred: Profiles::BASELINE,
    request: LIMIT,
    response: LIMIT,
    auth_token: 0,
    packet_size: 200,
};

struct Stage {
    listener: Listener,
    server: RawServer,
    /// Where the raw server is.
    lair: Endpoint,
}

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new({
        let lair = endpoint("lair");
        let listener = Listener::bind(&endpoint("svc"), &OFFER).expect("a listener");
        Stage { listener, server: RawServer::start(&lair), lair }
    });
}

fn control(code: Code, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind: Kind::Control,
        batch: false,
        code,
        status: Status::OK,
        payload_len: payload.len() as u32,
        item_count: 1,
        message_id: 0,
    };
    [&header.encode()[..], payload].concat()
}

/// Packets of the input: some as they are, some behind a header that fits, so that deeper checks
/// are reached.
fn packets(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(([how, length], rest)) = input.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        input = rest;
        let id = u64::from(how >> 4);
        let header = match how & 7 {
            0 => Some(Header::request(Code::INCREMENT, id)),
            1 => Some(Header::request(Code::INCREMENT, id).response(Status::OK)),
            2 => Some(Header::request(Code::INCREMENT, id).with_batch(u32::from(how >> 4))),
            _ => None,
        };
        packets.push(match header {
            Some(header) => {
                // With the next bit the length is true, without it more is to come.
                let more = if how & 8 == 0 { 0 } else { 300 };
                let header = Header { payload_len: bytes.len() as u32 + more, ..header };
                [&header.encode()[..], bytes].concat()
            }
            None => bytes.to_vec(),
        });
    }
    packets
}

/// Receives until the end, and answers.
fn exhaust(session: &mut Session, is_server: bool) {
    let mut patience = Patience::new(Duration::from_millis(500));
    let mut buffer = Buffer::new();
    for id in 0..64 {
        if !is_server {
            let _ = session.send(&Header::request(Code::INCREMENT, id), &[1; 8], &mut patience);
        }
        match session.recv(&mut buffer, &mut patience) {
            Ok(header) => {
                assert_eq!(header.payload_len as usize, buffer.as_slice().len());
                assert!(header.payload_len <= LIMIT.payload_bytes);
                assert!(header.item_count <= LIMIT.batch_items);
                if is_server {
                    let answer = header.response(Status::OK);
                    let _ = session.send(&answer, buffer.as_slice(), &mut patience);
                }
            }
            Err(error) => {
                assert!(session.is_over(), "after {error} a session whose peer is gone goes on");
                return;
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let mut packets = packets(rest);
    let after_handshake = mode & 2 != 0;
    STAGE.with_borrow_mut(|stage| {
        let mut patience = Patience::new(Duration::from_millis(500));
        if mode & 1 == 0 {
            if after_handshake {
                let hello = Hello {
                    supported: Profiles::BASELINE,
                    preferred: Profiles(0),
                    request: LIMIT,
                    response: LIMIT,
                    auth_token: 0,
                    packet_size: 200,
                };
                packets.insert(0, control(Code::HELLO, &hello.encode()));
            }
            let _client = attack(&endpoint("svc"), &packets);
            if let Ok(mut session) = stage.listener.accept(&mut patience) {
                exhaust(&mut session, true);
            }
        } else {
            if after_handshake {
                let ack = HelloAck {
                    supported: Profiles::BASELINE,
                    common: Profiles::BASELINE,
                    selected: Profiles::BASELINE,
                    request: LIMIT,
                    response: LIMIT,
                    packet_size: 200,
                    session_id: 1,
                };
                packets.insert(0, control(Code::HELLO_ACK, &ack.encode()));
            }
            stage.server.say_next(packets);
            if let Ok(mut session) = Session::connect(&stage.lair, &OFFER, &mut patience) {
                exhaust(&mut session, false);
            }
        }
    });
});
