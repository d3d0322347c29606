//! Compiles the agent (`src/agent/main.rs`) into a static program and leaves it
//! in `OUT_DIR`, from where the library embeds it.
//!
//! The agent is PID 1 of every VM and part of every template's key. It must not
//! change when a test is edited, and it must run where nothing else exists, so
//! it cannot be the test binary; and a crate that is used as a dev-dependency
//! alone has no other way to bring a second program along.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=src");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("agent");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    if !target.starts_with("x86_64-") || !target.contains("linux") {
        panic!("belljar runs x86_64 Linux guests on x86_64 Linux hosts; this target is {target}");
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let manifest_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut command = Command::new(rustc);
    command
        .current_dir(&manifest_dir)
        .arg("src/agent/main.rs")
        .args(["--crate-name", "belljar_agent", "--crate-type", "bin", "--edition", "2024"])
        .args(["--target", &target])
        .args(["-C", "opt-level=2", "-C", "panic=abort", "-C", "codegen-units=1"])
        .args(["-C", "strip=symbols", "-C", "debuginfo=0"])
        // No loader and no libraries exist when the kernel starts it.
        .args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"])
        // The same source must give the same bytes wherever the checkout stands:
        // they are hashed into every template's key.
        .arg(format!("--remap-path-prefix={}=guest", manifest_dir.display()))
        .arg("-o")
        .arg(&out);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    let status = command.status().expect("rustc can be started");
    assert!(
        status.success(),
        "the agent did not compile; a static C library is needed (Debian: libc6-dev)"
    );
    let bytes = fs::metadata(&out).expect("rustc wrote the agent").len();
    assert!(bytes > 0, "rustc wrote an empty agent");
}
