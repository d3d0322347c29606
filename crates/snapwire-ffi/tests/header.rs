//! The header is that of the sources.

use std::path::Path;

#[test]
fn the_header_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/status.rs"))
        .with_src(root.join("src/types.rs"))
        .with_src(root.join("src/client.rs"))
        .with_src(root.join("src/replies.rs"))
        .with_src(root.join("src/server.rs"))
        .generate()
        .unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).unwrap();
    // What Rust asks of its callers is at the top of the header for C.
    let safety = |line: &str| line.trim_start().starts_with("// # Safety");
    let mut header = String::new();
    let mut lines = made.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() == "//" && lines.peek().is_some_and(|next| safety(next)) {
            while lines.peek().is_some_and(|next| next.trim_start().starts_with("//")) {
                lines.next();
            }
            continue;
        }
        header.push_str(line);
        header.push('\n');
    }
    let path = root.join("include/snapwire.h");
    if std::env::var_os("SNAPWIRE_HEADER").is_some_and(|value| value == "write") {
        std::fs::write(&path, &header).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == header,
        "include/snapwire.h is out of date: SNAPWIRE_HEADER=write cargo test -p snapwire-ffi header"
    );
}
