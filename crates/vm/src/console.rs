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
pub(crate) fn tail(console: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(console);
    let all: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
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
    fn tail_keeps_the_end() {
        assert_eq!(tail(b"a\r\n\r\nb\r\nc\r\n", 2), "b\nc");
        assert_eq!(tail(b"", 2), "");
    }
}
