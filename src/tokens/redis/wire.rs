//! A connection that many calls share, one behind the other: what is asked at the same time goes out in one write.
//!
//! RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), answers in the order of the calls.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis::{RedisError, RedisResult, Value};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// An answer, unread beyond this, is not one that any step gives: all sessions of a large proxy are some megabytes.
const LONGEST: usize = 256 << 20;

/// What is read at once.
const READ: usize = 16 * 1024;

/// Beyond that a buffer is given back when it is empty.
const KEEP: usize = 64 * 1024;

/// How deep answers lie in each other; ours do three times.
const DEEPEST: usize = 16;

/// So much goes out at once, although more may be asked in a moment: the server works meanwhile.
const BATCH: usize = 4 * 1024;

/// The connection; closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Wire(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    patience: Duration,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.wake();
    }
}

struct Shared {
    socket: TcpStream,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// What is to be written, and how much of it has been.
    out: Vec<u8>,
    written: usize,
    /// Who waits, in the order of what was or will be written.
    waiting: VecDeque<oneshot::Sender<RedisResult<Value>>>,
    closed: bool,
    driver: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wake(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Writes what the socket takes; whether that was all.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<bool> {
        while self.written < self.out.len() {
            match socket.try_write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out.shrink_to(KEEP);
        self.written = 0;
        Ok(true)
    }
}

impl Wire {
    /// Over this socket, served by the runtime that this is called on; an answer may take so long.
    pub(super) fn new(socket: TcpStream, patience: Duration) -> Self {
        let shared = Arc::new(Shared { socket, queue: Mutex::default() });
        tokio::spawn(serve(Serving(Arc::clone(&shared))));
        Self(Arc::new(Open { shared, patience }))
    }

    /// Sends a packed command and waits for its answer. One that nobody waits for any more is done all the same.
    ///
    /// # Errors
    /// What the server says, that it says nothing in time, or that the connection is at its end.
    pub(super) async fn ask(&self, packed: &[u8]) -> RedisResult<Value> {
        let (answer, answered) = oneshot::channel();
        {
            let Shared { socket, .. } = &*self.0.shared;
            let mut queue = self.0.shared.lock();
            if queue.closed {
                return Err(gone());
            }
            queue.out.extend_from_slice(packed);
            queue.waiting.push_back(answer);
            // What goes wrong here does so again where the connection is served.
            let written = queue.out.len() - queue.written >= BATCH && matches!(queue.flush(socket), Ok(true));
            if !written {
                queue.wake();
            }
        }
        match timeout(self.0.patience, answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }
}

fn gone() -> RedisError {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}

/// Who serves a connection: with it, also when its runtime ends, the connection is at its end.
struct Serving(Arc<Shared>);

impl Drop for Serving {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        // Who still waits is told that it is gone.
        queue.waiting.clear();
    }
}

/// Writes and reads until one end is closed; who waits then is told why.
async fn serve(serving: Serving) {
    let mut input = Vec::new();
    let end = poll_fn(|cx| match poll(&serving.0, &mut input, cx) {
        Ok(()) => Poll::Pending,
        Err(error) => Poll::Ready(error.kind()),
    });
    let end = end.await;
    for waiting in serving.0.lock().waiting.drain(..) {
        let _ = waiting.send(Err(io::Error::from(end).into()));
    }
}

/// Does what can be done, and is woken for more.
fn poll(shared: &Shared, input: &mut Vec<u8>, cx: &mut Context<'_>) -> io::Result<()> {
    loop {
        let mut queue = shared.lock();
        let whole = queue.flush(&shared.socket)?;
        if whole && queue.closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if !queue.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            queue.driver = Some(cx.waker().clone());
        }
        drop(queue);
        let writable = !whole && shared.socket.poll_write_ready(cx)?.is_ready();
        let readable = shared.socket.poll_read_ready(cx)?.is_ready();
        if readable {
            read(shared, input)?;
        } else if !writable {
            return Ok(());
        }
    }
}

fn read(shared: &Shared, input: &mut Vec<u8>) -> io::Result<()> {
    let before = input.len();
    // As much again as there is, so that a long answer is not begun anew too often.
    input.resize(before + READ.max(before), 0);
    let read = shared.socket.try_read(&mut input[before..]);
    input.truncate(before + *read.as_ref().unwrap_or(&0));
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => {}
    }
    let mut done = 0;
    while let Some((value, length)) = parse(&input[done..], 0)? {
        done += length;
        let waiting = shared.lock().waiting.pop_front();
        // An answer that nobody asked for: one cannot tell what the others belong to.
        let waiting = waiting.ok_or(io::ErrorKind::InvalidData)?;
        let _ = waiting.send(value.extract_error());
    }
    input.drain(..done);
    if input.is_empty() {
        input.shrink_to(KEEP);
    } else if input.len() > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(())
}

/// The first answer in `bytes` and how long it is; `None` if it is not whole.
fn parse(bytes: &[u8], depth: usize) -> io::Result<Option<(Value, usize)>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = bytes[..end].strip_suffix(b"\r").ok_or_else(invalid)?;
    let (kind, rest) = line.split_first().ok_or_else(invalid)?;
    let number =
        || std::str::from_utf8(rest).ok().and_then(|text| text.parse::<i64>().ok()).ok_or_else(invalid);
    let end = end + 1;
    let value = match kind {
        b'+' if rest == b"OK" => Value::Okay,
        b'+' => Value::SimpleString(String::from_utf8_lossy(rest).into_owned()),
        b':' => Value::Int(number()?),
        b'-' => redis::parse_redis_value(&bytes[..end]).map_err(|_| invalid())?,
        b'$' => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Some((Value::Nil, end))) };
            if length > LONGEST {
                return Err(invalid());
            }
            let Some(body) = bytes.get(end..end + length + 2) else { return Ok(None) };
            let body = body.strip_suffix(b"\r\n").ok_or_else(invalid)?;
            return Ok(Some((Value::BulkString(body.to_vec()), end + length + 2)));
        }
        b'*' if depth < DEEPEST => {
            let Ok(count) = usize::try_from(number()?) else { return Ok(Some((Value::Nil, end))) };
            let (mut values, mut at) = (Vec::with_capacity(count.min(bytes.len() / 4)), end);
            for _ in 0..count {
                let Some((value, length)) = parse(&bytes[at..], depth + 1)? else { return Ok(None) };
                values.push(value);
                at += length;
            }
            return Ok(Some((Value::Array(values), at)));
        }
        _ => return Err(invalid()),
    };
    Ok(Some((value, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let check = |text: &str, expected: Value| {
            let bytes = text.as_bytes();
            assert_eq!(parse(bytes, 0).unwrap(), Some((expected, bytes.len())), "{text:?}");
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut], 0).unwrap(), None, "{:?}", &text[..cut]);
            }
        };
        check("+OK\r\n", Value::Okay);
        check("+PONG\r\n", Value::SimpleString("PONG".to_owned()));
        check(":-42\r\n", Value::Int(-42));
        check("$-1\r\n", Value::Nil);
        check("*-1\r\n", Value::Nil);
        check("$0\r\n\r\n", bulk(""));
        check("$4\r\na\r\nb\r\n", bulk("a\r\nb"));
        check("*0\r\n", Value::Array(vec![]));
        let nested = Value::Array(vec![bulk("a"), Value::Array(vec![Value::Int(1), Value::Nil])]);
        check("*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n", nested);
    }

    #[test]
    fn errors_keep_their_code() {
        let text = b"-NOSCRIPT No matching script.\r\n";
        let (value, length) = parse(text, 0).unwrap().unwrap();
        let error = value.extract_error().unwrap_err();
        assert_eq!((error.code(), length), (Some("NOSCRIPT"), text.len()));
        assert_eq!(error.detail(), Some("No matching script."));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let deep = "*1\r\n".repeat(DEEPEST + 1);
        let long = format!("${}\r\n", LONGEST + 1);
        for text in ["?\r\n", "\r\n", ":x\r\n", "+a\n", "$1\r\nabc\r\n", "$x\r\n", &deep, &long] {
            assert!(parse(text.as_bytes(), 0).is_err(), "{text:?}");
        }
    }
}
