//! Compiles the scheduler (`src/bpf/belljar.bpf.c`) with clang and generates its Rust side.

use libbpf_cargo::SkeletonBuilder;
use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SOURCE: &str = "src/bpf/belljar.bpf.c";
/// Compilers known to work, the most likely name first.
const COMPILERS: [&str; 5] = ["clang", "clang-19", "clang-18", "clang-17", "clang-16"];

fn main() {
    println!("cargo::rerun-if-changed=src/bpf");
    println!("cargo::rerun-if-env-changed=BPF_CLANG");
    println!("cargo::rerun-if-env-changed=PATH");
    let candidates = match env::var("BPF_CLANG") {
        Ok(chosen) if !chosen.is_empty() => vec![chosen],
        _ => COMPILERS.map(str::to_owned).to_vec(),
    };
    let Some(clang) = candidates.iter().find(|name| works(name)) else {
        panic!(
            "scx-belljar is built with clang, and none of {candidates:?} can be started. \
             On Debian: apt-get install clang-19 libelf-dev zlib1g-dev pkg-config make. \
             A clang elsewhere is named with BPF_CLANG=/path/to/clang"
        );
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    SkeletonBuilder::new()
        .source(SOURCE)
        .clang(clang)
        .clang_args(["-mcpu=v3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"])
        .build_and_generate(out.join("belljar.skel.rs"))
        .unwrap_or_else(|error| panic!("{clang} cannot compile {SOURCE}: {error:#}"));
}

fn works(compiler: &str) -> bool {
    let mut command = Command::new(compiler);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
