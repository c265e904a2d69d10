//! What a peer may and may not send after a handshake, record by record.

use proptest::prelude::*;

use super::oracle::{self, Bench};
use super::*;

const UPDATE: &[u8] = &[24, 0, 0, 1, 0];
const UPDATE_ASKING: &[u8] = &[24, 0, 0, 1, 1];
const TICKET: &[u8] = &[4, 0, 0, 20, 0, 0, 0, 9, 0, 0, 0, 1, 1, 7, 0, 5, 1, 2, 3, 4, 5, 0, 0, 9];

fn bench(version: Version, role: Role) -> Bench {
    Bench::new(version, role).unwrap()
}

/// The last of these records has this result, and those before are taken.
#[track_caller]
fn check(version: Version, role: Role, said: &[(Kind, &[u8])], expected: Result<Received, Fault>) {
    let mut bench = bench(version, role);
    let mut out = vec![0; MAX_PLAIN + 300];
    let (last, before) = said.split_last().unwrap();
    for (kind, payload) in before {
        bench.say(*kind, payload, &mut out).unwrap();
    }
    assert_eq!(bench.say(last.0, last.1, &mut out), expected, "{version:?} {role:?} {said:?}");
}

fn refused(alert: Alert) -> Result<Received, Fault> {
    Err(Fault::Ours(alert))
}

#[test]
fn payload_alerts_and_messages_of_tls_1_3() {
    use Kind::{Alert as A, ChangeCipherSpec as C, Data as D, Handshake as H};
    let server = |said: &[(Kind, &[u8])], expected| check(Version::Tls13, Role::Server, said, expected);
    let client = |said: &[(Kind, &[u8])], expected| check(Version::Tls13, Role::Client, said, expected);
    server(&[(D, b"abc")], Ok(Received::Data(3)));
    server(&[(D, b"")], Ok(Received::Nothing));
    server(&[(A, &[1, 0])], Ok(Received::Close));
    server(&[(A, &[2, 0])], Ok(Received::Close));
    server(&[(A, &[1, 90])], Ok(Received::Nothing));
    // Fatal whatever its level says.
    server(&[(A, &[1, 40])], Err(Fault::Theirs(40)));
    server(&[(A, &[2, 20])], Err(Fault::Theirs(20)));
    server(&[(A, &[])], refused(Alert::DecodeError));
    server(&[(A, &[1])], refused(Alert::DecodeError));
    server(&[(A, &[1, 0, 1, 0])], refused(Alert::DecodeError));
    server(&[(C, &[1])], refused(Alert::UnexpectedMessage));
    server(&[(H, UPDATE)], Ok(Received::Nothing));
    server(&[(H, &UPDATE[..2]), (H, &UPDATE[2..])], Ok(Received::Nothing));
    server(&[(H, &UPDATE[..4]), (D, b"x")], refused(Alert::UnexpectedMessage));
    server(&[(H, &UPDATE[..1]), (A, &[1, 0])], refused(Alert::UnexpectedMessage));
    server(&[(H, b"")], refused(Alert::UnexpectedMessage));
    server(&[(H, &[24, 0, 0, 1, 2])], refused(Alert::IllegalParameter));
    server(&[(H, &[24, 0, 0, 2, 0, 0])], refused(Alert::DecodeError));
    server(&[(H, &[24, 0, 0, 1, 0, 24])], refused(Alert::UnexpectedMessage));
    // A ClientHello, a certificate, a ticket: none is a server's to hear.
    for kind in [1, 2, 4, 11, 13, 20] {
        server(&[(H, &[kind, 0, 0, 1, 0])], refused(Alert::UnexpectedMessage));
    }
    client(&[(H, TICKET)], Ok(Received::Nothing));
    client(&[(H, TICKET), (H, TICKET), (D, b"x")], Ok(Received::Data(1)));
    client(&[(H, &TICKET[..9]), (H, &TICKET[9..]), (D, b"x")], Ok(Received::Data(1)));
    client(&[(H, &[TICKET, UPDATE].concat())], Ok(Received::Nothing));
    client(&[(H, &TICKET[..9]), (D, b"x")], refused(Alert::UnexpectedMessage));
    client(&[(H, &[4, 0xff, 0, 0])], refused(Alert::DecodeError));
    client(&[(H, &[13, 0, 0, 1, 0])], refused(Alert::UnexpectedMessage));
}

#[test]
fn payload_and_alerts_of_tls_1_2_and_no_second_handshake() {
    use Kind::{Alert as A, ChangeCipherSpec as C, Data as D, Handshake as H};
    for role in [Role::Server, Role::Client] {
        let check = |said: &[(Kind, &[u8])], expected| check(Version::Tls12, role, said, expected);
        check(&[(D, b"abc")], Ok(Received::Data(3)));
        check(&[(A, &[1, 0])], Ok(Received::Close));
        check(&[(A, &[1, 100])], Ok(Received::Nothing));
        check(&[(A, &[2, 100])], Err(Fault::Theirs(100)));
        check(&[(A, &[2])], refused(Alert::DecodeError));
        check(&[(H, &[0, 0, 0, 0])], refused(Alert::NoRenegotiation));
        check(&[(H, UPDATE)], refused(Alert::NoRenegotiation));
        check(&[(C, &[1])], refused(Alert::UnexpectedMessage));
    }
}

#[test]
fn what_cannot_be_a_record_is_refused_at_its_header() {
    let len = |bytes: &[u8], version| record_len(bytes, version);
    for version in [Version::Tls12, Version::Tls13] {
        assert_eq!(len(&[23, 3, 3, 0x40], version), Ok(None));
        assert_eq!(len(&[23, 3, 3, 0x40, 0], version), Ok(Some(0x4005)));
        assert_eq!(len(&[23, 3, 3, 0x48, 1], version), Err(Alert::RecordOverflow));
        assert_eq!(len(b"GET / HTTP/1.1", version), Err(Alert::UnexpectedMessage));
        assert_eq!(len(&[24, 3, 3, 0, 1], version), Err(Alert::UnexpectedMessage));
    }
    assert_eq!(len(&[23, 3, 3, 0x41, 0], Version::Tls13), Ok(Some(0x4105)));
    assert_eq!(len(&[23, 3, 3, 0x41, 1], Version::Tls13), Err(Alert::RecordOverflow));
    assert_eq!(len(&[23, 9, 9, 0, 20], Version::Tls13), Ok(Some(25)), "to be ignored, RFC 8446 section 5.1");
    assert_eq!(len(&[23, 3, 1, 0, 20], Version::Tls12), Err(Alert::ProtocolVersion));
    for kind in [20, 21, 22] {
        assert_eq!(len(&[kind, 3, 3, 0, 2], Version::Tls13), Err(Alert::UnexpectedMessage), "not sealed");
        assert_eq!(len(&[kind, 3, 3, 0, 2], Version::Tls12), Ok(Some(7)));
    }
    let mut bench = bench(Version::Tls13, Role::Server);
    for short in 0..17 {
        let record = [&[23, 3, 3, 0, short][..], &vec![0; usize::from(short)]].concat();
        assert_eq!(bench.records.receive(&record, &mut [0; 32]), refused(Alert::BadRecordMac));
    }
}

#[test]
fn padding_is_taken_off_and_there_must_be_something_in_it() {
    let mut out = vec![0; MAX_PLAIN + 300];
    // Sealed as a type of 0, "abc" is its payload's last bytes with a type at the end of it.
    let mut sealed = |inner: &[u8]| {
        let mut bench = bench(Version::Tls13, Role::Server);
        let mut record = vec![0; inner.len() + 21];
        bench.sealer.seal_inner(inner, &mut record).unwrap();
        bench.records.receive(&record, &mut out).map(|received| (received, out[..3].to_vec()))
    };
    assert_eq!(sealed(b"abc\x17\0\0\0").unwrap(), (Received::Data(3), b"abc".to_vec()));
    assert_eq!(sealed(&[0; 9]).unwrap_err(), Fault::Ours(Alert::UnexpectedMessage));
    assert_eq!(sealed(b"").unwrap_err(), Fault::Ours(Alert::UnexpectedMessage));
    assert_eq!(sealed(b"abc\x18").unwrap_err(), Fault::Ours(Alert::UnexpectedMessage));
    let mut long = vec![b'x'; MAX_PLAIN + 2];
    long[MAX_PLAIN + 1] = 23;
    assert_eq!(sealed(&long).unwrap_err(), Fault::Ours(Alert::RecordOverflow));
    assert!(sealed(&long[1..]).is_ok());
}

#[test]
fn records_without_payload_come_32_times_and_no_more() {
    for (kind, payload) in [(Kind::Data, &b""[..]), (Kind::Handshake, UPDATE), (Kind::Alert, &[1, 90])] {
        let mut bench = bench(Version::Tls13, Role::Server);
        let mut out = [0; 64];
        for round in 0..2 {
            for _ in 0..32 {
                assert_eq!(bench.say(kind, payload, &mut out), Ok(Received::Nothing), "{kind:?} {round}");
                if kind == Kind::Handshake {
                    bench.turn().unwrap();
                }
            }
            if round == 0 {
                assert_eq!(bench.say(Kind::Data, b"x", &mut out), Ok(Received::Data(1)));
            }
        }
        assert_eq!(bench.say(kind, payload, &mut out), refused(Alert::UnexpectedMessage), "{kind:?}");
    }
}

/// What we send, as the peer opens it.
fn opened(bench: &mut Bench, mut sent: &[u8]) -> Vec<(Kind, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(length) = record_len(sent, Version::Tls13).unwrap() {
        let mut out = vec![0; bench.opener.room(length)];
        let (kind, count) = bench.opener.open(&sent[..length], &mut out).unwrap();
        out.truncate(count);
        all.push((kind, out));
        sent = &sent[length..];
        if all.last().unwrap().0 == Kind::Handshake {
            bench.follow();
        }
    }
    all
}

#[test]
fn a_key_update_is_answered_once_before_the_next_payload() {
    let mut bench = bench(Version::Tls13, Role::Server);
    let mut out = vec![0; 1000];
    for _ in 0..3 {
        bench.say(Kind::Handshake, UPDATE_ASKING, &mut out).unwrap();
        bench.turn().unwrap();
    }
    let (taken, sealed) = bench.records.send(b"payload", &mut out).unwrap();
    let sent = opened(&mut bench, &out[..sealed]);
    assert_eq!(taken, 7);
    assert_eq!(sent, [(Kind::Handshake, UPDATE.to_vec()), (Kind::Data, b"payload".to_vec())]);
    let (_, sealed) = bench.records.send(b"more", &mut out).unwrap();
    assert_eq!(opened(&mut bench, &out[..sealed]), [(Kind::Data, b"more".to_vec())]);
}

#[test]
fn a_tired_key_is_changed_in_tls_1_3_and_ends_the_connection_in_1_2() {
    let mut bench = bench(Version::Tls13, Role::Server);
    let mut out = vec![0; 200];
    bench.records.tire(2);
    let (_, mut kinds) = ((), Vec::new());
    for _ in 0..4 {
        let (_, sealed) = bench.records.send(b"x", &mut out).unwrap();
        kinds.extend(opened(&mut bench, &out[..sealed]).into_iter().map(|(kind, _)| kind));
    }
    assert_eq!(kinds, [Kind::Data, Kind::Data, Kind::Handshake, Kind::Data, Kind::Data]);

    let mut bench = Bench::new(Version::Tls12, Role::Server).unwrap();
    bench.records.tire(1);
    bench.records.send(b"x", &mut out).unwrap();
    assert_eq!(bench.records.send(b"x", &mut out), Err(SendError::Exhausted));
    assert!(bench.records.close(Alert::CloseNotify, &mut out) > 0, "it can still say goodbye");
}

#[test]
fn after_a_goodbye_nothing_is_sent() {
    let mut bench = bench(Version::Tls13, Role::Server);
    let mut out = vec![0; 200];
    let length = bench.records.close(Alert::DecodeError, &mut out);
    assert_eq!(opened(&mut bench, &out[..length]), [(Kind::Alert, vec![2, 50])]);
    assert_eq!(bench.records.close(Alert::CloseNotify, &mut out), 0);
    assert_eq!(bench.records.send(b"x", &mut out), Err(SendError::Closed));
}

#[test]
fn payload_becomes_full_records_and_what_does_not_fit_waits() {
    let mut bench = bench(Version::Tls13, Role::Server);
    let payload: Vec<u8> = (0..50_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut out = vec![0; 40_000];
    let (taken, sealed) = bench.records.send(&payload, &mut out).unwrap();
    let sent = opened(&mut bench, &out[..sealed]);
    let lengths: Vec<usize> = sent.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lengths, [MAX_PLAIN, MAX_PLAIN, 40_000 - 2 * MAX_PLAIN - 3 * 22]);
    assert_eq!(sent.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>(), payload[..taken]);
}

proptest! {
    #[test]
    fn whatever_comes(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        oracle::records(&data);
    }

    /// Mostly well-formed messages, so that more than the first byte is looked at.
    #[test]
    fn whatever_comes_in_its_form(
        first in any::<u8>(),
        steps in proptest::collection::vec(prop_oneof![
            Just(vec![1, 5, 24, 0, 0, 1, 0]),
            Just(vec![1, 5, 24, 0, 0, 1, 1]),
            Just(vec![1, 2, 24, 0]),
            Just(vec![1, 3, 0, 1, 1]),
            Just(vec![1, 6, 4, 0, 0, 2, 9, 9]),
            Just(vec![2, 2, 1, 90]),
            Just(vec![0, 3, 1, 2, 3]),
            Just(vec![0, 0]),
            Just(vec![5, 1, 7]),
        ], 0..80),
    ) {
        oracle::records(&[vec![first], steps.concat()].concat());
    }
}
