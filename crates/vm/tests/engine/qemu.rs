//! Programs that are not the QEMU they should be.

use crate::support::{directory, entries, machine};
use belljar_vm::{Cache, Engine, Error, Mode, Qemu, Version};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const BANNER: &str = "QEMU emulator version 10.0.2 (impostor)";

/// A shell script (of a shell that can name descriptors above 9) that says `banner` when it is asked for its version, and otherwise
/// does what `body` says.
fn impostor(directory: &Path, banner: &str, body: &str) -> PathBuf {
    let path = directory.join("qemu-impostor");
    let text = format!("#!/bin/bash\ncase $1 in --version) echo '{banner}';; *) {body};; esac\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn what_is_not_a_qemu_of_use_is_told() {
    let directory = directory();
    let at = |banner: &str| Qemu::at(&impostor(directory.path(), banner, "exit 0")).unwrap_err();
    let found = Version { major: 7, minor: 1, micro: 0 };
    let old = at("QEMU emulator version 7.1.0 (Debian 1:7.1)");
    assert!(matches!(old, Error::QemuTooOld { found: f } if f == found), "{old}");
    assert!(old.to_string().contains("needs 7.2.0 or newer"), "{old}");
    let odd = at("I am no emulator");
    assert!(odd.to_string().contains("qemu-impostor` did not say its version"), "{odd}");
    assert!(matches!(odd, Error::QemuUnknown { answer, .. } if answer == "I am no emulator"));
    let none = Qemu::at(&directory.path().join("none")).unwrap_err();
    assert!(matches!(none, Error::QemuMissing { .. }), "{none}");
    let closed = directory.path().join("closed");
    fs::write(&closed, "").unwrap();
    let closed = Qemu::at(&closed).unwrap_err();
    assert!(closed.to_string().ends_with("closed --version`"), "{closed}");
}

/// What comes of making a template with an impostor; nothing stays behind in any case.
fn template_of(body: &str) -> Error {
    let directory = directory();
    let qemu = Qemu::at(&impostor(directory.path(), BANNER, body)).unwrap();
    let cache = directory.path().join("cache");
    let engine = Engine::new(qemu, Cache::open(&cache).unwrap());
    let error = engine.base(&machine(Mode::Tcg)).unwrap_err();
    assert_eq!(entries(&cache), [""; 0]);
    error
}

#[test]
fn a_qemu_that_ends_at_once_is_told_with_its_last_words() {
    let error = template_of("echo 'no luck today' >&2; exit 3");
    let Error::QemuDied { status, stderr } = &error else { panic!("{error}") };
    assert_eq!((status.as_str(), stderr.as_str()), ("exit status: 3", "no luck today"));
}

#[test]
fn a_qemu_that_talks_nonsense_is_ended() {
    // The descriptor of the conversation is among the arguments.
    let error = template_of(
        "for word; do case $word in socket,id=qmp,fd=*) fd=${word##*=};; esac; done; \
         eval \"echo nonsense >&$fd\"; exec sleep 1000",
    );
    let Error::QemuDied { status, .. } = &error else { panic!("{error}") };
    assert!(status.contains("SIGKILL"), "{status}");
}
