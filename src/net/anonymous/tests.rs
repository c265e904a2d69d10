//! What a server may and may not say in an anonymous handshake, and what is said to it.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use zeroize::Zeroizing;

use crate::net::record::{Alert, Kind, Received};

use super::group::Group;
use super::messages::{Type, message};
use super::oracle::{self, FFDHE2048, Server, Transcript, hex, random, record, sealed};
use super::schedule::Suite;
use super::*;

const HANDSHAKE: u8 = 22;

/// The first handshake's flight ends here: before the last two records.
const LAST: usize = 6 + 45;

fn server() -> Server {
    Server::new(Suite::Aes256).unwrap()
}

fn transcript() -> &'static Transcript {
    Transcript::shared().as_ref().unwrap()
}

/// Told this, a client ends with the error and says the alert in the clear, in pieces of any size.
#[track_caller]
fn refuses(said: &[u8], expected: &Error, alert: u8) {
    let hello = Client::new(random()).output();
    for size in [1, 7, usize::MAX] {
        let (out, end) = oracle::run(transcript(), said, size);
        assert_eq!(end.as_ref(), Err(expected), "by {size}");
        assert_eq!(out[hello.len()..], record(21, &[2, alert]), "by {size}");
    }
}

#[test]
fn both_suites_lead_to_a_connection_both_ways() {
    for suite in Suite::ALL {
        let server = Server::new(suite).unwrap();
        let mut client = Client::new(random());
        let hello = client.output();
        let first = server.first();
        assert_eq!(client.feed(&first), Ok(first.len()));
        assert_eq!(client.feed(b"later"), Ok(0), "the arithmetic comes first");
        let agreement = client.agreement().unwrap();
        assert!(client.agreement().is_none() && client.output().is_empty() && !client.is_done());
        client.agreed(agreement.compute()).unwrap();
        let mut last = server.last(&hello, &client.output()).unwrap();
        let payload = sealed(&mut last.keys.server, Kind::Data, b"RFB").unwrap();
        let said = [&last.flight[..], &payload].concat();
        assert_eq!(client.feed(&said), Ok(last.flight.len()), "payload is not the handshake's");
        assert!(client.is_done() && client.output().is_empty());
        let mut records = client.into_records().unwrap();
        let mut out = [0; 100];
        assert_eq!(records.receive(&payload, &mut out), Ok(Received::Data(3)));
        assert_eq!(&out[..3], b"RFB");
        let (taken, length) = records.send(b"yes", &mut out).unwrap();
        let mut opened = [0; 100];
        assert_eq!((taken, last.keys.client.open(&out[..length], &mut opened)), (3, Ok((Kind::Data, 3))));
        assert_eq!(&opened[..3], b"yes");
        // No key updates in this version.
        records.tire(0);
        assert!(records.send(b"x", &mut out).is_err());
    }
}

#[test]
fn client_hello_offers_this_and_no_more() {
    let expected = [
        &hex("16030100")[..],
        &hex("4a010000460303"),
        &[0xc1; 32],
        &hex("00000400a700a601000019"),
        &hex("00170000"),
        &hex("ff01000100"),
        &hex("000a000c000a01000101010201030104"),
    ];
    assert_eq!(Client::new(random()).output(), expected.concat());
}

#[test]
fn a_server_hello_takes_of_what_was_offered() {
    let honest = server().hello;
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut hello = honest.clone();
        change(&mut hello);
        record(HANDSHAKE, &message(Type::ServerHello, &hello))
    };
    let check =
        |change: &dyn Fn(&mut Vec<u8>), expected: &Error, alert| refuses(&changed(change), expected, alert);
    let malformed = Error::Malformed("ServerHello");
    let at = 34;
    check(&|hello| hello[1] = 2, &Error::Version(3, 2), 70);
    check(&|hello| hello[1] = 4, &Error::Version(3, 4), 70);
    check(&|hello| hello[0] = 254, &Error::Version(254, 3), 70);
    // ADH with RC4, with CBC, ECDH_anon, NULL, ECDHE with a certificate.
    for suite in [0x0018, 0x006d, 0xc019, 0x0000, 0xc02f] {
        let number = u16::to_be_bytes(suite);
        check(&|hello| hello[at + 1..at + 3].copy_from_slice(&number), &Error::Suite(suite), 47);
    }
    check(&|hello| hello[at + 3] = 1, &Error::Compression, 47);
    check(&|hello| hello[at] = 33, &malformed, 50);
    check(&|hello| hello.truncate(at), &malformed, 50);
    check(&|hello| hello.push(0), &malformed, 50);
    check(&|hello| hello.truncate(hello.len() - 1), &malformed, 50);
    let extensions = |hello: &mut Vec<u8>, extensions: &[u8]| {
        hello.truncate(at + 4);
        hello.extend_from_slice(extensions);
    };
    let bound = Error::Missing("extended_master_secret (RFC 7627)");
    let safe = Error::Missing("renegotiation_info (RFC 5746)");
    check(&|hello| extensions(hello, &[]), &bound, 40);
    check(&|hello| extensions(hello, &[0, 0]), &bound, 40);
    check(&|hello| extensions(hello, &hex("0005ff01000100")), &bound, 40);
    check(&|hello| extensions(hello, &hex("000400170000")), &safe, 40);
    check(&|hello| extensions(hello, &hex("000800170000")), &malformed, 50);
    check(&|hello| extensions(hello, &hex("00080017000000170000")), &Error::Extension(23), 110);
    check(&|hello| extensions(hello, &hex("000400230000")), &Error::Extension(35), 110);
    check(&|hello| extensions(hello, &hex("000400160000")), &Error::Extension(22), 110);
    check(&|hello| extensions(hello, &hex("00050017000100")), &malformed, 50);
    check(&|hello| extensions(hello, &hex("0005ff01000101")), &malformed, 50);
    // A session id is a new session's.
    let mut with_session = server();
    with_session.hello.splice(at..=at, [&[32][..], &[9; 32]].concat());
    let mut client = Client::new(random());
    assert!(client.feed(&with_session.first()).is_ok() && client.agreement().is_some());
}

/// A number of so many bits, odd, and no prime; nobody looks.
fn number(bits: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; bits.div_ceil(8)];
    bytes[0] >>= bytes.len() * 8 - bits;
    bytes
}

#[test]
fn a_group_that_gives_the_secret_away_is_refused() {
    let prime = hex(FFDHE2048);
    let last = [&prime[..255], &[0xfe]].concat();
    let told = |values: &[&[u8]; 3]| {
        let mut server = server();
        server.params = Server::params(values);
        server.first()
    };
    let check = |values: &[&[u8]; 3], error: &Error, alert| refuses(&told(values), error, alert);
    for bits in [1, 512, 1024, 2047, 8193] {
        check(&[&number(bits), &[2], &[3]], &Error::PrimeLength(bits), 71);
    }
    check(&[&[], &[2], &[3]], &Error::PrimeLength(0), 71);
    // Zeros in front make nothing longer.
    check(&[&[&[0; 128][..], &number(1024)].concat(), &[2], &[3]], &Error::PrimeLength(1024), 71);
    check(&[&last, &[2], &[3]], &Error::Parameter("prime is even"), 47);
    let above = [&[1][..], &prime].concat();
    for bad in [&[][..], &[0], &[1], &last, &prime, &above, &[0, 0, 1]] {
        let generator = Error::Parameter("generator is not between 1 and p-1");
        check(&[&prime, bad, &[3]], &generator, 47);
        let public = Error::Parameter("public value is not between 1 and p-1");
        check(&[&prime, &[2], bad], &public, 47);
    }
    let malformed = Error::Malformed("ServerKeyExchange");
    let honest = server();
    for params in [&[][..], &[0xff], &[0xff, 0xff], &honest.params[..honest.params.len() - 1]] {
        let server = Server { params: params.to_vec(), ..server() };
        refuses(&server.first(), &malformed, 50);
    }
    // A signature behind it, as other suites have it.
    let signed = Server { params: [&honest.params[..], &[4, 1, 0, 0]].concat(), ..server() };
    refuses(&signed.first(), &malformed, 50);
    for bits in [2048, 2051, 3072, 8192] {
        assert!(Group::new(&number(bits), &[2], &[3]).is_ok(), "{bits}");
    }
    assert!(Group::new(&[&[0], &prime[..]].concat(), &[2], &[0, 3]).is_ok(), "a sign's zero");
}

#[test]
fn powers_are_those_that_others_compute() {
    // Python's pow().
    let check = |prime: &[u8], ours: &str, shared: &str| {
        let public: Vec<u8> = (100..200).collect();
        let exponent = Zeroizing::new(std::array::from_fn(|at| u8::try_from(at + 1).unwrap()));
        let agreement = Agreement { group: Group::new(prime, &[2], &public).unwrap(), exponent };
        let agreed = agreement.compute().unwrap();
        assert_eq!(agreed.public.len(), prime.len());
        assert_eq!(Sha256::digest(&agreed.public)[..], hex(ours));
        assert_eq!(Sha256::digest(&agreed.secret)[..], hex(shared));
    };
    check(&hex(FFDHE2048), OURS, SHARED);
    let mut odd = vec![0; 257];
    (odd[0], odd[255], odd[256]) = (4, 3, 0xd5);
    check(&odd, ODD_OURS, ODD_SHARED);
}

const OURS: &str = "1908b0773912e53f8b481d76c9723f551e22e7edcee9e562bf0cc763a9ce3958";
const SHARED: &str = "2e9159868640bfb6d1d0d4b6078b197f2acb9f852938947bd17fc848ade6524c";
const ODD_OURS: &str = "87abc80596c2fd2d792a521ddab50f880d6e94362a606ea4b67b6c8effc2cd90";
const ODD_SHARED: &str = "11897e29dd6240b956d9c278220b3b180d4145af304c6296ed822b5405046b6a";

#[test]
fn zeros_in_front_of_a_secret_are_left_out_and_of_a_public_value_kept() {
    let power = |exponent: u8| {
        let mut bytes = Zeroizing::new([0; EXPONENT]);
        bytes[EXPONENT - 1] = exponent;
        Agreement { group: Group::new(&hex(FFDHE2048), &[2], &[3]).unwrap(), exponent: bytes }.compute()
    };
    let agreed = power(8).unwrap();
    assert_eq!(agreed.secret[..], [0x19, 0xa1], "3^8");
    assert_eq!(agreed.public, [&[0; 254][..], &[1, 0]].concat(), "2^8, as long as the prime");
    assert_eq!(power(0).unwrap_err(), Error::Parameter("values make no secret"));
}

#[test]
fn every_message_has_its_place() {
    let [hello, exchange, done] = server().messages();
    let records = |messages: &[&[u8]]| {
        messages.iter().flat_map(|message| record(HANDSHAKE, message)).collect::<Vec<u8>>()
    };
    let order = |said: &[u8], due| refuses(said, &Error::Order(due), 10);
    order(&records(&[&exchange]), "ServerHello");
    order(&records(&[&hello, &done]), "ServerKeyExchange");
    order(&records(&[&hello, &hello]), "ServerKeyExchange");
    // A certificate: this is not the TLS that was chosen.
    order(&records(&[&hello, &[11, 0, 0, 3, 0, 0, 0]]), "ServerKeyExchange");
    order(&records(&[&hello, &exchange, &exchange]), "ServerHelloDone");
    // HelloRequest, a request of a certificate.
    order(&records(&[&[0, 0, 0, 0]]), "ServerHello");
    order(&records(&[&hello, &exchange, &[13, 0, 0, 4]]), "ServerHelloDone");
    order(&records(&[&hello, &exchange, &[&done[..], &done].concat()]), "ChangeCipherSpec");
    order(&records(&[&hello, &exchange, &[&done[..], &[20]].concat()]), "ChangeCipherSpec");
    order(&record(20, &[1]), "ServerHello");
    order(&record(23, b"x"), "ServerHello");
    order(&[records(&[&hello]), record(20, &[1])].concat(), "ServerKeyExchange");
    order(&[records(&[&hello]), b"GET / HTTP".to_vec()].concat(), "ServerKeyExchange");
    // Longer than they can be: refused at the head, before anything of them is kept.
    refuses(&records(&[&[2, 0xff, 0xff, 0xff]]), &Error::Malformed("ServerHello"), 50);
    refuses(&records(&[&hello, &[12, 0, 0x0c, 0x0a]]), &Error::Malformed("ServerKeyExchange"), 50);
    refuses(&records(&[&hello, &exchange, &[14, 0, 0, 1]]), &Error::Malformed("ServerHelloDone"), 50);
    refuses(&record(HANDSHAKE, &[]), &Error::Malformed("record"), 50);
    refuses(&[22, 3, 3, 0x40, 1], &Error::Record(Alert::RecordOverflow), 22);
    refuses(&[22, 3, 2, 0, 1], &Error::Version(3, 2), 70);
    refuses(&[22, 2, 3, 0, 1], &Error::NotTls, 10);
    refuses(b"RFB 003.008\n", &Error::NotTls, 10);
    // In pieces, or all in one, they are the same.
    let all = [&hello[..], &exchange, &done].concat();
    for size in [1, 5, 300, 4000] {
        let said: Vec<u8> = all.chunks(size).flat_map(|piece| record(HANDSHAKE, piece)).collect();
        let mut client = Client::new(random());
        assert_eq!(client.feed(&said), Ok(said.len()));
        assert!(client.agreement().is_some(), "records of {size}");
    }
}

#[test]
fn a_server_that_gives_up_is_quoted_and_told_nothing() {
    for (alert, text) in [
        (
            &[21, 3, 1, 0, 2, 2, 70][..],
            "the server gave up with TLS alert 70 (protocol_version): it does not speak TLS 1.2",
        ),
        (&[21, 3, 3, 0, 2, 1, 0], "the server gave up with TLS alert 0 (close_notify)"),
        (&[21, 3, 0, 0, 2, 2, 99], "the server gave up with TLS alert 99"),
    ] {
        let (out, end) = oracle::run(transcript(), alert, 3);
        assert_eq!(end.unwrap_err().to_string(), text);
        assert_eq!(out, Client::new(random()).output());
    }
    refuses(&record(21, &[2]), &Error::Malformed("alert"), 50);
}

/// A client that waits for the server's end, and that server.
fn before_the_end() -> (Client, oracle::Last) {
    let server = server();
    let mut client = Client::new(random());
    let hello = client.output();
    client.feed(&server.first()).unwrap();
    let agreed = client.agreement().unwrap().compute();
    client.agreed(agreed).unwrap();
    let last = server.last(&hello, &client.output()).unwrap();
    (client, last)
}

#[test]
fn nothing_but_the_right_finished_ends_it() {
    let change = record(20, &[1]);
    let finished = |data: u8| message(Type::Finished, &[data; 12]);
    let check = |said: &dyn Fn(&mut oracle::Last) -> Vec<u8>, expected: Error, alert: u8| {
        let (mut client, mut last) = before_the_end();
        let said = said(&mut last);
        assert_eq!(client.feed(&said), Err(expected.clone()), "{said:02x?}");
        // Our alert is sealed: we have changed ciphers.
        let mut opened = [0; 2];
        assert_eq!(last.keys.client.open(&client.output(), &mut opened), Ok((Kind::Alert, 2)));
        assert_eq!(opened, [2, alert]);
        assert_eq!(client.feed(&last.flight), Err(expected), "it does not recover");
        assert!(!client.is_done() && client.into_records().is_none());
    };
    let next = |last: &mut oracle::Last, kind, payload: &[u8]| {
        // The honest one was number 0, and was not sent.
        last.keys.server = last.again();
        [change.clone(), sealed(&mut last.keys.server, kind, payload).unwrap()].concat()
    };
    check(&|last| next(last, Kind::Handshake, &finished(0)), Error::Finished, 51);
    check(&|last| next(last, Kind::Data, b"RFB"), Error::Order("Finished"), 10);
    check(&|last| next(last, Kind::ChangeCipherSpec, &[1]), Error::Order("Finished"), 10);
    // A ticket, which was not asked for.
    check(&|last| next(last, Kind::Handshake, &[4, 0, 0, 6]), Error::Order("Finished"), 10);
    check(&|last| next(last, Kind::Handshake, &[20, 0, 0, 13]), Error::Malformed("Finished"), 50);
    check(&|last| next(last, Kind::Handshake, &message(Type::Finished, &[0; 11])), Error::Finished, 51);
    check(&|last| next(last, Kind::Handshake, &message(Type::Finished, &[])), Error::Finished, 51);
    // In the clear, without the change, twice changed, changed to something else.
    let clear = record(HANDSHAKE, &finished(0));
    check(&|_| clear.clone(), Error::Order("ChangeCipherSpec"), 10);
    check(&|_| [&change[..], &clear].concat(), Error::Record(Alert::BadRecordMac), 20);
    check(&|_| [&change[..], &change].concat(), Error::Record(Alert::BadRecordMac), 20);
    check(&|_| record(20, &[2]), Error::Order("ChangeCipherSpec"), 10);
    check(&|_| record(20, &[1, 1]), Error::Order("ChangeCipherSpec"), 10);
    check(&|last| last.flight[change.len()..].to_vec(), Error::Order("ChangeCipherSpec"), 10);
    check(&|_| [&change[..], &[22, 3, 3, 0, 41]].concat(), Error::Record(Alert::RecordOverflow), 22);
    // The client's own, sent back to it.
    let (mut client, last) = before_the_end();
    assert_eq!(client.feed(&last.flight), Ok(LAST));
    assert!(client.is_done());
}

#[test]
fn an_alert_in_place_of_finished_is_quoted() {
    let (mut client, mut last) = before_the_end();
    last.keys.server = last.again();
    let alert = sealed(&mut last.keys.server, Kind::Alert, &[2, 51]).unwrap();
    let said = [record(20, &[1]), alert].concat();
    assert_eq!(client.feed(&said), Err(Error::Alert(51)));
    assert!(client.output().is_empty());
}

#[test]
fn nothing_shows_a_secret() {
    let exponent = Zeroizing::new([0xab; EXPONENT]);
    let agreement = Agreement { group: Group::new(&hex(FFDHE2048), &[2], &[3]).unwrap(), exponent };
    assert_eq!(format!("{agreement:?}"), "Agreement { bits: 2048, .. }");
    assert_eq!(format!("{:?}", agreement.compute().unwrap()), "Agreed(..)");
    assert_eq!(format!("{:?}", random()), "Random(..)");
    let client = format!("{:?}", Client::new(random()));
    assert_eq!(client, "Client { state: Message(ServerHello), .. }");
}

#[test]
fn what_the_oracle_takes_for_honest_is_taken() {
    let said = &transcript().server;
    for size in [1, 2, 6, 100, usize::MAX] {
        assert_eq!(oracle::run(transcript(), said, size).1, Ok((said.len(), true)));
    }
    for cut in 0..said.len() {
        let (_, end) = oracle::run(transcript(), &said[..cut], usize::MAX);
        assert!(matches!(end, Ok((_, false))), "{cut}: {end:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A few bytes changed anywhere, each with any other.
    #[test]
    fn a_changed_handshake_fails_however_it_is_split(
        size in any::<u8>(),
        changes in proptest::collection::vec((0u16..760, 1u8..), 1..4),
    ) {
        let changes = changes.iter().flat_map(|(at, with)| [&at.to_be_bytes()[..], &[*with]].concat());
        oracle::handshake(&[vec![size], changes.collect()].concat());
    }

    /// An honest begin, and then anything.
    #[test]
    fn whatever_comes(
        size in any::<u8>(),
        keep in any::<u8>(),
        kind in 19u8..25,
        tail in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        oracle::handshake(&[&[size, 0xff, 0xff, keep][..], &tail].concat());
        let length = u8::try_from(tail.len()).unwrap();
        oracle::handshake(&[&[size, 0xff, 0xff, 0, kind, 3, 3, 0, length][..], &tail].concat());
    }
}
