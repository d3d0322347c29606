//! Processes that outlive those that started them.
//!
//! The kernel gives them to the nearest ancestor that asked for them. The runner asks, knows them by a
//! variable of their environment, and ends them: what nobody sees must not go on, nor count for nothing.

use std::fs;
use std::io;

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

/// The variable that every process of a sample is started with. Its value is the sample's own.
pub(crate) const MARK: &str = "BELLJAR_BENCH_SAMPLE";

/// Asks for orphans, for as long as this process lives.
pub(crate) fn adopt() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Orphans of the sample with this mark, beside those whose parent this process is anyway.
pub(crate) fn orphans(mark: &str, known: &[Pid]) -> io::Result<Vec<Pid>> {
    let wanted = format!("{MARK}={mark}");
    let is_marked = |pid: &Pid| {
        // One that has ended has no environment, and one of another user does not show it.
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let children = children(getpid())?.into_iter();
    Ok(children.filter(|pid| !known.contains(pid) && is_marked(pid)).collect())
}

/// Ends the orphans of a sample, and theirs.
pub(crate) fn end_orphans(mark: &str) -> io::Result<()> {
    loop {
        let orphans = orphans(mark, &[])?;
        if orphans.is_empty() {
            return Ok(());
        }
        for pid in orphans {
            // It may have ended a moment ago, which is as well.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// The children of all threads of a process. One that has ended has none.
pub(crate) fn children(pid: Pid) -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let text = match fs::read_to_string(task.path().join("children")) {
            // A thread may have ended since; but where none has such a file, nothing can be seen.
            Err(_) if !task.path().join("stat").exists() => continue,
            text => text?,
        };
        let pids = text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        children.extend(pids);
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn orphans_are_known_by_their_mark_and_ended() {
        adopt().unwrap();
        let mark = format!("orphan-test-{}", getpid());
        let detach = "setsid -f sleep 1000; setsid -f sh -c 'sleep 1000 & wait'";
        let mut shell = Command::new("sh");
        shell.args(["-c", detach]).env(MARK, &mark);
        assert!(shell.status().unwrap().success());
        // One that is just being executed has no environment for a moment.
        let found = loop {
            let found = orphans(&mark, &[]).unwrap();
            if found.len() == 2 {
                break found;
            }
        };
        assert_eq!(orphans(&mark, &found[..1]).unwrap(), found[1..]);
        assert_eq!(orphans("another", &[]).unwrap(), []);
        end_orphans(&mark).unwrap();
        assert_eq!(orphans(&mark, &[]).unwrap(), []);
        for pid in found {
            assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
        }
    }
}
