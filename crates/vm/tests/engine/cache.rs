//! Templates on disk: damaged, made by several at once, thrown away.

use crate::support::{
    again, boots, directory, engine, entries, fork, given, machine, output, payload, wait_for,
};
use belljar_vm::{Mode, Progress};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;

/// Changes a byte where a file has data.
fn flip(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let mut page = vec![0; 4096];
    let at = (0..len / 4096).map(|page| page * 4096).find(|at| {
        file.read_exact_at(&mut page, *at).unwrap();
        page.iter().any(|byte| *byte != 0)
    });
    let at = at.expect("the file has data");
    file.write_all_at(&[page[0] ^ 1], at).unwrap();
}

fn truncate(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[test]
fn what_is_damaged_is_made_again() {
    let directory = directory();
    let cache = directory.path();
    let (first, heard) = engine(cache);
    assert_eq!(output(fork(&first, "w"), "cat /word"), "w");
    assert_eq!(boots(&heard), 1);
    let base = first.base(&machine(Mode::Tcg)).unwrap().directory().to_owned();
    let mut paths = entries(cache).into_iter().map(|name| cache.join("templates").join(name));
    let layer = paths.find(|path| *path != base).expect("a layer");
    drop(first);
    type Damage = fn(&Path);
    let damages: [(&str, &Path, Damage); 7] = [
        ("ram0", &layer, flip),
        ("ram0", &layer, |path| fs::remove_file(path).unwrap()),
        ("state", &layer, truncate),
        ("state", &layer, flip),
        ("stub", &layer, |path| fs::remove_file(path).unwrap()),
        ("template.json", &layer, |path| fs::write(path, b"{\"format\":1,").unwrap()),
        ("template.json", &base, |path| fs::remove_file(path).unwrap()),
    ];
    for (file, template, damage) in damages {
        damage(&template.join(file));
        let (engine, heard) = engine(cache);
        assert_eq!(output(fork(&engine, "w"), "cat /word"), "w", "{file}");
        let heard = heard.lock().unwrap();
        let discarded = |progress: &Progress| matches!(progress, Progress::Discarded(_));
        assert!(heard.iter().any(discarded), "{file}: {heard:?}");
    }
    assert_eq!(entries(cache).len(), 2);
}

/// The base in ruins and the layer whole: the layer does not need it.
#[test]
fn damage_to_memory_that_was_booted_is_seen() {
    let directory = directory();
    let (first, _) = engine(directory.path());
    let base = first.base(&machine(Mode::Tcg)).unwrap().directory().to_owned();
    drop(first);
    flip(&base.join("ram0"));
    let (second, heard) = engine(directory.path());
    assert_eq!(output(fork(&second, "w"), "cat /word"), "w");
    assert_eq!(boots(&heard), 1);
    let heard = heard.lock().unwrap();
    let told = Progress::Discarded(String::from("ram0 has been damaged"));
    assert!(heard.contains(&told), "{heard:?}");
}

#[test]
fn several_at_once_make_a_template_once() {
    let directory = directory();
    let other = || {
        let mut command = again("cache::making_a_template", directory.path());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let others = [other(), other()];
    let (engine, heard) = engine(directory.path());
    let engine = Arc::new(engine);
    let threads = [(); 2].map(|()| {
        let engine = Arc::clone(&engine);
        thread::spawn(move || output(fork(&engine, "w"), "cat /word"))
    });
    for thread in threads {
        assert_eq!(thread.join().unwrap(), "w");
    }
    let mut all = boots(&heard);
    for other in others {
        let output = other.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, count) = text.split_once("boots: ").expect("it said how many");
        all += count.lines().next().unwrap().parse::<usize>().unwrap();
    }
    assert_eq!(all, 1);
    assert_eq!(entries(directory.path()).len(), 2);
}

#[test]
#[ignore = "run by another test, as a process of its own"]
fn making_a_template() {
    let (engine, heard) = engine(&given());
    assert_eq!(output(fork(&engine, "w"), "cat /word"), "w");
    writeln!(std::io::stdout(), "boots: {}", boots(&heard)).unwrap();
}

#[test]
fn the_least_recently_used_goes_first_and_what_is_in_use_stays() {
    let directory = directory();
    let (first, _) = engine(directory.path());
    let base = first.base(&machine(Mode::Tcg)).unwrap();
    let [a, b, c] =
        ["a", "b", "c"].map(|word| first.layer(&base, &payload(word)).unwrap().key().to_owned());
    drop((base, first));
    // From the least to the most recently used: the base, b, c, a; of these b is in use.
    let (engine, _) = engine(directory.path());
    let base = engine.base(&machine(Mode::Tcg)).unwrap();
    let in_use = engine.layer(&base, &payload("b")).unwrap();
    let base_key = base.key().to_owned();
    let cache = engine.cache().clone();
    drop((base, engine));
    for word in ["c", "a"] {
        let (engine, _) = crate::support::engine(directory.path());
        let base = engine.base(&machine(Mode::Tcg)).unwrap();
        engine.layer(&base, &payload(word)).unwrap();
    }
    // Looking at the base for `c` and `a` was a use of it.
    let order: Vec<String> = cache.list().unwrap().into_iter().map(|one| one.info.key).collect();
    assert_eq!(order.iter().collect::<Vec<_>>(), [&a, &base_key, &c, &b]);
    let sizes: u64 = cache.list().unwrap().iter().map(|usage| usage.bytes).sum();
    cache.collect(sizes - 1).unwrap();
    let mut left = vec![a, b.clone(), base_key];
    left.sort();
    assert_eq!(entries(directory.path()), left, "c was the least recently used but one");
    cache.collect(0).unwrap();
    assert_eq!(entries(directory.path()), [b]);
    drop(in_use);
    wait_for("an empty cache", || {
        cache.collect(0).unwrap();
        entries(directory.path()).is_empty()
    });
}
