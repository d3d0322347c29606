//! What a kernel's console says about the end of a run.

/// A fault that a kernel reported on its console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelFault {
    /// `Kernel panic - not syncing: ...`
    Panic(String),
    /// An oops, a BUG or a general protection fault: its first line.
    Oops(String),
    /// There was no memory left: who was killed for it, if somebody was.
    OutOfMemory(Option<String>),
}

/// The gravest fault in a console's text, if there is one.
pub fn kernel_fault(console: &str) -> Option<KernelFault> {
    let find = |needles: &[&str]| {
        console.lines().find_map(|line| {
            needles.iter().find_map(|needle| Some(line[line.find(needle)?..].trim().to_owned()))
        })
    };
    let oops = find(&[
        "BUG: ",
        "Oops: ",
        "kernel BUG at",
        "general protection fault",
        "Unable to handle kernel",
        "divide error:",
        "invalid opcode:",
        "watchdog: BUG: soft lockup",
    ]);
    let memory = find(&["Out of memory: Killed process", "Memory cgroup out of memory: Killed"]);
    let panic = find(&["Kernel panic - not syncing"]);
    // A panic for want of memory, or that an oops was made into, is no reason of its own.
    let is_for_memory = |line: &str| {
        line.contains("Out of memory") || line.contains("System is deadlocked on memory")
    };
    let of_panic = |line: String| match is_for_memory(&line) {
        true => KernelFault::OutOfMemory(memory.as_deref().map(victim)),
        false => KernelFault::Panic(line),
    };
    oops.map(KernelFault::Oops)
        .or_else(|| panic.map(of_panic))
        .or_else(|| Some(KernelFault::OutOfMemory(Some(victim(memory.as_deref()?)))))
}

/// Whether a kernel fell over a breakpoint that was no longer in its code.
///
/// Kernels patch their code with the help of breakpoints (jump labels, tracing), and QEMU's threads can
/// execute a translation of one that another CPU has just taken out: `Oops: int3`, and in the code that
/// the kernel prints there is no 0xcc before the place. It happens once in thousands of patches, to no
/// fault of the guest's (<https://bugzilla.redhat.com/show_bug.cgi?id=2216496>). One thread for all
/// CPUs, as in `det`, does not have it.
pub fn is_stale_breakpoint(console: &str) -> bool {
    let mut lines = console.lines().skip_while(|line| !line.contains("Oops: int3:"));
    let code = lines.find_map(|line| Some(line.split_once("Code: ")?.1));
    let before = code.and_then(|code| code.split_once(" <")).map(|(before, _)| before);
    before.is_some_and(|before| !before.ends_with("cc"))
}

/// `PID (name)` out of the kernel's long line.
fn victim(line: &str) -> String {
    let from = line.find("process ").map_or(line, |at| &line[at + "process ".len()..]);
    let end = from.find([',', ' ']).unwrap_or(from.len());
    match (from.find('('), from.find(')')) {
        (Some(open), Some(close)) if open < close => from[..=close].to_owned(),
        _ => from[..end].to_owned(),
    }
}

/// The last `lines` lines of a console, as text.
pub(crate) fn tail(console: &str, lines: usize) -> String {
    let all: Vec<&str> =
        console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart() {
        let panic = "[    1.2] Kernel panic - not syncing: sysrq triggered crash\r\n";
        assert_eq!(
            kernel_fault(panic),
            Some(KernelFault::Panic("Kernel panic - not syncing: sysrq triggered crash".into()))
        );
        let oops = "[ 1.0] BUG: kernel NULL pointer dereference, address: 0\n\
                    [ 1.0] Oops: Oops: 0002 [#1] SMP\n\
                    [ 1.1] Kernel panic - not syncing: Fatal exception\n";
        assert_eq!(
            kernel_fault(oops),
            Some(KernelFault::Oops("BUG: kernel NULL pointer dereference, address: 0".into()))
        );
        let memory = "Out of memory: Killed process 61 (tests-0a) total-vm:9kB, anon-rss:1kB";
        assert_eq!(
            kernel_fault(memory),
            Some(KernelFault::OutOfMemory(Some("61 (tests-0a)".into())))
        );
        let deadlock = "Kernel panic - not syncing: System is deadlocked on memory";
        assert_eq!(kernel_fault(deadlock), Some(KernelFault::OutOfMemory(None)));
        assert_eq!(kernel_fault("[ 0.1] Linux version 7.2\n"), None);
    }

    #[test]
    fn stale_breakpoints_are_told_from_those_that_are_there() {
        let oops = |code: &str| {
            format!(
                "[ 8.6] Oops: int3: 0000 [#1] SMP NOPTI\r\n[ 8.6] CPU: 5\r\n[ 8.6] Code: {code}\r\n"
            )
        };
        assert!(is_stale_breakpoint(&oops("e8 c8 e5 05 00 0f <1f> 44 00 00 48 89 c2")));
        assert!(!is_stale_breakpoint(&oops("e8 c8 e5 05 00 cc <1f> 44 00 00 48 89 c2")));
        for other in ["Bad RIP value.", "", "<1f> 44"] {
            assert!(!is_stale_breakpoint(&oops(other)), "{other}");
        }
        let other = oops("0f <1f> 44").replace("int3", "invalid opcode");
        assert!(!is_stale_breakpoint(&other));
        assert!(!is_stale_breakpoint(""));
    }

    #[test]
    fn tail_keeps_the_end() {
        assert_eq!(tail("a\r\n\r\nb\r\nc\r\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }
}
