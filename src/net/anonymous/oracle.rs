//! A server for the handshake, and what holds whatever is made of its bytes on the way; `cargo test` replays it and
//! `cargo fuzz` can drive it.

use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::net::record::{Cipher, HEADER, Kind};

use super::group::{Agreed, Agreement, EXPONENT, Group};
use super::messages::{HEAD, TLS12, Type, message};
use super::schedule::{End, Schedule, Suite, VERIFY};
use super::{Client, Error, Random};

/// ffdhe2048 (RFC 7919 appendix A.1).
pub(super) const FFDHE2048: &str = concat!(
    "ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fb",
    "cc939dce249b3ef97d2fe363630c75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0",
    "856365553ded1af3b557135e7f57c935984f0c70e0e68b77e2a689daf3efe8721df158a136ade735",
    "30acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fbb96adab760d7f4681d4f42a3de394df4",
    "ae56ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f619172fe9ce98583ff",
    "8e4f1232eef28183c3fe3b1b4c6fad733bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa",
    "886b423861285c97ffffffffffffffff",
);

/// Bytes of a text of hexadecimal digits.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digit =
        |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// What the client under test is given for random.
pub(super) fn random() -> Random {
    Random { hello: [0xc1; 32], exponent: Zeroizing::new([0x3c; EXPONENT]) }
}

/// One record in the clear.
pub(super) fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let [.., high, low] = payload.len().to_be_bytes();
    [&[kind, TLS12[0], TLS12[1], high, low], payload].concat()
}

/// A server that does all right; what it says can be told otherwise before it does.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) suite: Suite,
    pub(super) hello: Vec<u8>,
    pub(super) params: Vec<u8>,
    pub(super) random: [u8; 32],
    pub(super) exponent: Zeroizing<[u8; EXPONENT]>,
}

/// What a server says last, and the keys: its own and the client's, each with one record behind it.
pub(super) struct Last {
    pub(super) flight: Vec<u8>,
    #[cfg(test)]
    pub(super) keys: super::schedule::Keys,
    #[cfg(test)]
    unused: Option<Cipher>,
}

#[cfg(test)]
impl Last {
    /// The server's key as if it had sealed nothing yet.
    pub(super) fn again(&mut self) -> Cipher {
        self.unused.take().unwrap()
    }
}

impl Server {
    /// Its Diffie-Hellman is done with `exponent`, in ffdhe2048.
    pub(super) fn new(suite: Suite) -> Result<Self, Error> {
        let (random, exponent) = ([0x5e; 32], Zeroizing::new([0x77; EXPONENT]));
        let extensions = [0, 9, 0, 23, 0, 0, 0xff, 1, 0, 1, 0];
        let number = (suite as u16).to_be_bytes();
        let hello = [&TLS12[..], &random, &[0], &number, &[0], &extensions].concat();
        let group = Group::new(&hex(FFDHE2048), &[2], &[3])?;
        let public = Agreement { group, exponent: exponent.clone() }.compute()?.public;
        let params = Self::params(&[&hex(FFDHE2048), &[2], &public]);
        Ok(Self { suite, hello, params, random, exponent })
    }

    /// ServerDHParams.
    pub(super) fn params(values: &[&[u8]; 3]) -> Vec<u8> {
        let vector = |value: &&[u8]| {
            let [.., high, low] = value.len().to_be_bytes();
            [&[high, low], *value].concat()
        };
        values.iter().map(vector).collect::<Vec<_>>().concat()
    }

    /// Its messages up to ServerHelloDone.
    pub(super) fn messages(&self) -> [Vec<u8>; 3] {
        [
            message(Type::ServerHello, &self.hello),
            message(Type::ServerKeyExchange, &self.params),
            message(Type::ServerHelloDone, &[]),
        ]
    }

    /// The same, each in a record of its own.
    pub(super) fn first(&self) -> Vec<u8> {
        self.messages().map(|message| record(Kind::Handshake as u8, &message)).concat()
    }

    /// Its end of the handshake with a client whose flights these are.
    pub(super) fn last(&self, client_hello: &[u8], client_flight: &[u8]) -> Result<Last, Error> {
        let exchange_len = HEADER + usize::from(u16::from_be_bytes([client_flight[3], client_flight[4]]));
        let exchange = &client_flight[HEADER..exchange_len];
        let group = Group::new(&hex(FFDHE2048), &[2], &exchange[HEAD + 2..])?;
        let secret = Agreement { group, exponent: self.exponent.clone() }.compute()?.secret;
        let mut said = [&client_hello[HEADER..], &self.messages().concat(), exchange].concat();
        let schedule = Schedule::new(self.suite, &secret, &said)?;
        let client_random =
            client_hello[HEADER + HEAD + 2..][..32].try_into().map_err(|_| Error::Internal)?;
        let mut keys = schedule.keys(&client_random, &self.random)?;
        let mut opened = [0; HEAD + VERIFY];
        // ChangeCipherSpec stands between them.
        let finished = keys.client.open(&client_flight[exchange_len + HEADER + 1..], &mut opened);
        let expected = message(Type::Finished, &schedule.verify_data(End::Client, &said)?);
        if finished != Ok((Kind::Handshake, opened.len())) || opened[..] != expected {
            return Err(Error::Finished);
        }
        said.extend(expected);
        let finished = message(Type::Finished, &schedule.verify_data(End::Server, &said)?);
        let sealed = sealed(&mut keys.server, Kind::Handshake, &finished)?;
        let flight = [record(Kind::ChangeCipherSpec as u8, &[1]), sealed].concat();
        Ok(Last {
            flight,
            #[cfg(test)]
            unused: Some(schedule.keys(&client_random, &self.random)?.server),
            #[cfg(test)]
            keys,
        })
    }
}

/// One sealed record.
pub(super) fn sealed(key: &mut Cipher, kind: Kind, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; payload.len() + key.overhead()];
    key.seal(kind, payload, &mut out).map_err(Error::Record)?;
    Ok(out)
}

/// A handshake as it went, so that it can go again without its arithmetic.
pub(super) struct Transcript {
    /// What the server said.
    pub(super) server: Vec<u8>,
    public: Vec<u8>,
    secret: Zeroizing<Vec<u8>>,
}

impl Transcript {
    fn new() -> Result<Self, Error> {
        let server = Server::new(Suite::Aes256)?;
        let mut client = Client::new(random());
        let client_hello = client.output();
        let first = server.first();
        client.feed(&first)?;
        let Agreed { public, secret } = client.agreement().ok_or(Error::Internal)?.compute()?;
        client.agreed(Ok(Agreed { public: public.clone(), secret: secret.clone() }))?;
        let last = server.last(&client_hello, &client.output())?;
        Ok(Self { server: [first, last.flight].concat(), public, secret })
    }

    pub(super) fn shared() -> &'static Result<Self, Error> {
        static SHARED: OnceLock<Result<Transcript, Error>> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    fn agreed(&self) -> Agreed {
        Agreed { public: self.public.clone(), secret: self.secret.clone() }
    }
}

/// How a handshake went: what was said, how much of the server's bytes was used, and whether it was done.
pub(super) type Run = (Vec<u8>, Result<(usize, bool), Error>);

/// A client that is told `said`, in pieces of `size`. The secret is the transcript's, whatever the server's group.
pub(super) fn run(transcript: &Transcript, said: &[u8], size: usize) -> Run {
    let mut client = Client::new(random());
    let mut out = client.output();
    let (mut used, mut there) = (0, 0);
    loop {
        let fed = client.feed(&said[used..there]);
        out.extend(client.output());
        used += match fed {
            Ok(count) => count,
            Err(error) => {
                assert_eq!(client.feed(said), Err(error.clone()), "a failed handshake goes on");
                assert!(client.into_records().is_none());
                return (out, Err(error));
            }
        };
        if client.is_done() {
            return (out, Ok((used, client.into_records().is_some())));
        }
        if client.agreement().is_some() {
            if let Err(error) = client.agreed(Ok(transcript.agreed())) {
                return (out, Err(error));
            }
        } else if there == said.len() {
            return (out, Ok((used, false)));
        } else {
            there = said.len().min(there.saturating_add(size));
        }
    }
}

/// The first byte says how to split; then come changes of what an honest server says: three bytes each, where and
/// with what a byte is mixed, or in place of which bytes are put in. Panics if the result hangs on the splitting, or
/// if a handshake that was changed comes to its end.
pub fn handshake(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let Ok(transcript) = Transcript::shared() else { panic!("an honest handshake fails") };
    let mut said = transcript.server.clone();
    while let [high, low, with, after @ ..] = rest {
        rest = after;
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        // Where nothing is, what follows takes the place of all that an honest server would say from there.
        if at >= said.len() {
            said.truncate(usize::from(*with) * 4);
            said.extend_from_slice(rest);
            break;
        }
        said[at] ^= with;
    }
    let size = usize::from(first % 64) + 1;
    let whole = run(transcript, &said, usize::MAX);
    assert_eq!(run(transcript, &said, size), whole, "split by {size}");
    let (out, end) = whole;
    if let Ok((used, true)) = end {
        assert_eq!(said[..used], transcript.server[..], "a changed handshake is taken");
    }
    // One flight, or two, and an alert at most: nothing that a server says makes us say more.
    assert!(out.len() < 700, "{} bytes were said", out.len());
}
