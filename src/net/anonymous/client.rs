//! The client's side from ClientHello to the server's Finished: bytes in, bytes out, no socket, no time.

use std::{fmt, mem};

use rustls::ConnectionTrafficSecrets;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::net::record::{
    Alert, Cipher, HEADER, Kind, MAX_OVERHEAD, MAX_PLAIN, Records, Rekey, Role, Version,
};

use super::Random;
use super::error::Error;
use super::group::{Agreed, Agreement, EXPONENT, Group};
use super::messages::{self, HEAD, ServerHello, TLS12, Type};
use super::schedule::{End, Schedule, VERIFY};

/// TLS 1.2's level of an alert that ends all.
const FATAL: u8 = 2;

/// A sealed record of the server's Finished: nothing longer has a place there.
const SEALED_FINISHED: usize = 8 + HEAD + VERIFY + 16;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This message of the server's.
    Message(Type),
    /// The arithmetic, from our caller.
    Agreement,
    ChangeCipherSpec,
    Done,
}

/// A handshake. Feed it what the server sends, send the server what it puts out, and do the arithmetic that it
/// asks for; then take the connection from it.
pub struct Client {
    state: State,
    random: [u8; 32],
    exponent: Option<Zeroizing<[u8; EXPONENT]>>,
    /// Of the record that comes, what is there.
    record: Vec<u8>,
    /// Of messages, what was in records and is not read.
    unread: Vec<u8>,
    /// Every message of both sides, in its order.
    said: Vec<u8>,
    hello: Option<ServerHello>,
    group: Option<Group>,
    schedule: Option<Schedule>,
    tx: Option<Cipher>,
    /// The server's key until it says that it uses it.
    next_rx: Option<Cipher>,
    rx: Option<Cipher>,
    out: Vec<u8>,
    failed: Option<Error>,
}

impl Client {
    /// A handshake whose ClientHello is ready to be sent. `random` must never have been used.
    pub fn new(random: Random) -> Self {
        let hello = messages::client_hello(&random.hello);
        let mut client = Self {
            state: State::Message(Type::ServerHello),
            random: random.hello,
            exponent: Some(random.exponent),
            record: Vec::new(),
            unread: Vec::new(),
            said: hello.clone(),
            hello: None,
            group: None,
            schedule: None,
            tx: None,
            next_rx: None,
            rx: None,
            out: Vec::new(),
            failed: None,
        };
        client.put(Kind::Handshake, &hello);
        // RFC 5246 appendix E.1: what the oldest server reads.
        client.out[2] = 1;
        client
    }

    /// Takes bytes from the server; how many belonged to the handshake so far. The rest are to be fed again after
    /// the arithmetic; once done they are the connection's.
    ///
    /// # Errors
    /// The handshake failed: the output has an alert. Every later call says the same.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut rest = bytes;
        while matches!(self.state, State::Message(_) | State::ChangeCipherSpec) {
            match self.gather(&mut rest) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(self.fail(error)),
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// What to send now; empty if nothing.
    pub fn output(&mut self) -> Vec<u8> {
        mem::take(&mut self.out)
    }

    /// The arithmetic, once it can be done; [`Client::agreed`] goes on.
    pub fn agreement(&mut self) -> Option<Agreement> {
        if self.state != State::Agreement {
            return None;
        }
        Some(Agreement { group: self.group.take()?, exponent: self.exponent.take()? })
    }

    /// Goes on with what came of the arithmetic.
    ///
    /// # Errors
    /// As [`Client::feed`].
    pub fn agreed(&mut self, agreed: Result<Agreed, Error>) -> Result<(), Error> {
        agreed.and_then(|agreed| self.finish(&agreed)).map_err(|error| self.fail(error))
    }

    /// Whether both sides have said Finished.
    pub fn is_done(&self) -> bool {
        self.state == State::Done && self.failed.is_none()
    }

    /// The connection, once the handshake is done.
    pub fn into_records(self) -> Option<Records> {
        if !self.is_done() {
            return None;
        }
        Some(Records::new(Version::Tls12, Role::Client, self.tx?, self.rx?, Box::new(NoRekey)))
    }

    fn fail(&mut self, error: Error) -> Error {
        if let Some(alert) = error.alert() {
            self.put(Kind::Alert, &[FATAL, alert]);
        }
        self.failed = Some(error.clone());
        error
    }

    /// One record of ours, sealed once we have changed ciphers.
    fn put(&mut self, kind: Kind, payload: &[u8]) {
        if let Some(tx) = &mut self.tx {
            let begin = self.out.len();
            self.out.resize(begin + payload.len() + MAX_OVERHEAD, 0);
            // It cannot fail with records this few and short; if it does, nothing is sent.
            let length = tx.seal(kind, payload, &mut self.out[begin..]).unwrap_or(0);
            self.out.truncate(begin + length);
        } else {
            let [.., high, low] = payload.len().to_be_bytes();
            self.out.extend_from_slice(&[kind as u8, TLS12[0], TLS12[1], high, low]);
            self.out.extend_from_slice(payload);
        }
    }

    /// Takes of `rest` what the record that comes still needs; `false` if that is not there.
    fn gather(&mut self, rest: &mut &[u8]) -> Result<bool, Error> {
        let length = match self.record.first_chunk::<HEADER>() {
            Some(header) => HEADER + self.length(*header)?,
            None => HEADER,
        };
        let count = rest.len().min(length - self.record.len());
        self.record.extend_from_slice(&rest[..count]);
        *rest = &rest[count..];
        if self.record.len() < length {
            return Ok(false);
        }
        // A header that is just there is looked at when its record's turn comes, at once.
        let whole = match self.record.first_chunk::<HEADER>() {
            Some(header) => self.record.len() == HEADER + self.length(*header)?,
            None => false,
        };
        if whole {
            let record = mem::take(&mut self.record);
            self.take(&record)?;
        }
        Ok(true)
    }

    /// The length of the record that begins so, if it may come now.
    fn length(&self, header: [u8; HEADER]) -> Result<usize, Error> {
        let [kind, major, minor, high, low] = header;
        let begun = self.hello.is_some();
        let Some(kind) = Kind::from_wire(kind) else {
            return Err(if begun { Error::Order(self.due()) } else { Error::NotTls });
        };
        match [major, minor] {
            TLS12 => {}
            // A server that speaks another version says no in it.
            [3, _] if kind == Kind::Alert && !begun => {}
            [3, _] => return Err(Error::Version(major, minor)),
            _ => return Err(Error::NotTls),
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        let longest = if self.rx.is_some() { SEALED_FINISHED } else { MAX_PLAIN };
        match length {
            0 => Err(Error::Malformed("record")),
            _ if length > longest => Err(Error::Record(Alert::RecordOverflow)),
            _ => Ok(length),
        }
    }

    /// What is due, as errors name it.
    fn due(&self) -> &'static str {
        match self.state {
            State::Message(kind) => kind.name(),
            State::Agreement | State::ChangeCipherSpec => "ChangeCipherSpec",
            State::Done => "payload",
        }
    }

    /// One whole record.
    fn take(&mut self, record: &[u8]) -> Result<(), Error> {
        let mut opened = [0; SEALED_FINISHED];
        let (kind, payload) = match &mut self.rx {
            Some(rx) => {
                let (kind, count) = rx.open(record, &mut opened).map_err(Error::Record)?;
                (kind, &opened[..count])
            }
            None => (Kind::from_wire(record[0]).ok_or(Error::Internal)?, &record[HEADER..]),
        };
        match (kind, self.state) {
            (Kind::Alert, _) => match payload {
                // Warnings too: there is none that a client with nothing to warn of should be told.
                [_, alert] => Err(Error::Alert(*alert)),
                _ => Err(Error::Malformed("alert")),
            },
            (Kind::Handshake, State::Message(_)) => {
                self.unread.extend_from_slice(payload);
                self.read()
            }
            (Kind::ChangeCipherSpec, State::ChangeCipherSpec) if payload == [1] => self.change(),
            _ => Err(Error::Order(self.due())),
        }
    }

    /// Reads the messages that are there whole.
    fn read(&mut self) -> Result<(), Error> {
        while let Some(&[kind, a, b, c]) = self.unread.first_chunk::<HEAD>() {
            // What comes in one record with the last message before ours, or before a change of keys.
            let State::Message(due) = self.state else { return Err(Error::Order(self.due())) };
            if kind != due as u8 {
                return Err(Error::Order(due.name()));
            }
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            if length > due.longest() {
                return Err(Error::Malformed(due.name()));
            }
            if self.unread.len() < HEAD + length {
                return Ok(());
            }
            let rest = self.unread.split_off(HEAD + length);
            let message = mem::replace(&mut self.unread, rest);
            self.message(due, &message)?;
        }
        match self.state {
            State::Message(_) => Ok(()),
            _ if self.unread.is_empty() => Ok(()),
            _ => Err(Error::Order(self.due())),
        }
    }

    fn message(&mut self, kind: Type, message: &[u8]) -> Result<(), Error> {
        let body = &message[HEAD..];
        self.state = match kind {
            Type::ServerHello => {
                self.hello = Some(messages::server_hello(body)?);
                State::Message(Type::ServerKeyExchange)
            }
            Type::ServerKeyExchange => {
                self.group = Some(messages::server_key_exchange(body)?);
                State::Message(Type::ServerHelloDone)
            }
            Type::ServerHelloDone => State::Agreement,
            Type::Finished => {
                let schedule = self.schedule.as_ref().ok_or(Error::Internal)?;
                let expected = schedule.verify_data(End::Server, &self.said)?;
                if !bool::from(expected.ct_eq(body)) {
                    return Err(Error::Finished);
                }
                State::Done
            }
            Type::ClientHello | Type::ClientKeyExchange => return Err(Error::Internal),
        };
        self.said.extend_from_slice(message);
        Ok(())
    }

    /// Our second flight: ClientKeyExchange, ChangeCipherSpec, Finished.
    fn finish(&mut self, agreed: &Agreed) -> Result<(), Error> {
        let hello = self.hello.filter(|_| self.state == State::Agreement).ok_or(Error::Internal)?;
        let exchange = messages::client_key_exchange(&agreed.public);
        self.put(Kind::Handshake, &exchange);
        self.said.extend_from_slice(&exchange);
        let schedule = Schedule::new(hello.suite, &agreed.secret, &self.said)?;
        let keys = schedule.keys(&self.random, &hello.random)?;
        self.put(Kind::ChangeCipherSpec, &[1]);
        self.tx = Some(keys.client);
        let finished = messages::message(Type::Finished, &schedule.verify_data(End::Client, &self.said)?);
        self.put(Kind::Handshake, &finished);
        self.said.extend_from_slice(&finished);
        self.schedule = Some(schedule);
        self.next_rx = Some(keys.server);
        self.state = State::ChangeCipherSpec;
        Ok(())
    }

    /// From here on the server's records are sealed.
    fn change(&mut self) -> Result<(), Error> {
        self.rx = Some(self.next_rx.take().ok_or(Error::Internal)?);
        self.state = State::Message(Type::Finished);
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &self.state).finish_non_exhaustive()
    }
}

/// TLS 1.2 has no key updates; the record layer ends a connection whose key is used up.
struct NoRekey;

impl Rekey for NoRekey {
    fn next_tx(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
        Err(rustls::Error::HandshakeNotComplete)
    }

    fn next_rx(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
        Err(rustls::Error::HandshakeNotComplete)
    }
}
