//! `fetch ROOT SOURCE [MODULE...]`: fetches a kernel into a cache and shows what it can do.

use std::path::Path;

use belljar_kernel::{Event, Source, Store};

fn main() {
    if let Err(error) = run() {
        let mut cause: Option<&dyn std::error::Error> = Some(&*error);
        while let Some(error) = cause {
            eprintln!("error: {error}");
            cause = error.source();
        }
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, source, modules @ ..] = args.as_slice() else {
        return Err("usage: fetch ROOT SOURCE [MODULE...]".into());
    };
    let source: Source = source.parse()?;
    let store = Store::open(Path::new(root))?;
    let start = std::time::Instant::now();
    let kernel = store.fetch(&source, &|event: &Event| {
        eprintln!("{:>6} ms  {event}", start.elapsed().as_millis());
    })?;
    eprintln!("{:>6} ms  done", start.elapsed().as_millis());
    eprint!("{}", kernel.abilities()?);
    let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
    for module in kernel.module_closure(&modules)? {
        eprintln!("insmod {} ({} bytes)", module.name, module.read()?.len());
    }
    Ok(())
}
