//! The cache as its users see it, with a package made here: no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use belljar_kernel::{Error, Event, Image, Listed, Need, Source, Store};

/// A directory with a package of kernel 6.6.6-test, and a cache.
struct Fixture {
    dir: tempfile::TempDir,
}

const CONFIG: &str = "CONFIG_PSI=y\nCONFIG_INET_DIAG=m\n# CONFIG_SCHED_CLASS_EXT is not set\n";

impl Fixture {
    /// `None`, and a word about it, where packages cannot be made.
    fn new() -> Option<Self> {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        let package = fixture.dir.path().join("package");
        let write = |path: &str, bytes: &[u8]| {
            let path = package.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let control = "Package: linux-image-6.6.6-test\nVersion: 6.6.6-1\nArchitecture: all\n\
                       Maintainer: nobody <nobody@localhost>\nDescription: a test\n";
        write("DEBIAN/control", control.as_bytes());
        write("boot/vmlinuz-6.6.6-test", &boot_image());
        write("boot/config-6.6.6-test", CONFIG.as_bytes());
        write("boot/System.map-6.6.6-test", b"elsewhere\n");
        for module in ["inet_diag", "tcp_diag"] {
            write(&format!("lib/modules/6.6.6-test/kernel/{module}.ko"), module.as_bytes());
        }
        let dep = "kernel/tcp_diag.ko: kernel/inet_diag.ko\nkernel/inet_diag.ko:\n";
        write("lib/modules/6.6.6-test/modules.dep", dep.as_bytes());
        write("lib/modules/6.6.6-test/modules.builtin", b"kernel/overlay.ko\n");
        std::os::unix::fs::symlink("/etc/passwd", package.join("lib/modules/6.6.6-test/build"))
            .unwrap();
        std::os::unix::fs::symlink("/etc/passwd", package.join("lib/modules/6.6.6-test/x.ko"))
            .unwrap();
        match fixture.pack() {
            Ok(()) => Some(fixture),
            Err(reason) => {
                eprintln!("NOT RUN: dpkg-deb cannot make a package here: {reason}");
                None
            }
        }
    }

    fn pack(&self) -> Result<(), String> {
        let mut command = Command::new("dpkg-deb");
        command.args(["--build", "-Znone"]).arg(self.dir.path().join("package")).arg(self.deb());
        let output = command.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    fn deb(&self) -> PathBuf {
        self.dir.path().join("kernel.deb")
    }

    fn source(&self) -> Source {
        Source::Deb(vec![self.deb()])
    }

    fn store(&self) -> Store {
        Store::open(&self.dir.path().join("cache")).unwrap()
    }

    fn staged(&self) -> usize {
        fs::read_dir(self.store().root().join(".state/staging")).map_or(0, Iterator::count)
    }
}

/// A boot image that holds an ELF header, packed by nothing.
fn boot_image() -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[0x1f1] = 1;
    bytes[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    bytes[0x20e..0x210].copy_from_slice(&0x0180_u16.to_le_bytes());
    bytes[0x380..0x38b].copy_from_slice(b"6.6.6-test ");
    bytes[0x24c..0x250].copy_from_slice(&64_u32.to_le_bytes());
    bytes.extend(b"\x7fELF\x02\x01");
    bytes.resize(1024 + 64, 0);
    assert_eq!(Image::new(&bytes).release().as_deref(), Some("6.6.6-test"));
    bytes
}

fn quiet(_: &Event) {}

#[test]
fn a_package_cannot_reach_outside_of_itself() {
    let Some(fixture) = Fixture::new() else { return };
    let victim = fixture.dir.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("vmlinuz-6.6.6-test"), boot_image()).unwrap();
    let package = fixture.dir.path().join("package");
    fs::remove_dir_all(package.join("boot")).unwrap();
    std::os::unix::fs::symlink(&victim, package.join("boot")).unwrap();
    fixture.pack().unwrap();
    let error = fixture.store().fetch(&fixture.source(), &quiet).unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }), "{error}");
    assert!(victim.join("vmlinuz-6.6.6-test").is_file(), "it was moved out of its place");
}

#[test]
fn a_package_becomes_a_kernel() {
    let Some(fixture) = Fixture::new() else { return };
    let store = fixture.store();
    let kernel = store.fetch(&fixture.source(), &quiet).unwrap();

    assert!(kernel.id().starts_with("deb-6.6.6-test-"), "{}", kernel.id());
    assert_eq!((kernel.release(), &*kernel.manifest().version), ("6.6.6-test", "6.6.6-1"));
    assert!(kernel.vmlinux().is_file() && kernel.vmlinuz().is_some_and(|path| path.is_file()));
    assert_eq!(kernel.system_map(), None, "one line is no table of symbols");
    let names: Vec<String> = kernel
        .module_closure(&["tcp-diag", "overlay"])
        .unwrap()
        .into_iter()
        .map(|module| module.name)
        .collect();
    assert_eq!(names, ["inet_diag", "tcp_diag"]);
    let error = kernel.module_closure(&["tcp_dlag"]).unwrap_err().to_string();
    assert_eq!(error, "kernel 6.6.6-test has no module `tcp_dlag`; did you mean `tcp_diag`?");
    assert!(!kernel.modules_dir().join("x.ko").exists(), "links in packages are not followed");

    let needs =
        |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Need>>();
    let lacks = kernel.missing(&needs(&["psi", "inet_diag", "sched_ext", "pvh"])).unwrap();
    let lacks: Vec<String> = lacks.iter().map(ToString::to_string).collect();
    assert_eq!(
        lacks,
        [
            "sched-ext: CONFIG_SCHED_CLASS_EXT is not set",
            "pvh: vmlinux has no PVH note (CONFIG_PVH)"
        ]
    );
    assert_eq!(store.who_has(&needs(&["psi"])).unwrap().len(), 1);
    assert!(store.who_has(&needs(&["sched-ext"])).unwrap().is_empty());
}

#[test]
fn kernels_are_found_by_every_name() {
    let Some(fixture) = Fixture::new() else { return };
    let store = fixture.store();
    assert!(store.get("6.6").unwrap_err().to_string().ends_with("the cache is empty"));
    let source = fixture.source();
    let id = store.fetch(&source, &quiet).unwrap().id().to_owned();
    for query in [&id, &id[..8], "6.6.6-1", "6.6", "6.6.6-test", &source.to_string()] {
        assert_eq!(store.get(query).unwrap().id(), id, "{query}");
    }
    assert!(matches!(store.get("7.0"), Err(Error::NotFound { .. })));

    // The same kernel from another source is kept once.
    let copy = fixture.dir.path().join("copy.deb");
    fs::copy(fixture.deb(), &copy).unwrap();
    assert_eq!(store.fetch(&Source::Deb(vec![copy]), &quiet).unwrap().id(), id);
    assert_eq!(store.list().unwrap().len(), 1);

    assert!(store.default_kernel().unwrap().is_none());
    store.set_default("6.6").unwrap();
    assert_eq!(store.default_kernel().unwrap().unwrap().id(), id);
    assert_eq!(store.remove("6.6").unwrap(), id);
    assert!(store.default_kernel().unwrap().is_none() && store.list().unwrap().is_empty());
    assert_eq!(fixture.staged(), 0);
}

#[test]
fn a_cached_source_needs_its_file_no_more_and_notices_a_change() {
    let Some(fixture) = Fixture::new() else { return };
    let store = fixture.store();
    let id = store.fetch(&fixture.source(), &quiet).unwrap().id().to_owned();
    let events = Mutex::new(Vec::new());
    let record = |event: &Event| events.lock().unwrap().push(event.clone());
    let away = fixture.dir.path().join("away");
    fs::rename(fixture.deb(), &away).unwrap();
    store.fetch(&fixture.source(), &record).unwrap();
    assert_eq!(*events.lock().unwrap(), [Event::Found { id }]);

    fs::write(fixture.deb(), "no package").unwrap();
    let error = store.fetch(&fixture.source(), &quiet).unwrap_err().to_string();
    assert!(error.starts_with("`dpkg-deb -x ") && error.contains("kernel.deb"), "{error}");
}

#[test]
fn a_damaged_kernel_is_reported_and_rebuilt() {
    let Some(fixture) = Fixture::new() else { return };
    let store = fixture.store();
    let kernel = store.fetch(&fixture.source(), &quiet).unwrap();
    let mut bytes = fs::read(kernel.vmlinux()).unwrap();
    bytes[9] ^= 1;
    fs::write(kernel.vmlinux(), &bytes).unwrap();
    let error = store.verify("6.6").unwrap_err().to_string();
    assert!(
        error.contains("vmlinux has another content") && error.contains("fetch `deb:"),
        "{error}"
    );

    fs::write(kernel.vmlinux(), &bytes[..9]).unwrap();
    let error = store.get(kernel.id()).unwrap_err().to_string();
    assert!(error.contains("vmlinux has 9 bytes instead of 64"), "{error}");
    assert!(matches!(&store.list().unwrap()[..], [Listed::Corrupt { .. }]));
    let rebuilt = Mutex::new(false);
    let watch =
        |event: &Event| *rebuilt.lock().unwrap() |= matches!(event, Event::Rebuilding { .. });
    store.fetch(&fixture.source(), &watch).unwrap();
    assert!(*rebuilt.lock().unwrap());
    store.verify("6.6").unwrap();

    fs::write(kernel.dir().join("kernel.json"), "{\"format\": 99}").unwrap();
    let error = store.get(kernel.id()).unwrap_err().to_string();
    assert!(error.contains("its format is 99, this version reads 1"), "{error}");
    store.remove(kernel.id()).unwrap();
}

#[test]
fn two_fetches_at_once_do_the_work_once() {
    let Some(fixture) = Fixture::new() else { return };
    let (waits, waiting) = mpsc::channel();
    let waiting = Mutex::new(waiting);
    let unpacked = Mutex::new(0);
    thread::scope(|scope| {
        let (begins, begun) = mpsc::channel();
        let (fixture, unpacked, waiting) = (&fixture, &unpacked, &waiting);
        scope.spawn(move || {
            let first = |event: &Event| {
                if matches!(event, Event::Unpacking { .. }) {
                    *unpacked.lock().unwrap() += 1;
                    begins.send(()).unwrap();
                    waiting.lock().unwrap().recv().unwrap();
                }
            };
            fixture.store().fetch(&fixture.source(), &first).unwrap();
        });
        begun.recv().unwrap();
        let second = |event: &Event| match event {
            Event::Waiting { .. } => waits.send(()).unwrap(),
            Event::Unpacking { .. } => *unpacked.lock().unwrap() += 1,
            _ => {}
        };
        fixture.store().fetch(&fixture.source(), &second).unwrap();
    });
    assert_eq!(*unpacked.lock().unwrap(), 1);
    assert_eq!(fixture.staged(), 0);
}

const CHILD: &str = "BELLJAR_KERNEL_TEST_CHILD";

/// Not a test by itself: the process that the next test kills in the middle of a fetch.
#[test]
fn child_that_stops_in_the_middle() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let dir = Path::new(&dir);
    let stop = |event: &Event| {
        if matches!(event, Event::Indexing { .. }) {
            fs::write(dir.join("stopped"), "").unwrap();
            thread::sleep(Duration::from_secs(600));
        }
    };
    let store = Store::open(&dir.join("cache")).unwrap();
    store.fetch(&Source::Deb(vec![dir.join("kernel.deb")]), &stop).unwrap();
}

#[test]
fn a_killed_fetch_leaves_nothing() {
    let Some(fixture) = Fixture::new() else { return };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_stops_in_the_middle"])
        .env(CHILD, fixture.dir.path())
        .spawn()
        .unwrap();
    let child = Mutex::new(Killed(child));
    while !fixture.dir.path().join("stopped").exists() {
        assert!(child.lock().unwrap().0.try_wait().unwrap().is_none(), "the child ended early");
        thread::sleep(Duration::from_millis(10));
    }
    // Another source may be fetched meanwhile, and leaves the child's work alone.
    let store = fixture.store();
    let other = fixture.dir.path().join("vmlinuz");
    fs::write(&other, boot_image()).unwrap();
    store.fetch(&Source::Image { image: other, modules: None, config: None }, &quiet).unwrap();
    assert_eq!(fixture.staged(), 1);

    // The same source waits; when the child dies, the work is done from the start.
    let events = Mutex::new(Vec::new());
    let watch = |event: &Event| {
        events.lock().unwrap().push(event.clone());
        if matches!(event, Event::Waiting { .. }) {
            assert_eq!(store.list().unwrap().len(), 1, "nothing of the child's is to be seen");
            child.lock().unwrap().kill();
        }
    };
    let kernel = store.fetch(&fixture.source(), &watch).unwrap();
    let events = events.into_inner().unwrap();
    assert!(
        matches!(events[..], [Event::Waiting { .. }, Event::Unpacking { .. }, ..]),
        "{events:?}"
    );
    store.verify(kernel.id()).unwrap();
    assert_eq!(fixture.staged(), 0);
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Killed {
    /// SIGKILL, and its end is awaited.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
