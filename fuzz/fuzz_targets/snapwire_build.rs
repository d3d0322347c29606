//! Every builder of snapwire, with any items in any room. What is built is decoded to the same, and
//! nothing is written beyond the room.

#![no_main]

use libfuzzer_sys::fuzz_target;
use snapwire::codec::{
    App, AppCgroup, AppStatus, AppsReply, AppsRequest, AppsResponse, Batch, BatchBuilder,
    CgroupStatus, CgroupsReply, CgroupsRequest, CgroupsResponse, Orchestrator, Pid, Placed,
    Snapshot, SnapshotBuilder, SnapshotItem,
};

/// Pieces of the input, each behind its length.
fn pieces(mut input: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = input.split_first() {
        let (piece, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

fn batch(room: &mut [u8], pieces: &[&[u8]]) {
    let Ok(mut builder) = BatchBuilder::new(room, pieces.len() as u32 + 1) else {
        return;
    };
    let put: Vec<&&[u8]> = pieces.iter().filter(|piece| builder.push(piece).is_ok()).collect();
    let (length, count) = builder.finish();
    assert_eq!(count as usize, put.len());
    let batch = Batch::new(&room[..length], count).expect("it was built");
    assert!(batch.iter().eq(put.into_iter().copied()));
}

fn snapshot(room: &mut [u8], pieces: &[&[u8]]) {
    let max_items = if pieces.len() % 2 == 0 { None } else { Some(pieces.len() as u32) };
    let Ok(mut builder) = SnapshotBuilder::new(room, max_items) else {
        return;
    };
    let mut put = Vec::new();
    for (hash, pair) in (0..).zip(pieces.chunks_exact(2)) {
        let item = SnapshotItem { hash, options: 1, enabled: 0, name: pair[0], path: pair[1] };
        if builder.push(&item).is_err() {
            break;
        }
        put.push(item);
    }
    if let Ok(length) = builder.finish() {
        let snapshot = Snapshot::decode(&room[..length]).expect("it was built");
        assert!(snapshot.iter().map(|item| item.expect("it was built")).eq(put));
    }
}

fn cgroups(room: &mut [u8], pieces: &[&[u8]]) {
    let mut request = vec![0; 1 << 16];
    let Ok(length) = CgroupsRequest::encode(pieces, &mut request) else {
        return;
    };
    let request = CgroupsRequest::decode(&request[..length]).expect("it was encoded");
    let Ok(mut reply) = CgroupsReply::new(request, room) else {
        return;
    };
    let mut placed = Vec::new();
    while let Some(path) = reply.next_path() {
        let labels = [(path, path), (b"key".as_slice(), b"".as_slice())];
        let labels = &labels[..path.len() % 3];
        match reply.known(Orchestrator::DOCKER, path, labels) {
            Ok(how) => placed.push(how),
            Err(_) => return,
        }
    }
    if let Ok(length) = reply.finish() {
        let response = CgroupsResponse::decode(&room[..length]).expect("it was built");
        assert_eq!(response.len(), pieces.len());
        for ((item, path), how) in response.iter().zip(pieces).zip(placed) {
            let item = item.expect("it was built");
            assert_eq!(item.path, *path);
            assert_eq!(item.status == CgroupStatus::Known, how == Placed::Whole);
            assert!(item.status != CgroupStatus::Known || item.name == *path);
        }
    }
}

fn apps(room: &mut [u8], pieces: &[&[u8]]) {
    let mut request = vec![0; 1 << 16];
    let pids: Vec<Pid> = pieces.iter().map(|piece| Pid(piece.len() as u32)).collect();
    let Ok(length) = AppsRequest::encode(&pids, &mut request) else {
        return;
    };
    let request = AppsRequest::decode(&request[..length]).expect("it was encoded");
    let Ok(mut reply) = AppsReply::new(request, room) else {
        return;
    };
    for piece in pieces {
        let labels = [(*piece, *piece)];
        let cgroup = match piece.first().unwrap_or(&0) % 4 {
            0 => AppCgroup::HostRoot,
            1 => AppCgroup::UnknownPermanent { path: piece },
            2 => AppCgroup::UnknownRetryLater { path: piece },
            _ => AppCgroup::Known {
                orchestrator: Orchestrator::SYSTEMD,
                path: piece,
                name: piece,
                labels: &labels,
            },
        };
        let app = App { parent: Pid(1), uid: Some(7), starttime_jiffies: 3, comm: piece, cgroup };
        let placed = if piece.len() % 5 == 4 { reply.unknown() } else { reply.known(&app) };
        if placed.is_err() {
            return;
        }
    }
    if let Ok(length) = reply.finish() {
        let response = AppsResponse::decode(&room[..length]).expect("it was built");
        assert_eq!(response.len(), pids.len());
        for ((item, pid), piece) in response.iter().zip(pids).zip(pieces) {
            let item = item.expect("it was built");
            assert_eq!(item.pid, pid);
            assert!(item.status != AppStatus::Known || item.comm == *piece);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(([which, low, high], rest)) = input.split_first_chunk() else {
        return;
    };
    const GUARD: u8 = 0xa5;
    let length = usize::from(u16::from_le_bytes([*low, *high])) % 5000;
    let mut room = vec![GUARD; length + 64];
    let builders = [batch, snapshot, cgroups, apps];
    builders[usize::from(*which) % builders.len()](&mut room[..length], &pieces(rest));
    assert!(room[length..].iter().all(|byte| *byte == GUARD));
});
