//! The file systems that a program on Linux expects.

use crate::{Failure, sys};
use std::fs;
use std::os::unix::fs::symlink;

/// Kind, place, options, and whether every kernel that belljar runs has it.
const MOUNTS: [(&str, &str, &str, bool); 10] = [
    ("proc", "/proc", "", true),
    ("sysfs", "/sys", "", true),
    ("devtmpfs", "/dev", "", true),
    ("devpts", "/dev/pts", "ptmxmode=0666", false),
    ("tmpfs", "/dev/shm", "", false),
    ("tmpfs", "/tmp", "", true),
    ("tmpfs", "/run", "", true),
    ("cgroup2", "/sys/fs/cgroup", "", false),
    ("bpf", "/sys/fs/bpf", "", false),
    ("debugfs", "/sys/kernel/debug", "", false),
];

/// Mounts them all, and brings up what else a program takes for granted.
pub(crate) fn mount_all() -> Result<(), Failure> {
    for (kind, target, options, required) in MOUNTS {
        // Below /sys the directory is the kernel's to make.
        let _ = fs::create_dir_all(target);
        match sys::mount(kind, target, options) {
            Err(error) if required => {
                return Err(Failure::new(format_args!("mounting {kind} on {target}"), error));
            }
            _ => {}
        }
    }
    let _ = sys::mount("tracefs", "/sys/kernel/tracing", "");
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ] {
        let _ = symlink(target, link);
    }
    // Nothing in a virtual machine without devices makes random numbers, and a
    // program that asks for some would wait for a second. The host seeds them
    // again for every run.
    if let Ok(urandom) = fs::File::options().write(true).open("/dev/urandom") {
        let _ = sys::seed_random(&urandom, *b"belljar template, not a secret.\0");
    }
    let _ = fs::write("/proc/sys/kernel/hostname", "belljar");
    // IFF_UP: a loopback interface that is down surprises every network test.
    let _ = fs::write("/sys/class/net/lo/flags", "0x1");
    Ok(())
}
