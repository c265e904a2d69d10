//! TLS without a certificate towards targets that are not what they should be: each is refused, and the log says why.

use std::net::SocketAddr;

use consolegate::ids::Protocol;
use consolegate::rfb::fbs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::recording::{only, recording};
use crate::support::hypervisor::{Hypervisor, Protection, Tls};
use crate::support::program::Program;
use crate::support::rfb::Rfb;
use crate::support::server::target;
use crate::support::wire::Frame;
use crate::support::{temp, within};

const VM: &str = "00000009-0000-4000-8000-000000000000";

const PASSWORD: &str = "opensesa";

/// What the proxy says in the clear, with TLSVnc chosen.
const CLEAR: &[u8] = b"RFB 003.008\n\x13\0\x02\0\0\x01\x02";

/// Length of our ClientHello, with its record's header.
const HELLO: usize = 79;

/// The proxy, with TLSVnc alone allowed towards `vnc`.
async fn start(vnc: SocketAddr) -> Program {
    let security =
        format!("[target.vnc_security]\ntypes = [\"vencrypt-tls-vnc\"]\npassword = \"{PASSWORD}\"");
    Program::serve(&target(VM, "vm", &format!("vnc = \"tcp://{vnc}\"\n{security}"))).await
}

async fn refused(program: &Program) {
    let token = program.issue(VM, Protocol::Vnc).await;
    let refused = Rfb::open(program.at, &token).await.err();
    assert_eq!(refused.as_deref(), Some("HTTP/1.1 502 Bad Gateway"));
}

/// A VNC server up to TLS, of which it says `first`; all that it heard from ClientHello on.
async fn play(listener: &TcpListener, first: &[u8]) -> Vec<u8> {
    let (mut stream, _) = within("the dial", listener.accept()).await.unwrap();
    let mut clear = [0; CLEAR.len()];
    let turns: [(&[u8], std::ops::Range<usize>); 5] = [
        (b"RFB 003.008\n", 0..12),
        (b"\x02\x02\x13", 12..13),
        (b"\0\x02", 13..15),
        (b"\0\x03\0\0\x01\x01\0\0\x01\x02\0\0\x01\x03", 15..19),
        (b"\x01", 19..19),
    ];
    for (said, heard) in turns {
        stream.write_all(said).await.unwrap();
        within("the proxy's part", stream.read_exact(&mut clear[heard])).await.unwrap();
    }
    assert_eq!(clear, CLEAR);
    let mut heard = vec![0; HELLO];
    within("ClientHello", stream.read_exact(&mut heard)).await.unwrap();
    stream.write_all(first).await.unwrap();
    let _ = within("the proxy's end", stream.read_to_end(&mut heard)).await;
    heard
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &u16::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    record(22, &[&[kind], &length[1..], body].concat())
}

fn hello(version: [u8; 2], suite: [u8; 2]) -> Vec<u8> {
    let extensions = [0, 9, 0, 23, 0, 0, 0xff, 1, 0, 1, 0];
    message(2, &[&version[..], &[7; 32], &[0], &suite, &[0], &extensions].concat())
}

/// A flight with such a prime and public value.
fn flight(prime: &[u8], public: &[u8]) -> Vec<u8> {
    let value = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let params = [value(prime), value(&[2]), value(public)].concat();
    [hello([3, 3], [0, 0xa7]), message(12, &params), message(14, &[])].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_server_is_refused_in_the_first_flight() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut program = start(listener.local_addr().unwrap()).await;
    let cases: [(Vec<u8>, u8, &str); 7] = [
        (hello([3, 2], [0, 0xa7]), 70, "chose TLS version 3.2 on the wire; 3.3 (TLS 1.2) was asked for"),
        (hello([3, 3], [0, 0x18]), 47, "chose cipher suite 0x0018, which was not offered"),
        (hello([3, 3], [0xc0, 0x19]), 47, "chose cipher suite 0xc019, which was not offered"),
        (flight(&[0xff; 128], &[3]), 71, "Diffie-Hellman prime has 1024 bits; 2048 to 8192 are accepted"),
        (flight(&[0xff; 256], &[1]), 47, "Diffie-Hellman public value is not between 1 and p-1"),
        (flight(&[[0xff; 255].as_slice(), &[0xfe]].concat(), &[3]), 47, "Diffie-Hellman prime is even"),
        // RFB in the clear, where TLS was chosen.
        (b"challengechallen".to_vec(), 10, "does not speak TLS"),
    ];
    for (said, alert, why) in cases {
        let (heard, ()) = tokio::join!(play(&listener, &said), refused(&program));
        assert_eq!(heard[..5], [22, 3, 1, 0, 74], "ClientHello");
        assert_eq!(heard[HELLO..], record(21, &[2, alert]), "{why}");
        program.says(why).await;
    }
    program.never_said(PASSWORD);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_can_prove_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut program = start(listener.local_addr().unwrap()).await;
    // It does not know the secret: its Finished is any bytes.
    let said = [flight(&[0xff; 256], &[3]), record(20, &[1]), record(22, &[9; 40])].concat();
    let (heard, ()) = tokio::join!(play(&listener, &said), refused(&program));
    program.says("TLS records are broken: bad_record_mac").await;
    // ClientKeyExchange, then nothing that is not sealed.
    let exchange = 5 + 4 + 2 + 256;
    let after = &heard[HELLO + exchange..];
    assert_eq!(after[..6], record(20, &[1]));
    assert_eq!(
        (after[6], after[6 + 45], after.len()),
        (22, 21, 6 + 45 + 31),
        "Finished and an alert, sealed"
    );
    program.never_said(PASSWORD);
}

/// Somebody on the way, who takes the longer key from the offer and lets all else through. What the target said.
async fn between(listener: TcpListener, vnc: SocketAddr) -> Vec<u8> {
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = TcpStream::connect(vnc).await.unwrap();
    let (mut from_near, mut to_near) = near.split();
    let (mut from_far, mut to_far) = far.split();
    let up = async {
        let mut begin = vec![0; CLEAR.len() + HELLO];
        for piece in [0..12, 12..13, 13..15, 15..19, 19..begin.len()] {
            from_near.read_exact(&mut begin[piece.clone()]).await.unwrap();
            let part = &mut begin[piece];
            if let Some(at) = part.windows(4).position(|four| four == [0, 0xa7, 0, 0xa6]) {
                part[at + 1] = 0xa6;
            }
            to_far.write_all(part).await.unwrap();
        }
        let _ = tokio::io::copy(&mut from_near, &mut to_far).await;
    };
    let mut said = Vec::new();
    let down = async {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = from_far.read(&mut piece).await {
            said.extend_from_slice(&piece[..count]);
            to_near.write_all(&piece[..count]).await.unwrap();
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_the_offer_on_the_way_is_noticed() {
    let qemu = Hypervisor::start(Protection { password: Some(PASSWORD), tls: Tls::Anonymous }).await;
    let vnc = qemu.vnc().strip_prefix("tcp://").unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut program = start(listener.local_addr().unwrap()).await;
    let (said, ()) = tokio::join!(between(listener, vnc), refused(&program));
    // QEMU took the shorter one, which we would have too; but both have other keys, for they heard something else:
    // it cannot read our Finished, and hangs up.
    let hello = said.windows(3).position(|three| three == [22, 3, 3]).expect("ServerHello");
    let suite = hello + 5 + 4 + 2 + 32 + 1 + usize::from(said[hello + 5 + 4 + 2 + 32]);
    assert_eq!(said[suite..suite + 2], [0, 0xa6]);
    program.says("target's TLS failed: TLS: hung up during the handshake").await;
    program.never_said(PASSWORD);
}

/// Behind the handshake nothing is another stream than with a certificate: filter and recording see what is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_carries_is_filtered_and_recorded() {
    let dir = temp::dir();
    let qemu = Hypervisor::start(Protection { password: Some(PASSWORD), tls: Tls::Anonymous }).await;
    let console = format!(
        "vnc = \"{}\"\nvnc_view_only = true\nrecord = \"required\"\n[target.vnc_security]\n\
         types = [\"vencrypt-tls-vnc\"]\npassword = \"{PASSWORD}\"",
        qemu.vnc()
    );
    let program = Program::serve(&(recording(dir.path(), "") + &target(VM, "vm", &console))).await;
    let token = program.issue(VM, Protocol::Vnc).await;
    let mut viewer = Rfb::open(program.at, &token).await.expect("the console");
    viewer.choose(1).await;
    assert_eq!(viewer.message().await, [0; 4], "SecurityResult");
    let screen = viewer.begin().await;
    // A key, which is dropped: QEMU sees a request for the screen behind it, and answers.
    viewer.send(&[4, 1, 0, 0, 0, 0, 0, b'x']).await;
    let picture = viewer.picture(&screen).await;
    assert!(!picture.is_blank());
    // What cannot be told apart any more ends it: the filter reads what is sealed behind it.
    viewer.send(&[252, 0, 0, 0]).await;
    let (code, reason) = loop {
        match viewer.frame().await {
            Frame::Close(code, reason) => break (code, reason),
            Frame::End => panic!("an end without a close"),
            _ => {}
        }
    };
    assert_eq!((code, &*reason), (1008, "viewer sent a message of type 252, which cannot be filtered"));
    let recorded = within("the recording's end", async {
        loop {
            if std::fs::read_to_string(only(dir.path(), ".jsonl")).unwrap().contains("\"ended\"") {
                return std::fs::read(only(dir.path(), ".fbs")).unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    let recorded = recorded.await;
    let (mut reader, mut shown) = (fbs::Reader::default(), consolegate::rfb::Screen::default());
    reader.push(&recorded);
    while let Some(record) = reader.next_record().unwrap() {
        shown.feed(&record.data).unwrap();
    }
    assert_eq!(shown.size(), Some((screen.width, screen.height)));
    let seen: Vec<u8> = shown.pixels().iter().flat_map(|pixel| pixel.to_be_bytes()[1..].to_vec()).collect();
    assert!(seen == picture.rgb, "the recording shows another picture than the viewer saw");
    let secret = PASSWORD.as_bytes();
    assert!(!recorded.windows(secret.len()).any(|bytes| bytes == secret));
}
