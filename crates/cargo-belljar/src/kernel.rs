//! `cargo belljar kernel`: the kernels in the cache.

use crate::args::KernelCommand;
use crate::failure::Exit;
use crate::output::{data, json, say, size};
use crate::run::no_kernel;
use belljar::Config;
use belljar::host::cache_root;
use belljar_kernel::{Kernel, Listed, Source, Store};
use serde_json::{Value, json as value};

/// Does what was asked for.
pub(crate) fn kernel(command: &KernelCommand) -> anyhow::Result<Exit> {
    let store = open()?;
    match command {
        KernelCommand::Fetch { source, refresh } => {
            let source: Source = source.parse().map_err(belljar_kernel::Error::Source)?;
            let hear = |event: &belljar_kernel::Event| say(event);
            let kernel = match refresh {
                true => store.refresh(&source, &hear)?,
                false => store.fetch(&source, &hear)?,
            };
            data(kernel.id())?;
        }
        KernelCommand::List { json: true } => {
            let default = default_id(&store);
            let kernels = store.list()?;
            let kernels: Vec<Value> = { kernels.iter() }
                .map(|listed| match listed {
                    Listed::Intact(kernel) => {
                        let is_default = default.as_deref() == Some(kernel.id());
                        value!({ "id": kernel.id(), "default": is_default, "manifest": kernel.manifest() })
                    }
                    Listed::Corrupt { id, reason } => value!({ "id": id, "corrupt": reason }),
                })
                .collect();
            json(&kernels)?;
        }
        KernelCommand::List { json: false } => list(&store)?,
        KernelCommand::Show { kernel, json: as_json } => {
            let kernel = match kernel {
                Some(word) => store.get(word).map_err(|error| no_kernel(word, error))?,
                None => chosen(&store)?,
            };
            if *as_json { show_json(&kernel)? } else { show(&kernel)? }
        }
        KernelCommand::Default { kernel: None } => data(chosen(&store)?.id())?,
        KernelCommand::Default { kernel: Some(word) } => {
            let kernel = store.set_default(word).map_err(|error| no_kernel(word, error))?;
            say(format_args!("tests that declare no kernel run on {}", kernel.id()));
        }
        KernelCommand::Rm { kernel } => {
            let id = store.remove(kernel)?;
            say(format_args!("removed {id}"));
        }
    }
    Ok(Exit::Fine)
}

/// The cache of kernels.
pub(crate) fn open() -> anyhow::Result<Store> {
    Ok(Store::open(&cache_root()?.join("kernels"))?)
}

fn default_id(store: &Store) -> Option<String> {
    Some(chosen(store).ok()?.id().to_owned())
}

/// The kernel of tests that declare none, if it is in the cache.
pub(crate) fn chosen(store: &Store) -> anyhow::Result<Kernel> {
    if let Some(kernel) = store.default_kernel()? {
        return Ok(kernel);
    }
    let config = Config::of_package(&std::env::current_dir()?)?;
    store.get(&config.kernel).map_err(|error| no_kernel(&config.kernel, error))
}

fn list(store: &Store) -> anyhow::Result<()> {
    let default = default_id(store);
    let kernels = store.list()?;
    if kernels.is_empty() {
        say("no kernel is in the cache; `cargo belljar kernel fetch debian:sid` gets one");
    }
    for listed in kernels {
        match listed {
            Listed::Intact(kernel) => {
                let manifest = kernel.manifest();
                let mark = if default.as_deref() == Some(kernel.id()) { "*" } else { " " };
                let size = size(manifest.bytes);
                data(format_args!("{mark} {}  {}  {size}", kernel.id(), manifest.source))?;
            }
            Listed::Corrupt { id, reason } => data(format_args!("! {id}  corrupt: {reason}"))?,
        }
    }
    Ok(())
}

fn show(kernel: &Kernel) -> anyhow::Result<()> {
    let manifest = kernel.manifest();
    for (name, text) in [
        ("id", kernel.id().to_owned()),
        ("release", kernel.release().to_owned()),
        ("version", manifest.version.clone()),
        ("source", manifest.source.clone()),
        ("size", size(manifest.bytes)),
        ("modules", manifest.modules.to_string()),
        ("directory", kernel.dir().display().to_string()),
    ] {
        data(format_args!("{name:>10}  {text}"))?;
    }
    data("\nwhat it can do:")?;
    data(kernel.abilities()?.to_string().trim_end())?;
    Ok(())
}

fn show_json(kernel: &Kernel) -> anyhow::Result<()> {
    json(&value!({
        "id": kernel.id(),
        "directory": kernel.dir(),
        "manifest": kernel.manifest(),
        "abilities": kernel.abilities()?,
    }))
}
