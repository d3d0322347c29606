//! Disks that are full, or become so.

use crate::support::{
    again, boots, directory, engine, entries, fork, given, machine, output, payload,
};
use belljar_vm::{Cache, Engine, Error, Mode, Progress, Qemu};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a test of this binary in a mount namespace with a small file system.
fn on_small_file_system(test: &str, mib: u32) {
    let directory = directory();
    let inner = again(test, directory.path());
    let mount = format!("mount -t tmpfs -o size={mib}m none \"$DIRECTORY\"; exec \"$@\"");
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "--propagation", "private", "sh", "-ec", &mount, "sh"]);
    outer.arg(inner.get_program()).args(inner.get_args()).env("DIRECTORY", directory.path());
    assert!(outer.status().unwrap().success());
}

#[test]
fn too_little_room_is_an_error_before_anything_is_done() {
    on_small_file_system("disk::with_too_little_room", 100);
}

#[test]
#[ignore = "run by another test, with a small file system of its own"]
fn with_too_little_room() {
    let (engine, heard) = engine(&given());
    let error = engine.base(&machine(Mode::Tcg)).unwrap_err();
    let Error::NoSpace { place, free_mib, needed_mib } = &error else { panic!("{error}") };
    assert_eq!(place, &given());
    assert!(*free_mib <= 100 && *needed_mib > 192, "{error}");
    assert!(heard.lock().unwrap().is_empty());
    assert_eq!(entries(&given()), [""; 0]);
}

#[test]
fn room_that_goes_while_a_template_is_written_is_told() {
    on_small_file_system("disk::with_room_that_goes", 600);
}

#[test]
#[ignore = "run by another test, with a small file system of its own"]
fn with_room_that_goes() {
    let filling = given().join("filling");
    // While the kernel boots, and its memory is being written.
    let error = filled_when(|progress| matches!(progress, Progress::Booting(_)), 30).unwrap_err();
    assert!(matches!(error, Error::NoSpace { needed_mib: 256, .. }), "{error}");
    assert_eq!(entries(&given()), [""; 0]);
    // While a booted machine's memory is being copied.
    fs::remove_file(&filling).unwrap();
    let error = filled_when(|progress| matches!(progress, Progress::Layering(_)), 5).unwrap_err();
    assert!(matches!(error, Error::NoSpace { needed_mib: 256, .. }), "{error}");
    assert_eq!(entries(&given()).len(), 1, "the base stays");
    // With room all is well, and what was whole is still good.
    fs::remove_file(&filling).unwrap();
    let (engine, heard) = engine(&given());
    assert_eq!(output(fork(&engine, "w"), "cat /word"), "w");
    assert_eq!(boots(&heard), 0);
}

/// Makes a template, and fills the disk but for `left_mib` at a certain moment.
fn filled_when(
    moment: impl Fn(&Progress) -> bool + Send + Sync + 'static,
    left_mib: u64,
) -> Result<(), Error> {
    let cache = Cache::open(&given()).unwrap();
    let engine = Engine::new(Qemu::find().unwrap(), cache).progress(move |progress| {
        if moment(progress) {
            fill(&given().join("filling"), left_mib);
        }
    });
    let base = engine.base(&machine(Mode::Tcg))?;
    engine.layer(&base, &payload("w")).map(drop)
}

fn fill(path: &Path, left_mib: u64) {
    let mut file = File::create(PathBuf::from(path)).unwrap();
    while file.write_all(&[1; 1 << 16]).is_ok() {}
    let len = file.metadata().unwrap().len();
    file.set_len(len.saturating_sub(left_mib << 20)).unwrap();
}
