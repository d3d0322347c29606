//! Every decoder of snapwire, on any bytes. What is accepted lies within the bytes, and where the
//! same can be encoded again, that is decoded to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use snapwire::codec::{
    AppsRequest, AppsResponse, Batch, CgroupsRequest, CgroupsResponse, Chunk, Header, Hello,
    HelloAck, Snapshot, SnapshotRequest, increment, text,
};

/// A part of the payload and not of anything else.
fn assert_within(payload: &[u8], part: &[u8]) {
    let (outer, inner) = (payload.as_ptr_range(), part.as_ptr_range());
    assert!(part.is_empty() || outer.start <= inner.start && inner.end <= outer.end);
}

fn header(payload: &[u8]) {
    if let Ok(header) = Header::decode(payload) {
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
    if let Some((head, _)) = payload.split_first_chunk()
        && let Ok(chunk) = Chunk::decode(head, payload.len())
    {
        assert_eq!(Chunk::decode(&chunk.encode(), payload.len()), Ok(chunk));
    }
}

fn handshake(payload: &[u8]) {
    if let Ok(hello) = Hello::decode(payload) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(ack) = HelloAck::decode(payload) {
        assert_eq!(HelloAck::decode(&ack.encode()), Ok(ack));
    }
}

fn batch(payload: &[u8]) {
    let Some((count, payload)) = payload.split_first_chunk() else {
        return;
    };
    let count = u32::from_ne_bytes(*count);
    if let Ok(batch) = Batch::new(payload, count) {
        assert_eq!(batch.len(), count as usize);
        for (index, item) in batch.iter().enumerate() {
            assert_within(payload, item);
            assert_eq!(batch.item(index), Some(item));
        }
    }
}

fn snapshot(payload: &[u8]) {
    let _ = SnapshotRequest::decode(payload);
    if let Ok(snapshot) = Snapshot::decode(payload) {
        for item in snapshot.iter().flatten() {
            assert_within(payload, item.name);
            assert_within(payload, item.path);
        }
    }
}

fn cgroups(payload: &[u8]) {
    if let Ok(request) = CgroupsRequest::decode(payload) {
        let paths: Vec<&[u8]> = request.iter().collect();
        let mut again = vec![0; payload.len() + 64];
        let length = CgroupsRequest::encode(&paths, &mut again).expect("it fitted before");
        let decoded = CgroupsRequest::decode(&again[..length]).expect("it was encoded");
        assert!(decoded.iter().eq(paths.iter().copied()));
    }
    if let Ok(response) = CgroupsResponse::decode(payload) {
        for item in response.iter().flatten() {
            assert_within(payload, item.path);
            assert_within(payload, item.name);
            for (key, value) in item.labels.iter() {
                assert!(!key.is_empty());
                assert_within(payload, key);
                assert_within(payload, value);
            }
        }
    }
}

fn apps(payload: &[u8]) {
    if let Ok(request) = AppsRequest::decode(payload) {
        let pids: Vec<_> = request.iter().collect();
        let mut again = vec![0; payload.len() + 64];
        let length = AppsRequest::encode(&pids, &mut again).expect("it fitted before");
        let decoded = AppsRequest::decode(&again[..length]).expect("it was encoded");
        assert!(decoded.iter().eq(pids.iter().copied()));
    }
    if let Ok(response) = AppsResponse::decode(payload) {
        for item in response.iter().flatten() {
            assert!(item.comm.len() <= 15);
            for part in [item.comm, item.cgroup_path, item.cgroup_name] {
                assert_within(payload, part);
            }
            for (key, value) in item.labels.iter() {
                assert_within(payload, key);
                assert_within(payload, value);
            }
        }
    }
}

fn small(payload: &[u8]) {
    assert_eq!(increment::decode(payload).is_ok(), payload.len() >= 8);
    if let Ok(string) = text::decode(payload) {
        assert_within(payload, string);
        let mut again = vec![0; payload.len()];
        let length = text::encode(string, &mut again).expect("it fitted before");
        assert_eq!(text::decode(&again[..length]), Ok(string));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((which, payload)) = input.split_first() else {
        return;
    };
    let decoders = [header, handshake, batch, snapshot, cgroups, apps, small];
    decoders[usize::from(*which) % decoders.len()](payload);
});
