//! Real kernels from the mirror that this machine uses. Run with `BELLJAR_TEST_NETWORK=1`.

use belljar_kernel::{Ability, Error, Event, Need, Source, Store, Support};

#[test]
fn kernels_of_debian_suites() {
    if std::env::var_os("BELLJAR_TEST_NETWORK").is_none_or(|value| value != "1") {
        eprintln!(
            "NOT RUN: set BELLJAR_TEST_NETWORK=1 to fetch kernels from this machine's Debian mirror"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let fetch = |text: &str| {
        let source: Source = text.parse().unwrap();
        store.fetch(&source, &|event: &Event| eprintln!("{text}: {event}"))
    };

    let old = fetch("debian:bookworm").unwrap();
    let new = fetch("debian:sid").unwrap();
    for kernel in [&old, &new] {
        store.verify(kernel.id()).unwrap();
        let abilities = kernel.abilities().unwrap();
        eprintln!("{}\n{abilities}", kernel.id());
        assert_eq!(abilities.support(Ability::Pvh), &Support::Builtin);
        assert_eq!(abilities.support(Ability::TcpDiag), &Support::Module);
        let modules = kernel.module_closure(&["tcp_diag"]).unwrap();
        let names: Vec<&str> = modules.iter().map(|module| &*module.name).collect();
        assert_eq!(names, ["inet_diag", "tcp_diag"]);
        assert!(modules[1].read().unwrap().starts_with(b"\x7fELF"));
    }
    assert!(old.release().starts_with("6.1."), "bookworm's own kernel, not that of another suite");
    let sched_ext = [Need::Ability(Ability::SchedExt)];
    let have = store.who_has(&sched_ext).unwrap();
    assert_eq!(have.iter().map(|kernel| kernel.id()).collect::<Vec<_>>(), [new.id()]);

    let again = store.refresh(&"debian:sid".parse().unwrap(), &|event: &Event| {
        assert!(!matches!(event, Event::Downloading { .. }), "nothing has changed");
    });
    assert_eq!(again.unwrap().id(), new.id());
    assert!(
        matches!(fetch("debian:sidd"), Err(Error::UnknownSuite { closest: Some(it), .. }) if it == "sid")
    );
    assert!(
        matches!(fetch("debian:bookworm:4.4"), Err(Error::UnknownVersion { available, .. }) if !available.is_empty())
    );
}
