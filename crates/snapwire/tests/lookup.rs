//! The lookup methods: rejection tables, boundary buffers, and what comes back of what was put in.

use proptest::prelude::*;
use snapwire::codec::{
    App, AppCgroup, AppCgroupStatus, AppStatus, AppsReply, AppsRequest, AppsResponse, BuildError,
    CgroupStatus, CgroupsReply, CgroupsRequest, CgroupsResponse, Fault, Orchestrator, Pid, Placed,
};

const PLAIN: App<'static> = App {
    parent: Pid(1),
    uid: Some(1000),
    starttime_jiffies: 77,
    comm: b"sh",
    cgroup: AppCgroup::HostRoot,
};

fn cgroups_request(paths: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![0; 4096];
    let length = CgroupsRequest::encode(paths, &mut payload).unwrap();
    payload.truncate(length);
    payload
}

fn apps_request(pids: &[u32]) -> Vec<u8> {
    let pids: Vec<Pid> = pids.iter().copied().map(Pid).collect();
    let mut payload = vec![0; AppsRequest::len_for(pids.len())];
    assert_eq!(AppsRequest::encode(&pids, &mut payload), Ok(payload.len()));
    payload
}

type Labels<'a> = &'a [(&'a [u8], &'a [u8])];

/// A response in which every path is known by this name, in so much room.
fn cgroups_response(
    request: &[u8],
    name: &[u8],
    labels: Labels<'_>,
    room: usize,
) -> Result<(Vec<u8>, Vec<Placed>), BuildError> {
    let request = CgroupsRequest::decode(request).unwrap();
    let mut payload = vec![0xee; room];
    let mut reply = CgroupsReply::new(request, &mut payload)?;
    let mut placed = Vec::new();
    while reply.next_path().is_some() {
        placed.push(reply.known(Orchestrator::DOCKER, name, labels)?);
    }
    let length = reply.finish()?;
    payload.truncate(length);
    Ok((payload, placed))
}

fn app_response(app: &App<'_>) -> Vec<u8> {
    let request = apps_request(&[42]);
    let mut payload = vec![0xee; 512];
    let mut reply = AppsReply::new(AppsRequest::decode(&request).unwrap(), &mut payload).unwrap();
    reply.known(app).unwrap();
    let length = reply.finish().unwrap();
    payload.truncate(length);
    payload
}

#[test]
fn cgroups_requests_are_refused_by_name() {
    let good = cgroups_request(&[b"/a", b"/bc"]);
    let fault = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        CgroupsRequest::decode(&bad).map(|_| ()).map_err(|error| error.fault)
    };
    for (at, value, expected) in [
        (0, 2, Fault::BadLayout),
        (2, 1, Fault::BadLayout),
        (4, 9, Fault::Truncated),
        (7, 0xff, Fault::Truncated),
        (8, 1, Fault::BadLayout),
        (12, 1, Fault::BadLayout),
        (16, 4, Fault::BadAlignment),
        (20, 200, Fault::OutOfBounds),
        (20, 1, Fault::BadLayout),
        (20, 2, Fault::MissingNul),
        (20, 9, Fault::BadLayout), // reaches into the next
        (24, 0, Fault::BadLayout), // overlaps the first
        (33, 0, Fault::BadLayout), // a NUL inside
        (34, 1, Fault::MissingNul),
    ] {
        assert_eq!(fault(at, value), Err(expected), "byte {at} = {value}");
    }
    assert_eq!(CgroupsRequest::decode(&good[..15]).unwrap_err().fault, Fault::Truncated);
    let mut room = [0; 64];
    assert!(matches!(CgroupsRequest::encode(&[b""], &mut room), Err(BuildError::Unfit { .. })));
    assert!(matches!(CgroupsRequest::encode(&[b"a\0b"], &mut room), Err(BuildError::Unfit { .. })));
    assert!(matches!(
        CgroupsRequest::encode(&[&[b'x'; 60]], &mut room),
        Err(BuildError::Overflow { .. })
    ));
}

#[test]
fn cgroups_items_are_refused_by_name() {
    let (good, _) =
        cgroups_response(&cgroups_request(&[b"/a"]), b"n", &[(b"k", b"v")], 512).unwrap();
    let fault = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[24 + at] = value;
        let response = CgroupsResponse::decode(&bad).map_err(|error| error.fault)?;
        response.item(0).map(|_| ()).map_err(|error| error.fault)
    };
    assert_eq!(fault(4, 0), Ok(()), "any orchestrator");
    for (at, value, expected) in [
        (0, 2, Fault::BadLayout),
        (2, 5, Fault::BadLayout),
        (2, 1, Fault::BadLayout), // not known, yet with a name
        (6, 1, Fault::BadLayout),
        (8, 27, Fault::OutOfBounds),
        (8, 30, Fault::BadLayout), // overlaps the name
        (12, 0, Fault::MissingNul),
        (12, 200, Fault::OutOfBounds),
        (16, 27, Fault::OutOfBounds),
        (20, 2, Fault::BadLayout), // its last byte would be a NUL
        (24, 0, Fault::BadLayout), // labels that nobody counts
        (24, 2, Fault::OutOfBounds),
        (26, 1, Fault::BadLayout),
        (33, 1, Fault::BadLayout),  // the pad before the table
        (40, 57, Fault::BadLayout), // a gap before the key
        (44, 0, Fault::MissingNul),
        (48, 59, Fault::BadLayout),
        (52, 2, Fault::OutOfBounds),
        (56, 0, Fault::BadLayout), // a NUL in the key
        (57, 1, Fault::MissingNul),
        (59, 1, Fault::MissingNul),
    ] {
        assert_eq!(fault(at, value), Err(expected), "byte {at} = {value}");
    }
    // One byte more than the last label.
    let mut longer = good.clone();
    longer[20] += 1;
    longer.push(0);
    let item = CgroupsResponse::decode(&longer).unwrap().item(0);
    assert_eq!(item.unwrap_err().fault, Fault::BadLayout);
    // A directory's entry that is too short for any item.
    let mut short = good;
    short[20] = 27;
    assert_eq!(CgroupsResponse::decode(&short).unwrap_err().fault, Fault::BadLayout);
}

#[test]
fn an_empty_key_of_a_label_is_refused() {
    let request = cgroups_request(&[b"/a"]);
    let error = cgroups_response(&request, b"n", &[(b"", b"v")], 512).unwrap_err();
    assert!(error.to_string().contains("key of a label is empty"), "{error}");
    // In a response that says so: a key of length 0 in front of its own NUL.
    let (mut bad, _) = cgroups_response(&request, b"n", &[(b"k", b"v")], 512).unwrap();
    bad[24 + 44] = 0; // length of the key
    bad[24 + 48] = 57; // the value follows at once
    bad[24 + 56] = 0; // the key's NUL
    bad[24 + 52] = 2;
    bad[24 + 57] = b'x';
    bad[24 + 58] = b'v';
    assert_eq!(CgroupsResponse::decode(&bad).unwrap().item(0).unwrap_err().fault, Fault::BadLayout);
}

#[test]
fn app_items_follow_the_table_of_statuses() {
    let known = App {
        cgroup: AppCgroup::Known {
            orchestrator: Orchestrator::LXC,
            path: b"/c",
            name: b"n",
            labels: &[(b"k", b""), (b"l", b"w")],
        },
        uid: None,
        ..PLAIN
    };
    let payload = app_response(&known);
    let item = AppsResponse::decode(&payload).unwrap().item(0).unwrap();
    assert_eq!((item.status, item.pid, item.parent), (AppStatus::Known, Pid(42), Pid(1)));
    assert_eq!((item.uid, item.starttime_jiffies, item.comm), (None, 77, &b"sh"[..]));
    assert_eq!((item.cgroup_path, item.cgroup_name), (&b"/c"[..], &b"n"[..]));
    assert!(item.labels.iter().eq([(&b"k"[..], &b""[..]), (b"l", b"w")]));

    let fault = |app: &App<'_>, at: usize, value: u8| {
        let mut bad = app_response(app);
        bad[24 + at] = value;
        let item = AppsResponse::decode(&bad).unwrap().item(0).map(|item| item.cgroup_status);
        item.map_err(|error| error.fault)
    };
    let retry = App { cgroup: AppCgroup::UnknownRetryLater { path: b"" }, ..PLAIN };
    let permanent = App { cgroup: AppCgroup::UnknownPermanent { path: b"/c" }, ..PLAIN };
    for (app, at, value, expected) in [
        (&known, 0, 2, Err(Fault::BadLayout)),
        (&known, 2, 1, Err(Fault::BadLayout)),
        (&known, 2, 4, Err(Fault::BadLayout)),
        (&known, 6, 1, Err(Fault::BadLayout)),
        (&known, 6, 4, Err(Fault::BadLayout)),
        (&known, 20, 1, Err(Fault::BadLayout)),
        (&known, 58, 1, Err(Fault::BadLayout)),
        (&known, 36, 0, Err(Fault::MissingNul)),
        (&PLAIN, 6, 3, Ok(AppCgroupStatus::HostRoot)),
        (&PLAIN, 6, 0, Err(Fault::BadLayout)), // known, and without a path
        (&PLAIN, 6, 1, Ok(AppCgroupStatus::UnknownRetryLater)),
        (&PLAIN, 6, 2, Err(Fault::BadLayout)),
        (&PLAIN, 4, 1, Err(Fault::BadLayout)),
        (&retry, 6, 1, Ok(AppCgroupStatus::UnknownRetryLater)),
        (&retry, 4, 1, Err(Fault::BadLayout)),
        (&permanent, 6, 2, Ok(AppCgroupStatus::UnknownPermanent)),
        (&permanent, 4, 1, Err(Fault::BadLayout)),
        (&permanent, 6, 3, Err(Fault::BadLayout)),
    ] {
        assert_eq!(fault(app, at, value), expected, "byte {at} = {value} of {app:?}");
    }
}

#[test]
fn comm_has_one_to_fifteen_bytes() {
    let with = |comm| {
        let request = apps_request(&[1]);
        let mut payload = [0; 256];
        let request = AppsRequest::decode(&request).unwrap();
        let mut reply = AppsReply::new(request, &mut payload).unwrap();
        reply.known(&App { comm, ..PLAIN })
    };
    assert_eq!(with(&[b'x'; 15]), Ok(Placed::Whole));
    assert!(matches!(with(&[b'x'; 16]), Err(BuildError::Unfit { .. })));
    assert!(matches!(with(b""), Err(BuildError::Unfit { .. })));
    // A peer that sends 16 is refused as well.
    let mut payload = app_response(&App { comm: &[b'x'; 15], ..PLAIN });
    let end = payload.len();
    payload[24 + 36] = 16; // its NUL becomes a byte of it
    payload[24 + 60 + 15] = b'x';
    for at in [24 + 40, 24 + 48] {
        payload[at] += 1;
    }
    payload[20] += 1;
    payload.push(0);
    assert_eq!(payload.len(), end + 1);
    let item = AppsResponse::decode(&payload).unwrap().item(0);
    assert_eq!(item.unwrap_err().fault, Fault::BadLayout);
}

#[test]
fn apps_requests_are_refused_by_name() {
    let good = apps_request(&[1, 2]);
    let fault = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        AppsRequest::decode(&bad).unwrap_err().fault
    };
    assert_eq!(fault(20, 7), Fault::BadLayout);
    assert_eq!(fault(20, 16), Fault::BadLayout);
    assert_eq!(fault(36, 1), Fault::BadLayout);
    assert_eq!(fault(8, 1), Fault::BadLayout);
    assert_eq!(fault(24, 4), Fault::BadAlignment);
    assert_eq!(fault(24, 64), Fault::OutOfBounds);
}

/// Exact, one more, one less.
#[test]
fn one_byte_less_turns_the_last_item_into_a_placeholder() {
    let request = cgroups_request(&[b"/a", b"/b"]);
    let name = [b'n'; 50];
    let whole = cgroups_response(&request, &name, &[], 512).unwrap().0.len();
    for room in [whole, whole + 1] {
        let (payload, placed) = cgroups_response(&request, &name, &[], room).unwrap();
        assert_eq!((payload.len(), placed), (whole, vec![Placed::Whole; 2]));
    }
    let (payload, placed) = cgroups_response(&request, &name, &[], whole - 1).unwrap();
    assert_eq!(placed, [Placed::Whole, Placed::Exceeded]);
    let response = CgroupsResponse::decode(&payload).unwrap();
    let statuses: Vec<_> = response.iter().map(|item| item.unwrap().status).collect();
    assert_eq!(statuses, [CgroupStatus::Known, CgroupStatus::PayloadExceeded]);
    assert_eq!(response.item(1).unwrap().path, b"/b");
}

#[test]
fn after_one_that_does_not_fit_all_are_placeholders() {
    let request = apps_request(&[1, 2, 3, 4]);
    let mut payload = [0; 16 + 32 + 4 * 72];
    let request = AppsRequest::decode(&request).unwrap();
    let mut reply = AppsReply::new(request, &mut payload).unwrap();
    let long = App { cgroup: AppCgroup::UnknownRetryLater { path: &[b'p'; 90] }, ..PLAIN };
    assert_eq!(reply.known(&PLAIN), Ok(Placed::Whole));
    assert!(!reply.is_full());
    assert_eq!(reply.known(&long), Ok(Placed::Exceeded));
    assert!(reply.is_full());
    assert_eq!(reply.unknown(), Ok(Placed::Exceeded), "though it would fit");
    assert_eq!(reply.known(&PLAIN), Ok(Placed::Exceeded));
    let one_too_many = BuildError::ItemCount { expected: 4, found: 5 };
    assert_eq!(reply.unknown(), Err(one_too_many));
    assert_eq!(reply.finish(), Err(one_too_many), "an error stays");
}

#[test]
fn what_fits_no_response_is_oversized_and_what_would_fit_alone_is_not() {
    let alone = cgroups_request(&[b"/a"]);
    let (payload, placed) = cgroups_response(&alone, &[b'n'; 500], &[], 256).unwrap();
    assert_eq!(placed, [Placed::Oversized]);
    let item = CgroupsResponse::decode(&payload).unwrap().item(0).unwrap();
    assert_eq!((item.status, item.path), (CgroupStatus::OversizedItem, &b"/a"[..]));

    // Alone it fits; with room kept for the other it does not. It must not be called too large.
    let both = cgroups_request(&[b"/a", b"/b"]);
    let name = [b'n'; 190];
    assert_eq!(cgroups_response(&alone, &name, &[], 256).unwrap().1, [Placed::Whole]);
    assert!(matches!(cgroups_response(&both, &name, &[], 256), Err(BuildError::Overflow { .. })));
    // Not even the placeholders fit.
    assert!(matches!(cgroups_response(&both, b"", &[], 95), Err(BuildError::Overflow { .. })));
}

#[test]
fn every_key_needs_its_item() {
    let request = cgroups_request(&[b"/a", b"/b"]);
    let mut payload = [0; 256];
    let request = CgroupsRequest::decode(&request).unwrap();
    let mut reply = CgroupsReply::new(request, &mut payload).unwrap();
    reply.unknown_permanent().unwrap();
    assert_eq!(reply.finish(), Err(BuildError::ItemCount { expected: 2, found: 1 }));
}

#[test]
fn no_keys_are_a_valid_request() {
    let request = cgroups_request(&[]);
    let (payload, _) = cgroups_response(&request, b"", &[], 16).unwrap();
    assert!(CgroupsResponse::decode(&payload).unwrap().is_empty());
    assert!(AppsRequest::decode(&apps_request(&[])).unwrap().is_empty());
}

fn text(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1u8.., 0..max)
}

proptest! {
    #[test]
    fn cgroups_come_back(
        paths in prop::collection::vec(prop::collection::vec(1u8.., 1..40), 0..8),
        name in text(20),
        labels in prop::collection::vec((prop::collection::vec(1u8.., 1..9), text(9)), 0..5),
    ) {
        let keys: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let labels: Vec<(&[u8], &[u8])> = labels.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        let request = cgroups_request(&keys);
        prop_assert!(CgroupsRequest::decode(&request).unwrap().iter().eq(keys.iter().copied()));
        let (payload, _) = cgroups_response(&request, &name, &labels, 4096).unwrap();
        let response = CgroupsResponse::decode(&payload).unwrap();
        prop_assert_eq!(response.len(), keys.len());
        for (item, key) in response.iter().zip(keys) {
            let item = item.unwrap();
            prop_assert_eq!((item.path, item.name), (key, &name[..]));
            prop_assert!(item.labels.iter().eq(labels.iter().copied()));
        }
    }

    /// Whatever the room: an error, or every key answered in order, whole ones first.
    #[test]
    fn any_room_is_filled_by_the_rules(
        names in prop::collection::vec(0usize..80, 1..8),
        room in 0usize..600,
    ) {
        let paths: Vec<Vec<u8>> = (0..names.len()).map(|i| format!("/{i}").into_bytes()).collect();
        let keys: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let request = cgroups_request(&keys);
        let request = CgroupsRequest::decode(&request).unwrap();
        let mut payload = vec![0; room];
        let filled = CgroupsReply::new(request, &mut payload).and_then(|mut reply| {
            for length in &names {
                reply.known(Orchestrator::UNKNOWN, &vec![b'n'; *length], &[])?;
            }
            reply.finish()
        });
        if let Ok(length) = filled {
            let response = CgroupsResponse::decode(&payload[..length]).unwrap();
            let mut exceeded = false;
            for (index, item) in response.iter().enumerate() {
                let item = item.unwrap();
                prop_assert_eq!(item.path, keys[index]);
                match item.status {
                    CgroupStatus::Known => prop_assert!(!exceeded && item.name.len() == names[index]),
                    CgroupStatus::OversizedItem => prop_assert_eq!(index, 0),
                    _ => exceeded = true,
                }
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_read(
        at in 0usize..300,
        value in any::<u8>(),
        cut in 0usize..50,
    ) {
        let request = cgroups_request(&[b"/a", b"/bc", b"/def"]);
        let labels: Labels<'_> = &[(b"k", b"v"), (b"key", b"value")];
        let (response, _) = cgroups_response(&request, b"name", labels, 1024).unwrap();
        let known = App {
            cgroup: AppCgroup::Known { orchestrator: Orchestrator::KVM, path: b"/c", name: b"n", labels },
            ..PLAIN
        };
        for mut payload in [request, response, app_response(&known), apps_request(&[1, 2])] {
            if let Some(byte) = payload.get_mut(at) {
                *byte = value;
            }
            payload.truncate(payload.len().saturating_sub(cut));
            if let Ok(view) = CgroupsRequest::decode(&payload) {
                prop_assert_eq!(view.iter().count(), view.len());
            }
            if let Ok(view) = AppsRequest::decode(&payload) {
                prop_assert_eq!(view.iter().count(), view.len());
            }
            if let Ok(view) = CgroupsResponse::decode(&payload) {
                for item in view.iter().flatten() {
                    prop_assert!(!item.path.contains(&0));
                    prop_assert!(item.labels.iter().all(|(key, _)| !key.is_empty()));
                }
            }
            if let Ok(view) = AppsResponse::decode(&payload) {
                for item in view.iter().flatten() {
                    prop_assert!(item.comm.len() <= 15);
                    prop_assert!(item.labels.iter().all(|(key, _)| !key.is_empty()));
                }
            }
        }
    }
}
