//! `cargo belljar doctor`: what is here, what is missing, and how to get it.

use crate::args::DoctorArgs;
use crate::cache::Sizes;
use crate::failure::Exit;
use crate::output::{data, json, say, size};
use crate::shell::on_path;
use crate::{kernel, template};
use belljar::host::cache_root;
use belljar_kernel::Kernel;
use belljar_vm::{Engine, KvmProbe, Qemu};
use serde::Serialize;
use std::fs;
use std::thread;

/// How much that is missing matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It is here.
    Ok,
    /// Tests run without it.
    Note,
    /// No test runs without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Finding {
        Finding { name, state: State::Ok, found: found.into(), advice: None }
    }

    fn other(name: &'static str, state: State, found: impl Into<String>, advice: &str) -> Finding {
        Finding { name, state, found: found.into(), advice: Some(advice.to_owned()) }
    }
}

/// Looks, and says what it found.
pub(crate) fn doctor(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let qemu = Qemu::find();
    let kernel = kernel::open().and_then(|store| kernel::chosen(&store));
    let mut findings = vec![qemu_finding(&qemu)];
    if let Ok(qemu) = &qemu {
        findings.push(match qemu.det_caveat() {
            None => Finding::ok("det", "turns are fair"),
            Some(caveat) => Finding::other("det", State::Note, caveat, BACKPORTS),
        });
    }
    findings.push(match &kernel {
        Ok(kernel) => Finding::ok("kernel", kernel.id()),
        Err(error) => {
            let advice = "cargo belljar kernel fetch debian:sid (tests fetch it by themselves too)";
            Finding::other("kernel", State::Missing, format!("{error:#}"), advice)
        }
    });
    if !args.no_probe {
        findings.extend(kvm(qemu.ok(), kernel.ok()));
    }
    findings.push(cache());
    findings.push(packages());
    findings.push(memory());
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    findings.push(Finding::ok("cores", cores.to_string()));
    findings.push(match on_path("cargo-nextest") {
        Some(path) => Finding::ok("nextest", path.display().to_string()),
        None => {
            let advice = "cargo install cargo-nextest, if you want to run tests with it";
            Finding::other("nextest", State::Note, "not installed", advice)
        }
    });
    let is_ready = findings.iter().all(|finding| finding.state != State::Missing);
    if args.json {
        json(&serde_json::json!({ "ready": is_ready, "findings": findings }))?;
    } else {
        for finding in &findings {
            let mark = match finding.state {
                State::Ok => "ok",
                State::Note => "note",
                State::Missing => "MISSING",
            };
            data(format_args!("{mark:>8}  {:<9} {}", finding.name, finding.found))?;
            if let Some(advice) = &finding.advice {
                data(format_args!("{:>19}  {advice}", "->"))?;
            }
        }
        say(if is_ready { "tests can run here" } else { "tests cannot run here yet" });
    }
    Ok(if is_ready { Exit::Fine } else { Exit::Setup })
}

const BACKPORTS: &str = "a newer QEMU is in Debian's backports: apt-get install -t \
                         bookworm-backports qemu-system-x86";

fn qemu_finding(qemu: &Result<Qemu, belljar_vm::Error>) -> Finding {
    match qemu {
        Ok(qemu) => {
            let found = format!("{} at {}", qemu.version(), qemu.program().display());
            Finding::ok("qemu", found)
        }
        Err(error) => {
            let advice = "apt-get install qemu-system-x86";
            Finding::other("qemu", State::Missing, error.to_string(), advice)
        }
    }
}

/// Whether KVM works, which takes a kernel to find out.
fn kvm(qemu: Option<Qemu>, kernel: Option<Kernel>) -> Option<Finding> {
    let (qemu, kernel) = (qemu?, kernel?);
    let engine = Engine::new(qemu, template::open().ok()?);
    let probe = KvmProbe::of_host(&engine, &kernel.vmlinux(), kernel.id());
    let reason = probe.reason.lines().next().unwrap_or_default();
    Some(if probe.works {
        Finding::ok("kvm", reason)
    } else {
        let advice = "tests run without it, in tcg and det";
        Finding::other("kvm", State::Note, reason, advice)
    })
}

fn cache() -> Finding {
    let advice = "set XDG_CACHE_HOME to a directory that can be written to";
    let missing = |error: String| Finding::other("cache", State::Missing, error, advice);
    let root = match cache_root() {
        Ok(root) => root,
        Err(error) => return missing(error.to_string()),
    };
    let sizes = match Sizes::measure() {
        Ok(sizes) => sizes,
        Err(error) => return missing(format!("{error:#}")),
    };
    let free = rustix::fs::statvfs(&root).map(|space| space.f_bavail * space.f_frsize);
    let free = free.unwrap_or_default();
    let found = format!(
        "{}: {} ({}), {} ({}), {} free",
        root.display(),
        sizes.kernel_words(),
        size(sizes.kernel_bytes),
        sizes.template_words(),
        size(sizes.template_bytes),
        size(free),
    );
    if free < 2 << 30 {
        let advice = "templates take some 100 MiB each: cargo belljar cache gc, or move the cache \
                      with XDG_CACHE_HOME";
        return Finding::other("cache", State::Note, found, advice);
    }
    Finding::ok("cache", found)
}

/// The programs that `debian:` sources need.
fn packages() -> Finding {
    let missing: Vec<&str> = ["apt-get", "apt-cache", "dpkg-deb"]
        .into_iter()
        .filter(|program| on_path(program).is_none())
        .collect();
    if missing.is_empty() {
        return Finding::ok("packages", "apt and dpkg are here for `debian:` kernels");
    }
    let found = format!("{} missing", missing.join(", "));
    let advice = "fetch kernels from elsewhere: tree:DIR, image:VMLINUZ or host";
    Finding::other("packages", State::Note, found, advice)
}

fn memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let bytes = kib.unwrap_or_default() << 10;
    let found = format!("{} available", size(bytes));
    if bytes < 1 << 30 {
        let advice = "a machine has 512 MiB unless a test or belljar.toml says otherwise";
        return Finding::other("memory", State::Note, found, advice);
    }
    Finding::ok("memory", found)
}
