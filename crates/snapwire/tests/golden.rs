//! The contract's golden vectors, byte for byte in both directions (little-endian hosts).
#![cfg(target_endian = "little")]

use snapwire::codec::{
    AppStatus, AppsReply, AppsRequest, AppsResponse, Batch, BatchBuilder, CgroupStatus,
    CgroupsReply, CgroupsRequest, CgroupsResponse, Chunk, Code, HEADER_LEN, Header, Hello,
    HelloAck, Kind, Limit, Orchestrator, Pid, Profiles, Snapshot, SnapshotBuilder, SnapshotItem,
    Status, increment, text,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn control(code: Code, status: Status, payload_len: usize) -> Header {
    let kind = Kind::Control;
    let payload_len = payload_len as u32;
    Header { kind, batch: false, code, status, payload_len, item_count: 1, message_id: 0 }
}

#[test]
fn hello() {
    let golden = bytes(
        "4350494e0100200003000000010000002c00000001000000000000000000000001000000030000000200000000\
         20000040000000000001004000000000000000efcdab896745230100000100",
    );
    let hello = Hello {
        supported: Profiles(3),
        preferred: Profiles(2),
        request: Limit { payload_bytes: 8192, batch_items: 64 },
        response: Limit { payload_bytes: 65536, batch_items: 64 },
        auth_token: 0x0123_4567_89ab_cdef,
        packet_size: 65536,
    };
    let header = control(Code::HELLO, Status::OK, Hello::LEN);
    assert_eq!([&header.encode()[..], &hello.encode()].concat(), golden);
    assert_eq!(Header::decode(&golden), Ok(header));
    assert_eq!(Hello::decode(&golden[HEADER_LEN..]), Ok(hello));
}

#[test]
fn ack() {
    let golden = bytes(
        "4350494e010020000300000002000000300000000100000000000000000000000100000003000000030000000200\
         00000020000040000000000002004000000000000100000000000900000000000000",
    );
    let ack = HelloAck {
        supported: Profiles(3),
        common: Profiles(3),
        selected: Profiles(2),
        request: Limit { payload_bytes: 8192, batch_items: 64 },
        response: Limit { payload_bytes: 131_072, batch_items: 64 },
        packet_size: 65536,
        session_id: 9,
    };
    let header = control(Code::HELLO_ACK, Status::OK, HelloAck::LEN);
    assert_eq!([&header.encode()[..], &ack.encode()].concat(), golden);
    assert_eq!(HelloAck::decode(&golden[HEADER_LEN..]), Ok(ack));
}

#[test]
fn refusal() {
    let mut golden = bytes("4350494e0100200003000000020002003000000001000000000000000000000001");
    golden.extend([0; 47]);
    let header = control(Code::HELLO_ACK, Status::AUTH_FAILED, HelloAck::LEN);
    assert_eq!([&header.encode()[..], &HelloAck::REFUSAL.encode()].concat(), golden);
    assert_eq!(Header::decode(&golden).unwrap().status, Status::AUTH_FAILED);
}

#[test]
fn increment_request() {
    let golden =
        bytes("4350494e010020000100000001000000080000000100000003000000000000002900000000000000");
    let mut payload = [0; 8];
    assert_eq!(increment::encode(41, &mut payload), Ok(8));
    let header = Header { payload_len: 8, ..Header::request(Code::INCREMENT, 3) };
    assert_eq!([&header.encode()[..], &payload].concat(), golden);
    assert_eq!(increment::decode(&golden[HEADER_LEN..]), Ok(41));
}

#[test]
fn batch() {
    let golden = bytes("0000000008000000080000000800000001000000000000000200000000000000");
    let mut payload = [0xff; 64];
    let mut builder = BatchBuilder::new(&mut payload, 2).unwrap();
    builder.push(&1u64.to_le_bytes()).unwrap();
    builder.push(&2u64.to_le_bytes()).unwrap();
    assert_eq!(builder.finish(), (32, 2));
    assert_eq!(payload[..32], golden);
    let read = Batch::new(&golden, 2).unwrap();
    assert!(read.iter().map(|item| increment::decode(item).unwrap()).eq([1, 2]));
}

#[test]
fn chunk() {
    let golden = bytes("4b48434e010000000300000000000000fa000000010000000400000044000000");
    let chunk =
        Chunk { message_id: 3, total_message_len: 250, index: 1, count: 4, payload_len: 68 };
    assert_eq!(chunk.encode()[..], golden);
    let header = golden.first_chunk().unwrap();
    assert_eq!(Chunk::decode(header, HEADER_LEN + 68), Ok(chunk));
}

#[test]
fn string() {
    let golden = bytes("080000000300000061626300");
    let mut payload = [0xff; 12];
    assert_eq!(text::encode(b"abc", &mut payload), Ok(12));
    assert_eq!(payload[..], golden);
    assert_eq!(text::decode(&golden), Ok(&b"abc"[..]));
}

#[test]
fn snapshot() {
    let golden = bytes(
        "010000000100000001000000000000002a0000000000000000000000250000000100000007000000000000000100\
         00002000000001000000220000000200000061002f6200",
    );
    let item = SnapshotItem { hash: 7, options: 0, enabled: 1, name: b"a", path: b"/b" };
    for max_items in [Some(1), None] {
        let mut payload = [0xff; 256];
        let mut builder = SnapshotBuilder::new(&mut payload, max_items).unwrap();
        builder.set_systemd_enabled(1);
        builder.set_generation(42);
        builder.push(&item).unwrap();
        let length = builder.finish().unwrap();
        assert_eq!(payload[..length], golden);
    }
    let read = Snapshot::decode(&golden).unwrap();
    assert_eq!((read.systemd_enabled(), read.generation(), read.len()), (1, 42, 1));
    assert_eq!(read.item(0), Ok(item));
}

#[test]
fn cgroups_request() {
    let golden = bytes(
        "01000000020000000000000000000000000000000300000008000000040000002f610000000000002f626300",
    );
    let mut payload = [0xff; 64];
    let length = CgroupsRequest::encode(&[b"/a", b"/bc"], &mut payload).unwrap();
    assert_eq!(payload[..length], golden);
    let read = CgroupsRequest::decode(&golden).unwrap();
    assert!(read.iter().eq([&b"/a"[..], b"/bc"]));
}

#[test]
fn cgroups_response() {
    let golden = bytes(
        "01000000010000000500000000000000000000003c00000001000000030000001c000000020000001f0000000100\
         0000010000002f61006e000000000000000038000000010000003a000000010000006b007600",
    );
    let mut request = [0; 32];
    let length = CgroupsRequest::encode(&[b"/a"], &mut request).unwrap();
    let mut payload = [0xff; 256];
    let request = CgroupsRequest::decode(&request[..length]).unwrap();
    let mut reply = CgroupsReply::new(request, &mut payload).unwrap();
    reply.set_generation(5);
    reply.known(Orchestrator::K8S, b"n", &[(b"k", b"v")]).unwrap();
    let length = reply.finish().unwrap();
    assert_eq!(payload[..length], golden);

    let read = CgroupsResponse::decode(&golden).unwrap();
    assert_eq!((read.generation(), read.len()), (5, 1));
    let item = read.item(0).unwrap();
    assert_eq!((item.status, item.orchestrator), (CgroupStatus::Known, Orchestrator::K8S));
    assert_eq!((item.path, item.name), (&b"/a"[..], &b"n"[..]));
    assert!(item.labels.iter().eq([(&b"k"[..], &b"v"[..])]));
}

#[test]
fn apps_request() {
    let golden = bytes("0100000001000000000000000000000000000000080000002a00000000000000");
    let mut payload = [0xff; 32];
    assert_eq!(AppsRequest::encode(&[Pid(42)], &mut payload), Ok(32));
    assert_eq!(payload[..], golden);
    assert!(AppsRequest::decode(&golden).unwrap().iter().eq([Pid(42)]));
}

#[test]
fn apps_response() {
    let golden = bytes(
        "01000000010000000500000000000000000000003f00000001000100000000002a00000000000000ffffffff0000\
         000000000000000000003c000000000000003d000000000000003e0000000000000000000000000000",
    );
    let mut request = [0; 32];
    AppsRequest::encode(&[Pid(42)], &mut request).unwrap();
    let mut payload = [0xff; 256];
    let request = AppsRequest::decode(&request).unwrap();
    let mut reply = AppsReply::new(request, &mut payload).unwrap();
    reply.set_generation(5);
    reply.unknown().unwrap();
    let length = reply.finish().unwrap();
    assert_eq!(payload[..length], golden);

    let read = AppsResponse::decode(&golden).unwrap();
    let item = read.item(0).unwrap();
    assert_eq!((item.status, item.pid, item.uid), (AppStatus::Unknown, Pid(42), None));
}
