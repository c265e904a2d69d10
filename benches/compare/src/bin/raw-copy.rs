//! The limit: a TCP relay on one thread that reads and writes and does nothing else.
//!
//! `raw-copy LISTEN TARGET`: epoll, edge-triggered, one 60 KiB buffer for all, a pair's leftovers copied
//! aside when the other end is full. No frames, no timers, no counters, no limits: not for use.

use std::env;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// As in the relay: this is what it is compared with.
const BUFFER: usize = 60 * 1024;

/// Buffers moved each way before the other pairs get a turn, as in the relay.
const ROUNDS: usize = 2;

const LISTENER: Token = Token(usize::MAX);

/// One direction's state: what was read and did not fit, and whether its source has ended.
#[derive(Default)]
struct Flow {
    left: Vec<u8>,
    ended: bool,
    shut: bool,
}

struct Pair {
    ends: [TcpStream; 2],
    flows: [Flow; 2],
}

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1).map(|address| address.parse::<SocketAddr>());
    let (Some(Ok(listen)), Some(Ok(target))) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: raw-copy LISTEN TARGET"));
    };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut pairs: Slab<Pair> = Slab::new();
    let mut buffer = vec![0; BUFFER];
    let mut again: Vec<usize> = Vec::new();
    loop {
        let wait = if again.is_empty() { None } else { Some(std::time::Duration::ZERO) };
        poll.poll(&mut events, wait)?;
        let mut ready = std::mem::take(&mut again);
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, target, &poll, &mut pairs)?,
                Token(end) => ready.push(end / 2),
            }
        }
        ready.sort_unstable();
        ready.dedup();
        for key in ready {
            let Some(pair) = pairs.get_mut(key) else { continue };
            match pair.turn(&mut buffer) {
                Ok(true) => again.push(key),
                Ok(false) if pair.flows.iter().all(|flow| flow.shut) => drop(pairs.remove(key)),
                Ok(false) => {}
                Err(_) => drop(pairs.remove(key)),
            }
        }
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, poll: &Poll, pairs: &mut Slab<Pair>) -> io::Result<()> {
    loop {
        let viewer = match listener.accept() {
            Ok((viewer, _)) => viewer,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut ends = [viewer, TcpStream::connect(target)?];
        let entry = pairs.vacant_entry();
        for (side, end) in ends.iter_mut().enumerate() {
            end.set_nodelay(true)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(end, Token(entry.key() * 2 + side), both)?;
        }
        entry.insert(Pair { ends, flows: Default::default() });
    }
}

impl Pair {
    /// Moves what can be moved; true when there is more and the turn is over.
    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        for _ in 0..ROUNDS {
            let moved = [self.step(0, buffer)?, self.step(1, buffer)?];
            if moved == [false, false] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One buffer from `from` to the other end; false when there is nothing or no room.
    fn step(&mut self, from: usize, buffer: &mut [u8]) -> io::Result<bool> {
        let [first, second] = &mut self.ends;
        let (source, sink) = if from == 0 { (first, second) } else { (second, first) };
        let flow = &mut self.flows[from];
        if !flow.left.is_empty() {
            let Some(count) = would_block(sink.write(&flow.left))? else { return Ok(false) };
            flow.left.drain(..count);
            return Ok(true);
        }
        if flow.ended {
            if !flow.shut {
                flow.shut = true;
                sink.shutdown(Shutdown::Write)?;
            }
            return Ok(false);
        }
        let Some(count) = would_block(source.read(buffer))? else { return Ok(false) };
        flow.ended = count == 0;
        let written = if count > 0 { would_block(sink.write(&buffer[..count]))?.unwrap_or(0) } else { 0 };
        flow.left.extend_from_slice(&buffer[written..count]);
        Ok(true)
    }
}

fn would_block(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        // Not connected yet: its readiness comes when it is.
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
