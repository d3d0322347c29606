//! A client and a server to be measured, and the matrix for them in `ping.toml`:
//!
//! ```console
//! $ cargo build --release -p belljar-bench --example ping
//! $ cargo belljar bench run crates/bench/examples/ping.toml
//! ```
//!
//! The client sends numbers, the server sends each back one higher.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use belljar_bench::protocol::READY_LINE;
use belljar_bench::{Meter, Pacer};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["server", socket] => serve(socket),
        ["client", socket, numbers, seconds, rate_per_s] => {
            ask(socket, numbers.parse()?, seconds.parse()?, rate_per_s.parse()?)
        }
        _ => Err("usage: ping server SOCKET | ping client SOCKET NUMBERS SECONDS RATE".into()),
    }
}

/// Answers one client after the other, until SIGTERM.
fn serve(socket: &str) -> Result<(), Box<dyn Error>> {
    let listener = UnixListener::bind(socket)?;
    writeln!(std::io::stdout(), "{READY_LINE}")?;
    for client in listener.incoming() {
        let mut client = client?;
        let mut bytes = [0; 1 << 16];
        loop {
            let mut length = match client.read(&mut bytes) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error.into()),
            };
            let rest = length.next_multiple_of(8);
            client.read_exact(&mut bytes[length..rest])?;
            length = rest;
            for number in bytes[..length].as_chunks_mut::<8>().0 {
                *number = (u64::from_ne_bytes(*number) + 1).to_ne_bytes();
            }
            client.write_all(&bytes[..length])?;
        }
    }
    Ok(())
}

/// Sends so many numbers at a time, at most 8192, and checks every answer.
fn ask(socket: &str, numbers: usize, seconds: f64, rate_per_s: u64) -> Result<(), Box<dyn Error>> {
    let mut server = UnixStream::connect(socket)?;
    let mut bytes = vec![0; numbers * 8];
    let mut expected = 0_u64;
    let mut meter = Meter::new();
    let mut pacer = Pacer::new(Duration::from_secs_f64(seconds), rate_per_s);
    while let Some(due) = pacer.next_operation() {
        server.write_all(&bytes)?;
        server.read_exact(&mut bytes)?;
        meter.record(due.elapsed(), numbers as u64);
        expected += 1;
        let is_right = |number: &[u8; 8]| u64::from_ne_bytes(*number) == expected;
        if !bytes.as_chunks::<8>().0.iter().all(is_right) {
            return Err("the server answered wrongly".into());
        }
    }
    write!(std::io::stdout(), "{}", meter.report(pacer.elapsed()).line())?;
    Ok(())
}
