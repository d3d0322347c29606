//! Datagrams over the loopback device: `udp_sendmsg`, the transmit and receive soft interrupts, and
//! `sock_def_readable`.

use std::net::UdpSocket;
use std::time::Duration;

use super::Job;
use crate::hand::{Brief, Hand, Outcome, Refusal, Tried};
use crate::sys;

/// A socket for each worker, on the loopback device.
struct Sockets(Vec<UdpSocket>);

impl Sockets {
    fn new(count: u32) -> Result<Self, Refusal> {
        sys::bring_up_loopback().tried(|| "bring up the loopback device".into())?;
        let sockets: Result<_, _> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0")).collect();
        sockets.map(Self).tried(|| format!("make {count} sockets on the loopback device"))
    }

    /// Sends a datagram from one worker to another; false when a signal came first.
    fn send(&self, from: u32, to: u32, datagram: &[u8]) -> Result<bool, Refusal> {
        let address = self.0[to as usize].local_addr().tried(|| "read an address".into())?;
        sent(self.0[from as usize].send_to(datagram, address))
    }
}

fn sent(result: std::io::Result<usize>) -> Result<bool, Refusal> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if is_passing(&error) => Ok(false),
        Err(error) => Err(Refusal(format!("cannot send or receive a datagram: {error}"))),
    }
}

/// A signal, or no buffers: the next one may do.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), Interrupted | WouldBlock) || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Each worker sends to itself, and takes what has come.
pub(super) struct Traffic {
    sockets: Sockets,
    interval: Duration,
    bytes: u32,
}

impl Traffic {
    pub(super) fn new(brief: &Brief, interval: Duration, bytes: u32) -> Result<Self, Refusal> {
        let sockets = Sockets::new(brief.count)?;
        for socket in &sockets.0 {
            socket.set_nonblocking(true).tried(|| "make a socket non-blocking".into())?;
        }
        Ok(Self { sockets, interval, bytes })
    }
}

impl Job for Traffic {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut datagram = vec![0; self.bytes as usize];
        let mut next = hand.now_ns();
        while hand.goes_on() {
            if self.interval > Duration::ZERO {
                next = next.saturating_add(sys::ns(self.interval)).max(hand.now_ns());
                hand.sleep_until(next);
            }
            let went = self.sockets.send(hand.index, hand.index, &datagram)?;
            while sent(self.sockets.0[hand.index as usize].recv(&mut datagram))? {}
            hand.did(u64::from(went));
        }
        Ok(())
    }
}

/// Pairs; the receiver is woken from the soft interrupt of each datagram.
pub(super) struct Wake {
    sockets: Sockets,
    interval: Duration,
    bytes: u32,
}

impl Wake {
    pub(super) fn new(brief: &Brief, interval: Duration, bytes: u32) -> Result<Self, Refusal> {
        Ok(Self { sockets: Sockets::new(brief.count)?, interval, bytes })
    }
}

impl Job for Wake {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        let mut datagram = vec![0; self.bytes.max(8) as usize];
        let mut next = hand.now_ns();
        while hand.goes_on() {
            if hand.is_told_to_stop() {
                break;
            }
            if team.position == 0 {
                next = next.saturating_add(sys::ns(self.interval)).max(hand.now_ns());
                hand.sleep_until(next);
                datagram[..8].copy_from_slice(&hand.now_ns().to_ne_bytes());
                let went = self.sockets.send(hand.index, team.partner(), &datagram)?;
                hand.did(u64::from(went));
                continue;
            }
            let socket = &self.sockets.0[hand.index as usize];
            if sent(hand.wait(|| socket.recv(&mut datagram)))? {
                let mut stamp = [0; 8];
                stamp.copy_from_slice(&datagram[..8]);
                hand.woke(u64::from_ne_bytes(stamp));
                hand.did(1);
            }
        }
        Ok(())
    }
}
