//! What libbpf says, kept so that a failure can be told apart from others.

use crate::report::{Cause, say};
use libbpf_rs::{PrintLevel, set_print};
use std::sync::{Mutex, PoisonError};

/// Every word since the start that is more than information.
static SAID: Mutex<String> = Mutex::new(String::new());

/// Shows on standard error what libbpf says, from now on; with `verbose` all of it.
pub(crate) fn listen(verbose: bool) {
    let level = if verbose { PrintLevel::Debug } else { PrintLevel::Warn };
    set_print(Some((level, |level, text: String| {
        say(text.trim_end_matches('\n'));
        if level == PrintLevel::Warn {
            SAID.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
        }
    })));
}

/// Why loading failed, from what libbpf said until now, and what it failed for.
pub(crate) fn why() -> (Cause, Option<String>) {
    classify(&SAID.lock().unwrap_or_else(PoisonError::into_inner))
}

fn classify(said: &str) -> (Cause, Option<String>) {
    let quoted = |line: &str| line.split('\'').nth(1).map(str::to_owned);
    // `extern (func ksym) 'f': not found in kernel or module BTFs`, and
    // `extern (func ksym) 'f': func_proto [1] incompatible with vmlinux [2]`
    let lacks = |line: &&str| {
        line.contains("extern (func ksym)")
            && (line.contains("not found") || line.contains("incompatible"))
    };
    if let Some(line) = said.lines().find(lacks) {
        return (Cause::Missing, quoted(line));
    }
    // `struct_ops init_kern: struct sched_ext_ops is not found in kernel BTF`
    if said.contains("sched_ext_ops is not found in kernel BTF") {
        return (Cause::Missing, Some("sched_ext".to_owned()));
    }
    if said.contains("-- BEGIN PROG LOAD LOG --") {
        // `prog 'belljar_dispatch': BPF program load failed: -EACCES`
        let program = said.lines().find(|line| line.contains("BPF program load failed"));
        return (Cause::Verifier, program.and_then(quoted));
    }
    (Cause::Other, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_libbpfs_words() {
        let some = |word: &str| Some(word.to_owned());
        let cases = [
            (
                "libbpf: extern (func ksym) 'scx_bpf_f': not found in kernel or module BTFs\n\
                 libbpf: failed to load object 'belljar_bpf'\n",
                (Cause::Missing, some("scx_bpf_f")),
            ),
            (
                "libbpf: extern (func ksym) 'scx_bpf_f': func_proto [9] incompatible with \
                 vmlinux [7]\n",
                (Cause::Missing, some("scx_bpf_f")),
            ),
            (
                "libbpf: struct_ops init_kern: struct sched_ext_ops is not found in kernel BTF\n",
                (Cause::Missing, some("sched_ext")),
            ),
            (
                "libbpf: prog 'belljar_dispatch': BPF program load failed: -EACCES\n\
                 libbpf: prog 'belljar_dispatch': -- BEGIN PROG LOAD LOG --\n0: R1=ctx()\n",
                (Cause::Verifier, some("belljar_dispatch")),
            ),
            ("libbpf: failed to open something\n", (Cause::Other, None)),
            ("", (Cause::Other, None)),
        ];
        for (said, cause) in cases {
            assert_eq!(classify(said), cause, "{said}");
        }
    }
}
