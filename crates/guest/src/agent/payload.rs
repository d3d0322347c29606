//! What the host hands in: an archive, modules to load, and what to start.

use crate::archive::{Header, parse_header};
use crate::channel::State;
use crate::region::Region;
use crate::{Failure, sys};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// One path a line, in the order of loading.
const MODULES: &str = "/.belljar/modules";
/// What to start; see [`Start`].
const START: &str = "/.belljar/start";

/// What to start, by the first line of [`START`].
pub(crate) enum Start {
    /// `process`, then one word a line: a program that waits for its request itself.
    Process(Vec<String>),
    /// `command`: the request names the program.
    Command,
}

/// Reads what to start.
pub(crate) fn start() -> Result<Start, Failure> {
    let text = fs::read_to_string(START).map_err(|e| Failure::new("reading what to start", e))?;
    let mut lines = text.lines().map(str::to_owned);
    match lines.next().as_deref() {
        Some("process") => Ok(Start::Process(lines.collect())),
        Some("command") => Ok(Start::Command),
        other => Err(Failure::new("reading what to start", format_args!("unknown kind {other:?}"))),
    }
}

/// Loads the payload's modules.
pub(crate) fn load_modules() -> Result<(), Failure> {
    let Ok(list) = fs::read_to_string(MODULES) else { return Ok(()) };
    for path in list.lines() {
        let attempted = format!("loading the module {path}");
        let image = fs::read(path).map_err(|e| Failure::new(&attempted, e))?;
        match sys::load_module(&image) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Failure::new(attempted, error));
            }
            _ => {}
        }
        // Its memory is worth more than a second chance to load it.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// Receives the payload, window by window, and unpacks it on the way.
pub(crate) fn unpack(region: &Region) -> Result<(), Failure> {
    let mut unpacker = Unpacker::default();
    loop {
        region.freeze_at_rest(State::Want);
        let (bytes, last) = region.window();
        unpacker.feed(bytes)?;
        if last {
            return if unpacker.ended {
                Ok(())
            } else {
                Err(Failure::new("unpacking the payload", "it ends too early"))
            };
        }
    }
}

#[derive(Default)]
struct Unpacker {
    /// The start of something that was cut off by the end of a window.
    held: Vec<u8>,
    open: Option<Open>,
    ended: bool,
}

/// The entry whose body is being received.
struct Open {
    path: PathBuf,
    body: Body,
    remaining: usize,
    padding: usize,
}

enum Body {
    File(File),
    Link(Vec<u8>),
    None,
}

impl Unpacker {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // Files are written straight out of the window: memory that is used for a copy
        // stays in the template.
        let joined;
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            joined = [&self.held, bytes].concat();
            &joined
        };
        let mut at = 0;
        while !self.ended {
            let rest = &bytes[at..];
            if let Some(open) = &mut self.open {
                let take = open.remaining.min(rest.len());
                match &mut open.body {
                    Body::File(file) => file.write_all(&rest[..take]).map_err(|e| {
                        Failure::new(format_args!("writing {}", open.path.display()), e)
                    })?,
                    Body::Link(target) => target.extend_from_slice(&rest[..take]),
                    Body::None => {}
                }
                open.remaining -= take;
                at += take;
                if open.remaining > 0 || rest.len() - take < open.padding {
                    break;
                }
                at += open.padding;
                if let Some(Open { path, body: Body::Link(target), .. }) = self.open.take() {
                    link(&path, &target)?;
                }
                continue;
            }
            let Some((header, len)) =
                parse_header(rest).map_err(|e| Failure::new("unpacking the payload", e))?
            else {
                break;
            };
            at += len;
            self.begin(&header)?;
        }
        self.held = bytes[at..].to_vec();
        Ok(())
    }

    fn begin(&mut self, header: &Header) -> Result<(), Failure> {
        if header.is_trailer() {
            self.ended = true;
            return Ok(());
        }
        let path = Path::new("/").join(&header.path);
        let attempted = format!("unpacking {}", path.display());
        let body = if header.is_directory() {
            fs::create_dir_all(&path).map_err(|e| Failure::new(attempted, e))?;
            Body::None
        } else if header.is_symlink() {
            Body::Link(Vec::new())
        } else {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(header.mode & 0o777);
            Body::File(options.open(&path).map_err(|e| Failure::new(attempted, e))?)
        };
        let padding = header.body_len.next_multiple_of(4) - header.body_len;
        self.open = Some(Open { path, body, remaining: header.body_len, padding });
        Ok(())
    }
}

fn link(path: &Path, target: &[u8]) -> Result<(), Failure> {
    let attempted = || format!("linking {}", path.display());
    let target = std::str::from_utf8(target).map_err(|e| Failure::new(attempted(), e))?;
    match symlink(target, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Failure::new(attempted(), error))
        }
        _ => Ok(()),
    }
}
