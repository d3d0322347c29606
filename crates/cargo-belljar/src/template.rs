//! `cargo belljar template`: the booted machines in the cache.

use crate::args::TemplateCommand;
use crate::failure::{Exit, Failure};
use crate::output::{count, data, json, say, size};
use belljar::host::cache_root;
use belljar_vm::{Cache, Usage};
use std::time::{Duration, UNIX_EPOCH};

/// Does what was asked for.
pub(crate) fn template(command: &TemplateCommand) -> anyhow::Result<Exit> {
    let cache = open()?;
    match command {
        TemplateCommand::List { json: true } => {
            let list: Vec<_> = cache.list()?.iter().map(describe).collect();
            json(&list)?;
        }
        TemplateCommand::List { json: false } => {
            let list = cache.list()?;
            if list.is_empty() {
                say("no template is in the cache; tests make what they need");
            }
            for usage in list {
                let info = &usage.info;
                let age = ago(usage.used.elapsed().unwrap_or_default());
                let size = size(usage.bytes);
                let key = &info.key[..info.key.len().min(12)];
                let kind = if info.base.is_some() { "with" } else { "base," };
                let contents = shorten(&info.contents);
                let line =
                    format!("{key}  {size:>8}  {age:>8}  {}, {kind} {contents}", info.machine);
                data(line)?;
            }
        }
        TemplateCommand::Rm { all: true, .. } => clear(&cache)?,
        TemplateCommand::Rm { key, all: false } => {
            remove(&cache, key.as_deref().unwrap_or_default())?;
        }
    }
    Ok(Exit::Fine)
}

/// The cache of templates.
pub(crate) fn open() -> anyhow::Result<Cache> {
    Ok(Cache::open(&cache_root()?)?)
}

/// Removes all that nobody uses.
pub(crate) fn clear(cache: &Cache) -> anyhow::Result<()> {
    let (mut removed, mut bytes, mut used) = (0, 0, 0);
    for usage in cache.list()? {
        if cache.remove(&usage.info.key)? {
            removed += 1;
            bytes += usage.bytes;
        } else {
            used += 1;
        }
    }
    cache.collect(u64::MAX)?;
    say(format_args!("removed {} ({})", count(removed, "template"), size(bytes)));
    if used > 0 {
        say(format_args!("{} in use: left alone", count(used, "template")));
    }
    Ok(())
}

fn remove(cache: &Cache, key: &str) -> anyhow::Result<()> {
    let list = cache.list()?;
    let fitting: Vec<_> = list.iter().filter(|usage| usage.info.key.starts_with(key)).collect();
    let wrong = |text: String| {
        Failure::new(Exit::Usage, text).hint("`cargo belljar template list` shows the keys")
    };
    match fitting.as_slice() {
        [one] if !key.is_empty() => {
            if !cache.remove(&one.info.key)? {
                return Err(Failure::new(Exit::Internal, "the template is in use").into());
            }
            say(format_args!("removed {} ({})", one.info.key, size(one.bytes)));
            Ok(())
        }
        [] => Err(wrong(format!("no template has a key like `{key}`")).into()),
        several => Err(wrong(format!("`{key}` means {} templates", several.len())).into()),
    }
}

fn describe(usage: &Usage) -> serde_json::Value {
    let used = usage.used.duration_since(UNIX_EPOCH).unwrap_or_default();
    serde_json::json!({
        "key": usage.info.key,
        "base": usage.info.base,
        "machine": usage.info.machine,
        "contents": usage.info.contents,
        "made_in_ms": usage.info.made_in_ms,
        "size_bytes": usage.bytes,
        "used_unix_s": used.as_secs(),
        "directory": usage.directory,
    })
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn ago(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86400),
    }
}
