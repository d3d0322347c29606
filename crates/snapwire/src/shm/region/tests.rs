use super::*;
use crate::codec::Limit;
use crate::endpoint::SessionId;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

fn terms(profile: Profiles) -> Terms {
    Terms {
        profile,
        request: Limit { payload_bytes: 8192, batch_items: 1 },
        response: Limit { payload_bytes: 65536, batch_items: 1 },
        packet_size: 65536,
        session: SessionId(0xab),
    }
}

fn place() -> (tempfile::TempDir, Endpoint) {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::new(directory.path(), "svc").unwrap();
    (directory, endpoint)
}

/// A region's file with this header.
fn plant(endpoint: &Endpoint, pid: i32, generation: u32) {
    let layout = Layout::for_payloads(Profiles::SHM_HYBRID, 8192, 65536).unwrap();
    let header = RegionHeader { owner_pid: pid, generation, layout };
    let file = File::create(endpoint.region_path(SessionId(0xab))).unwrap();
    file.write_all_at(&header.encode(), 0).unwrap();
    file.set_len(layout.file_len()).unwrap();
}

#[test]
#[cfg(target_endian = "little")]
fn the_header_is_the_contracts() {
    let layout = Layout::for_payloads(Profiles::SHM_HYBRID, 8192, 65536).unwrap();
    let header = RegionHeader { owner_pid: 4321, generation: 99, layout };
    let hex: String = header.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "4d48534e03004000e11000006300000040000000402000008020000040000100");
}

#[test]
fn a_region_is_the_owners_alone_and_goes_with_it() {
    for profile in [Profiles::SHM_HYBRID, Profiles::SHM_WAITERS] {
        let (_directory, endpoint) = place();
        let terms = terms(profile);
        let path = endpoint.region_path(terms.session);
        let server = Region::create(&endpoint, &terms).unwrap();
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o600);
        assert!(file.blocks() * 512 >= file.len(), "all of it is reserved");
        let client = Region::attach(&endpoint, &terms).unwrap();
        let areas =
            |region| [Way::Request, Way::Response].map(|way| &Region::direction(region, way).area);
        let ([asked, answered], [request, response]) = (areas(&client), areas(&server));
        assert!((8192 + 32..8192 + 128).contains(&asked.len()));
        assert!((65536 + 32..65536 + 128).contains(&answered.len()));
        asked.write(8, b"there");
        response.write(0, b"back");
        let (mut there, mut back) = ([0; 5], [0; 4]);
        request.read(8, &mut there);
        answered.read(0, &mut back);
        assert_eq!((&there, &back), (b"there", b"back"));
        drop(client);
        assert!(path.exists());
        drop(server);
        assert!(!path.exists());
    }
}

#[test]
fn a_live_region_is_kept_and_a_foreign_file_under_the_name_is_not_removed_later() {
    let (_directory, endpoint) = place();
    let terms = terms(Profiles::SHM_HYBRID);
    let path = endpoint.region_path(terms.session);
    let first = Region::create(&endpoint, &terms).unwrap();
    let second = Region::create(&endpoint, &terms).unwrap_err();
    assert!(matches!(second, Error::Region { problem: RegionProblem::InUse, .. }), "{second}");
    assert_eq!(sweep(&endpoint).unwrap(), 0);
    // One of another version is nothing that can be used, and still somebody's.
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&4u16.to_ne_bytes(), 4).unwrap();
    assert_eq!(sweep(&endpoint).unwrap(), 0);
    let third = Region::create(&endpoint, &terms).unwrap_err();
    assert!(matches!(third, Error::Region { problem: RegionProblem::InUse, .. }), "{third}");
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    std::fs::write(&path, "somebody else's").unwrap();
    drop(first);
    assert!(path.exists());
}

#[test]
fn what_dead_servers_left_is_reclaimed() {
    type Plant = fn(&Endpoint);
    let path = |endpoint: &Endpoint| endpoint.region_path(SessionId(0xab));
    let plants: [(&str, Plant); 9] = [
        ("dead pid", |endpoint| plant(endpoint, i32::MAX, 1)),
        ("pid in use again", |endpoint| plant(endpoint, std::process::id().cast_signed(), 1)),
        ("no pid", |endpoint| plant(endpoint, 0, 1)),
        ("negative pid", |endpoint| plant(endpoint, -1, 1)),
        ("generation 0", |endpoint| plant(endpoint, std::process::id().cast_signed(), 0)),
        ("short", |e| std::fs::write(e.region_path(SessionId(0xab)), "x").unwrap()),
        ("bad magic", |e| std::fs::write(e.region_path(SessionId(0xab)), [7; 99]).unwrap()),
        ("directory", |e| std::fs::create_dir(e.region_path(SessionId(0xab))).unwrap()),
        ("link", |endpoint| {
            let target = endpoint.run_dir().join("target");
            std::fs::write(&target, "precious").unwrap();
            symlink(target, endpoint.region_path(SessionId(0xab))).unwrap();
        }),
    ];
    for (what, plant) in plants {
        let (directory, endpoint) = place();
        plant(&endpoint);
        // A neighbour whose name starts alike, and who has died as well.
        let neighbour = directory.path().join("svc-b-00000000000000ab.ipcshm");
        std::fs::write(&neighbour, "x").unwrap();
        assert_eq!(sweep(&endpoint).unwrap(), 1, "{what}");
        assert!(std::fs::symlink_metadata(path(&endpoint)).is_err(), "{what}");
        assert!(neighbour.exists());
        plant(&endpoint);
        assert!(Region::create(&endpoint, &terms(Profiles::SHM_HYBRID)).is_ok(), "{what}");
        let target = directory.path().join("target");
        assert!(what != "link" || std::fs::read(target).unwrap() == b"precious");
    }
}

#[test]
fn a_region_is_checked_before_it_is_used() {
    let attach = |change: &dyn Fn(&File)| {
        let (_directory, endpoint) = place();
        plant(&endpoint, std::process::id().cast_signed(), 1);
        let path = endpoint.region_path(SessionId(0xab));
        let file = File::options().read(true).write(true).open(path).unwrap();
        change(&file);
        Region::attach(&endpoint, &terms(Profiles::SHM_HYBRID)).map(drop)
    };
    let word = |at: u64, value: u32| {
        attach(&move |file: &File| file.write_all_at(&value.to_ne_bytes(), at).unwrap())
    };
    assert!(attach(&|_| ()).is_ok());
    assert!(matches!(word(0, 0), Err(RegionProblem::BadMagic)));
    assert!(matches!(word(4, 0x0040_0002), Err(RegionProblem::BadVersion)));
    assert!(matches!(word(4, 0x003f_0003), Err(RegionProblem::BadHeader)));
    assert!(matches!(word(16, 32), Err(RegionProblem::NotReady)));
    assert!(matches!(word(20, 0), Err(RegionProblem::NotReady)));
    assert!(matches!(word(24, 0), Err(RegionProblem::NotReady)));
    assert!(matches!(word(28, 0), Err(RegionProblem::NotReady)));
    assert!(matches!(word(16, 65), Err(RegionProblem::BadSize)));
    assert!(matches!(word(20, 0xffff_ffc0), Err(RegionProblem::BadSize)), "it overflows");
    assert!(matches!(word(24, 128), Err(RegionProblem::BadSize)), "they overlap");
    assert!(matches!(word(28, 0x7fff_ffc0), Err(RegionProblem::BadSize)), "beyond the file");
    assert!(matches!(attach(&|file| file.set_len(63).unwrap()), Err(RegionProblem::NotReady)));
    assert!(matches!(attach(&|file| file.set_len(64).unwrap()), Err(RegionProblem::BadSize)));
}

#[test]
fn a_region_that_is_said_to_be_huge_takes_no_memory_before_it_is_used() {
    let (_directory, endpoint) = place();
    plant(&endpoint, std::process::id().cast_signed(), 1);
    let path = endpoint.region_path(SessionId(0xab));
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&(1u32 << 30).to_ne_bytes(), 28).unwrap();
    file.set_len(2 << 30).unwrap();
    let region = Region::attach(&endpoint, &terms(Profiles::SHM_HYBRID)).unwrap();
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let ours = &maps[maps.find(path.to_str().unwrap()).unwrap()..];
    let kib = |what| -> u64 {
        let found = ours.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        found.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    };
    assert!(kib("Rss:") < 1 << 10, "{} KiB", kib("Rss:"));
    // The rest of the file does not matter.
    assert!(kib("Size:") < 1025 << 10, "{} KiB", kib("Size:"));
    drop(region);
}

#[test]
fn limits_that_no_region_can_hold_are_refused() {
    let (_directory, endpoint) = place();
    let huge = Limit { payload_bytes: u32::MAX, batch_items: 1 };
    let error = Region::create(&endpoint, &Terms { request: huge, ..terms(Profiles::SHM_HYBRID) });
    assert!(matches!(error, Err(Error::Region { problem: RegionProblem::TooLarge, .. })));
}
