//! The target's greeting, by literal bytes and however they are split.

use proptest::prelude::*;

use super::*;

/// Output, consumed bytes and end of a greeting fed in pieces of `size`.
type Run = (Vec<u8>, usize, Result<Option<Outcome>, GreetError>);

fn run(mode: Mode, input: &[u8], size: usize) -> Run {
    let mut greeter = TargetGreeter::new(mode, Credentials::default());
    let (mut out, mut used) = (Vec::new(), 0);
    for piece in input.chunks(size.max(1)) {
        let fed = greeter.feed(piece);
        out.extend_from_slice(&greeter.output());
        match fed {
            Ok(n) => used += n,
            Err(e) => return (out, 0, Err(e)),
        }
        if greeter.done().is_some() {
            break;
        }
    }
    (out, used, Ok(greeter.done()))
}

fn none() -> Mode {
    Mode::Authenticate(vec![Security::None])
}

#[test]
fn greets_every_version() {
    let check = |input: &[u8], sent: &[u8], used: usize, outcome| {
        for size in [1, 2, 5, 1000] {
            assert_eq!(run(none(), input, size), (sent.to_vec(), used, Ok(outcome)), "{input:?} by {size}");
        }
    };
    // 3.8: version, types, result; one byte of ServerInit stays unread.
    check(
        b"RFB 003.008\n\x02\x02\x01\0\0\0\0X",
        b"RFB 003.008\n\x01",
        19,
        Some(Outcome::Authenticated(Version::V3_8)),
    );
    check(
        b"RFB 003.889\n\x01\x01\0\0\0\0",
        b"RFB 003.008\n\x01",
        18,
        Some(Outcome::Authenticated(Version::V3_8)),
    );
    check(b"RFB 003.007\n\x01\x01XY", b"RFB 003.007\n\x01", 14, Some(Outcome::Authenticated(Version::V3_7)));
    check(b"RFB 003.003\n\0\0\0\x01XY", b"RFB 003.003\n", 16, Some(Outcome::Authenticated(Version::V3_3)));
    check(b"RFB 003.005\n\0\0\0\x01", b"RFB 003.003\n", 16, Some(Outcome::Authenticated(Version::V3_3)));
    check(b"RFB 003.008\n\x01\x01\0\0\0", b"RFB 003.008\n\x01", 17, None);
}

#[test]
fn passing_through_answers_nothing() {
    let input = b"RFB 003.008\nrest";
    assert_eq!(run(Mode::PassThrough, input, 3), (vec![], 12, Ok(Some(Outcome::PassThrough(Version::V3_8)))));
    let apple = run(Mode::PassThrough, b"RFB 003.889\n", 100);
    assert_eq!(apple.2, Ok(Some(Outcome::PassThrough(Version::V3_8))));
}

#[test]
fn says_why_a_target_refused() {
    let check = |input: &[u8], expected: GreetError| {
        for size in [1, 3, 1000] {
            assert_eq!(run(none(), input, size).2, Err(expected.clone()), "{input:?} by {size}");
        }
    };
    let refused = |reason: &str| GreetError::Refused { reason: reason.to_owned() };
    let failed = |reason: &str| GreetError::Failed { reason: reason.to_owned() };
    check(b"RFB 003.008\n\0\0\0\0\x0cToo\x1b[31mbusy", refused("Too[31mbusy"));
    check(b"RFB 003.003\n\0\0\0\0\0\0\0\x04busy", refused("busy"));
    check(b"RFB 003.008\n\x01\x01\0\0\0\x01\0\0\0\x02no", failed("no"));
    check(b"RFB 003.008\n\x01\x01\0\0\0\x02\0\0\0\0", failed("it gave no reason"));
    check(b"RFB 003.008\n\x01\x02", GreetError::Security(vec![2]));
    check(b"RFB 003.003\n\0\0\0\x02", GreetError::Security(vec![2]));
    check(b"RFB 003.003\n\x01\0\0\0", GreetError::Security(vec![255]));
    check(b"HTTP/1.1 400 Bad", GreetError::NotRfb { said: "HTTP/1.1 400".to_owned() });
    let mut long = b"RFB 003.008\n\0\xff\xff\xff\xff".to_vec();
    long.extend([b'x'; 300]);
    check(&long, refused(&"x".repeat(256)));
}

#[test]
fn says_what_was_awaited_when_the_target_hung_up() {
    let check = |input: &[u8], expected: &str| {
        let mut greeter = TargetGreeter::new(none(), Credentials::default());
        assert_eq!(greeter.feed(input), Ok(input.len()));
        assert_eq!(greeter.closed().to_string(), expected);
    };
    check(b"", "target closed the connection before it sent its RFB version");
    check(b"RFB 003", "target closed the connection before it sent its RFB version");
    check(
        b"login: ",
        "target is not a VNC server: it began with \"login:\"; check the host and port of `vnc`",
    );
    check(b"RFB 003.008\n\x02\x01", "target closed the connection before it sent its security types");
    check(b"RFB 003.008\n\x01\x01", "target closed the connection before it sent SecurityResult");
    check(b"RFB 003.008\n\0\0\0\0\x09Too ma", "target refused the connection: Too ma");
}

#[test]
fn a_failed_greeting_stays_failed() {
    let mut greeter = TargetGreeter::new(none(), Credentials::default());
    let first = greeter.feed(b"RFB 003.008\n\x01\x02").expect_err("password only");
    assert_eq!(greeter.feed(b"\x01"), Err(first.clone()));
    assert_eq!(greeter.closed(), first);
}

proptest! {
    #[test]
    fn the_same_however_it_is_split(
        version in prop::sample::select(vec!["RFB 003.003\n", "RFB 003.007\n", "RFB 003.008\n", "RFB 9"]),
        tail in prop::collection::vec(0u8..4, 0..40),
        size in 1usize..20,
        through: bool,
    ) {
        let input = [version.as_bytes(), &tail].concat();
        let mode = if through { Mode::PassThrough } else { none() };
        prop_assert_eq!(run(mode.clone(), &input, size), run(mode, &input, usize::MAX));
    }
}

const CHALLENGE: &[u8; 16] = b"challengechallen";

/// What was said in the clear, what inside TLS if it came to that, and the end.
type Secured = (Vec<u8>, Option<Vec<u8>>, Result<Option<Outcome>, GreetError>);

/// A whole greeting: what the target says in the clear and, once TLS stands, inside it. What was sent, in which
/// of the two, and how it ended.
fn vencrypt(allowed: &[Security], clear: &[u8], inside: &[u8], size: usize) -> Secured {
    let mut greeter =
        TargetGreeter::new(Mode::Authenticate(allowed.to_vec()), Credentials::new("anne", "opensesame"));
    let mut said = Vec::new();
    for piece in clear.chunks(size) {
        let fed = greeter.feed(piece);
        said.extend_from_slice(&greeter.output());
        if let Err(error) = fed {
            return (said, None, Err(error));
        }
    }
    if !greeter.wants_tls() {
        return (said, None, Ok(greeter.done()));
    }
    greeter.secured();
    let mut said_inside = greeter.output().to_vec();
    for piece in inside.chunks(size) {
        let fed = greeter.feed(piece);
        said_inside.extend_from_slice(&greeter.output());
        if let Err(error) = fed {
            return (said, Some(said_inside), Err(error));
        }
    }
    (said, Some(said_inside), Ok(greeter.done()))
}

/// Type 19 offered, version 0.2 offered and taken, `subtypes` offered, the choice taken.
fn offers(version: &str, types: &[u8], subtypes: &[u32]) -> Vec<u8> {
    let count = [u8::try_from(types.len()).expect("few")];
    let subtype_count = [u8::try_from(subtypes.len()).expect("few")];
    let numbers: Vec<u8> = subtypes.iter().flat_map(|number| number.to_be_bytes()).collect();
    [version.as_bytes(), &count, types, &[0, 2], &[0], &subtype_count, &numbers, &[1]].concat()
}

#[test]
fn answers_a_vnc_password() {
    let answer = Credentials::new("", "opensesame").answer(CHALLENGE);
    let check = |target: &[&[u8]], sent: &[&[u8]], version| {
        for size in [1, 5, 1000] {
            let (said, inside, end) = vencrypt(&[Security::Vnc, Security::None], &target.concat(), b"", size);
            assert_eq!((said, inside), (sent.concat(), None), "by {size}");
            assert_eq!(end, Ok(Some(Outcome::Authenticated(version))));
        }
    };
    // Our order counts, not the target's.
    check(
        &[b"RFB 003.008\n", b"\x02\x01\x02", CHALLENGE, b"\0\0\0\0"],
        &[b"RFB 003.008\n", b"\x02", &answer],
        Version::V3_8,
    );
    check(
        &[b"RFB 003.007\n", b"\x01\x02", CHALLENGE, b"\0\0\0\0"],
        &[b"RFB 003.007\n", b"\x02", &answer],
        Version::V3_7,
    );
    check(
        &[b"RFB 003.003\n", b"\0\0\0\x02", CHALLENGE, b"\0\0\0\0"],
        &[b"RFB 003.003\n", &answer],
        Version::V3_3,
    );
    let wrong = [b"RFB 003.003\n\0\0\0\x02", CHALLENGE.as_slice(), b"\0\0\0\x01"].concat();
    let (_, _, end) = vencrypt(&[Security::Vnc], &wrong, b"", 7);
    assert_eq!(end, Err(GreetError::Failed { reason: "it gave no reason".to_owned() }));
}

#[test]
fn proves_itself_inside_tls_only() {
    let answer = Credentials::new("", "opensesame").answer(CHALLENGE);
    let clear = |subtype: u32| [b"RFB 003.008\n\x13\0\x02".as_slice(), &subtype.to_be_bytes()].concat();
    let check = |security, subtype, inside: &[u8], sent_inside: &[u8]| {
        let target = offers("RFB 003.008\n", &[1, 2, 19], &[257, 258, 259, 260, 261, 262]);
        for size in [1, 6, 1000] {
            let run = vencrypt(&[security, Security::Vnc], &target, inside, size);
            let end = Ok(Some(Outcome::Authenticated(Version::V3_8)));
            assert_eq!(run, (clear(subtype), Some(sent_inside.to_vec()), end), "{security} by {size}");
        }
    };
    let challenged = [CHALLENGE.as_slice(), b"\0\0\0\0"].concat();
    let plain = b"\0\0\0\x04\0\0\0\x0aanneopensesame";
    check(Security::TlsNone, 257, b"\0\0\0\0", b"");
    check(Security::TlsVnc, 258, &challenged, &answer);
    check(Security::TlsPlain, 259, b"\0\0\0\0", plain);
    check(Security::X509None, 260, b"\0\0\0\0", b"");
    check(Security::X509Vnc, 261, &challenged, &answer);
    check(Security::X509Plain, 262, b"\0\0\0\0", plain);
    // Unlike None, X509None has a SecurityResult in 3.7 too, as QEMU and TigerVNC have it.
    let target = offers("RFB 003.007\n", &[19], &[260]);
    assert_eq!(vencrypt(&[Security::X509None], &target, b"", 9).2, Ok(None));
    assert!(vencrypt(&[Security::X509None], &target, b"\0\0\0\0", 9).2.expect("an end").is_some());
    let failed = vencrypt(&[Security::X509None], &target, b"\0\0\0\x01", 9).2;
    assert_eq!(failed, Err(GreetError::Failed { reason: "it gave no reason".to_owned() }));
}

#[test]
fn the_order_of_vencrypts_types_is_ours() {
    let target = offers("RFB 003.008\n", &[19], &[260, 261]);
    let (said, ..) = vencrypt(&[Security::X509Vnc, Security::X509None], &target, b"", 1000);
    assert!(said.ends_with(&261u32.to_be_bytes()));
    let (said, ..) = vencrypt(&[Security::X509None, Security::X509Vnc], &target, b"", 1000);
    assert!(said.ends_with(&260u32.to_be_bytes()));
    // A certificate before none, and none where it was not named, whatever is offered first.
    let target = offers("RFB 003.008\n", &[19], &[257, 258, 259, 260]);
    let (said, ..) = vencrypt(&[Security::X509None, Security::TlsNone], &target, b"", 1000);
    assert!(said.ends_with(&260u32.to_be_bytes()));
    let (said, ..) = vencrypt(&[Security::X509Vnc, Security::TlsVnc], &target, b"", 1000);
    assert!(said.ends_with(&258u32.to_be_bytes()));
    let (.., end) = vencrypt(&[Security::X509Vnc, Security::X509Plain, Security::Vnc], &target, b"", 1000);
    assert_eq!(end, Err(GreetError::Subtypes(vec![257, 258, 259, 260])));
}

#[test]
fn nothing_leads_back_from_vencrypt() {
    use Security::{None, Vnc, X509Plain, X509Vnc};
    let check = |allowed: &[Security], target: &[u8], said: &[u8], error: GreetError| {
        for size in [1, 4, 1000] {
            assert_eq!(
                vencrypt(allowed, target, b"", size),
                (said.to_vec(), Option::None, Err(error.clone()))
            );
        }
    };
    let line = b"RFB 003.008\n";
    let begun = [line.as_slice(), b"\x13"].concat();
    let spoken = [line.as_slice(), b"\x13\0\x02"].concat();
    let said = |rest: &[u8]| [line.as_slice(), rest].concat();
    // Stripped of VeNCrypt: nothing that was not allowed is taken.
    check(&[X509Vnc], &said(b"\x02\x01\x02"), line, GreetError::Security(vec![1, 2]));
    check(&[X509Plain], b"RFB 003.003\n\0\0\0\x13", b"RFB 003.003\n", GreetError::Security(vec![19]));
    // Old versions, a refusal of our version.
    check(&[X509Vnc, Vnc], &said(b"\x03\x01\x02\x13\0\x01"), &begun, GreetError::VeNCryptVersion(0, 1));
    check(&[X509Vnc, Vnc], &said(b"\x01\x13\0\x02\x01"), &spoken, GreetError::VeNCryptRefused);
    // Plain in the clear, anonymous TLS, nothing: also with weaker types allowed beside it.
    check(
        &[X509Plain, None],
        &offers("RFB 003.008\n", &[19, 1], &[256, 257, 259]),
        &spoken,
        GreetError::Subtypes(vec![256, 257, 259]),
    );
    check(&[X509Plain], &said(b"\x01\x13\0\x02\0\0"), &spoken, GreetError::Subtypes(vec![]));
    // TLS refused after all; and bytes smuggled in before it.
    let chosen = [spoken.as_slice(), &261u32.to_be_bytes()].concat();
    let mut target = offers("RFB 003.008\n", &[19], &[261]);
    *target.last_mut().expect("an answer") = 0;
    check(&[X509Vnc], &target, &chosen, GreetError::TlsRefused);
    *target.last_mut().expect("an answer") = 1;
    target.extend(CHALLENGE);
    check(&[X509Vnc], &target, &chosen, GreetError::BeforeTls);
}

#[test]
fn what_it_waits_for_is_told() {
    let check = |input: &[u8], expected: &str| {
        let mut greeter =
            TargetGreeter::new(Mode::Authenticate(vec![Security::X509None]), Credentials::default());
        assert_eq!(greeter.feed(input), Ok(input.len()));
        assert_eq!(greeter.closed().to_string(), format!("target closed the connection {expected}"));
    };
    check(b"RFB 003.008\n\x01\x13", "before it agreed on a VeNCrypt version");
    check(b"RFB 003.008\n\x01\x13\0\x02\0", "before it sent its VeNCrypt types");
    let whole = offers("RFB 003.008\n", &[19], &[260]);
    check(&whole[..whole.len() - 1], "before TLS began");
    check(&whole, "before TLS began");
}

proptest! {
    #[test]
    fn vencrypt_is_the_same_however_it_is_split(
        subtypes in prop::collection::vec(256u32..265, 0..5),
        cut in 0usize..60,
        inside in prop::collection::vec(0u8..3, 0..40),
        size in 1usize..20,
    ) {
        let target = offers("RFB 003.008\n", &[2, 19], &subtypes);
        let target = &target[..target.len().min(cut)];
        let all = [Security::X509Plain, Security::X509Vnc, Security::X509None];
        prop_assert_eq!(vencrypt(&all, target, &inside, size), vencrypt(&all, target, &inside, 1000));
    }
}
