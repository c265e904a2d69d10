//! The pump between two in-memory streams: what tungstenite says on one side, a plain console on the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, frame::coding::CloseCode as Code};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use futures_util::{SinkExt, StreamExt};

use crate::rfb::{ViewOnly, ViewOnlyError};
use crate::ws::Decoder;

use super::{Counters, End, Plan, Pump, Side, StopHandle, run, stop_pair};

mod control;

/// A running session: the viewer's WebSocket, the target's end, the stop handle and the result.
struct Session {
    viewer: WebSocketStream<DuplexStream>,
    target: DuplexStream,
    stop: StopHandle,
    counters: Arc<Counters>,
    end: JoinHandle<End>,
}

async fn start(plan: Plan, room: usize, early: (&[u8], &[u8])) -> Session {
    let (viewer, ours) = duplex(room);
    let (target, theirs) = duplex(room);
    let viewer = WebSocketStream::from_raw_socket(viewer, Role::Client, None).await;
    let counters = Arc::<Counters>::default();
    let decoder = Decoder::new(plan.whole_characters);
    let (stop, stopped) = stop_pair();
    let pump =
        Pump::new((ours, early.0.to_vec()), (theirs, early.1.to_vec()), decoder, &plan, counters.clone());
    let end = tokio::spawn(run(pump, stopped));
    Session { viewer, target, stop, counters, end }
}

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(bytes))
}

/// The next message; panics on the end of the stream.
async fn next(viewer: &mut WebSocketStream<DuplexStream>) -> Message {
    viewer.next().await.expect("the stream ended").expect("the stream broke")
}

/// Reads until the close frame; the bytes before it, its code and its reason.
async fn until_close(viewer: &mut WebSocketStream<DuplexStream>) -> (Vec<u8>, u16, String) {
    let mut bytes = Vec::new();
    loop {
        match next(viewer).await {
            Message::Binary(data) => bytes.extend_from_slice(&data),
            Message::Close(Some(frame)) => return (bytes, frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => return (bytes, 1005, String::new()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn early_bytes_come_first_on_both_sides() {
    // A masked frame of two bytes, cut in the middle: the rest comes over the stream.
    let mut s = start(Plan::default(), 1024, (&[0x82, 0x82, 0, 0, 0, 0, b'a'], b"early ")).await;
    s.viewer.get_mut().write_all(b"b").await.unwrap();
    s.target.write_all(b"late").await.unwrap();
    let mut up = [0; 2];
    s.target.read_exact(&mut up).await.unwrap();
    assert_eq!(&up, b"ab");
    let mut down = Vec::new();
    while down.len() < 10 {
        down.extend_from_slice(&next(&mut s.viewer).await.into_data());
    }
    assert_eq!(down, b"early late");
    assert_eq!((s.counters.up.load(Ordering::Relaxed), s.counters.down.load(Ordering::Relaxed)), (2, 10));
}

#[tokio::test]
async fn a_target_that_ends_is_flushed_and_still_gets_what_the_viewer_sends() {
    let mut s = start(Plan::default(), 65536, (b"", b"")).await;
    s.target.write_all(b"last words").await.unwrap();
    s.target.shutdown().await.unwrap();
    // Read the raw frames, so that tungstenite does not answer the close by itself.
    let mut raw = [0; 12];
    s.viewer.get_mut().read_exact(&mut raw).await.unwrap();
    assert_eq!(&raw[2..], b"last words");
    let mut close = [0; 4];
    s.viewer.get_mut().read_exact(&mut close).await.unwrap();
    assert_eq!([close[0], close[2], close[3]], [0x88, 0x03, 0xe8]);
    s.viewer.get_mut().write_all(&[0x82, 0x83, 0, 0, 0, 0, b'b', b'y', b'e']).await.unwrap();
    s.viewer.get_mut().write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await.unwrap();
    let mut up = Vec::new();
    s.target.read_to_end(&mut up).await.unwrap();
    assert_eq!(up, b"bye");
    assert_eq!(s.end.await.unwrap(), End::TargetClosed);
}

#[tokio::test]
async fn a_viewer_that_closes_half_closes_the_target_and_drains_it() {
    let mut s = start(Plan::default(), 65536, (b"", b"")).await;
    s.viewer.send(binary(b"exit")).await.unwrap();
    s.viewer.close(None).await.unwrap();
    let mut up = Vec::new();
    s.target.read_to_end(&mut up).await.unwrap();
    assert_eq!(up, b"exit");
    s.target.write_all(b"logout").await.unwrap();
    drop(s.target);
    let (down, code, _) = until_close(&mut s.viewer).await;
    assert_eq!((down.as_slice(), code), (&b"logout"[..], 1000));
    assert_eq!(s.end.await.unwrap(), End::ViewerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_ignores_the_half_close_is_left_after_five_seconds() {
    let mut s = start(Plan::default(), 1024, (b"", b"")).await;
    let begun = tokio::time::Instant::now();
    s.viewer.close(None).await.unwrap();
    assert_eq!(until_close(&mut s.viewer).await.1, 1000);
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(s.end.await.unwrap(), End::ViewerClosed);
}

#[tokio::test]
async fn a_viewer_that_vanishes_loses_nothing_it_had_sent() {
    let mut s = start(Plan::default(), 65536, (b"", b"")).await;
    s.viewer.send(binary(b"rm -r tmp\n")).await.unwrap();
    drop(s.viewer);
    let mut up = Vec::new();
    s.target.read_to_end(&mut up).await.unwrap();
    assert_eq!(up, b"rm -r tmp\n");
    drop(s.target);
    assert_eq!(s.end.await.unwrap(), End::ViewerGone);
}

#[tokio::test]
async fn a_broken_frame_ends_with_its_code_after_what_came_before_it() {
    let cases: &[(&[u8], u16)] = &[
        (&[0x82, 0x81, 0, 0, 0, 0, b'x', 0xf2, 0x80], 1002),
        (&[0x82, 0x81, 0, 0, 0, 0, b'x', 0x81, 0x80], 1003),
        (&[0x82, 0x81, 0, 0, 0, 0, b'x', 0x82, 0xff, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0], 1009),
    ];
    for (bytes, expected) in cases {
        let mut s = start(Plan::default(), 65536, (b"", b"")).await;
        s.viewer.get_mut().write_all(bytes).await.unwrap();
        let mut up = Vec::new();
        s.target.read_to_end(&mut up).await.unwrap();
        assert_eq!(up, b"x");
        assert_eq!(until_close(&mut s.viewer).await.1, *expected);
        drop(s.viewer);
        assert!(matches!(s.end.await.unwrap(), End::Protocol(_)));
    }
}

#[tokio::test]
async fn stopping_tells_the_viewer_why() {
    for (cause, code) in
        [(End::Drain, Code::Away), (End::TakenOver, Code::Policy), (End::Revoked, Code::Policy)]
    {
        let mut s = start(Plan::default(), 1024, (b"", b"")).await;
        s.stop.stop(cause.clone());
        s.stop.stop(End::Idle);
        let (_, got, reason) = until_close(&mut s.viewer).await;
        assert_eq!((got, reason), (code.into(), cause.close().1));
        assert!(s.viewer.next().await.is_none_or(|m| m.is_err()), "nothing follows the close");
        assert_eq!(s.end.await.unwrap(), cause);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_viewer_holds_two_buffers_and_is_ended_after_a_minute() {
    let mut s = start(Plan::default(), 64, (b"", b"")).await;
    let flood = tokio::spawn(async move {
        let mut sent = 0usize;
        while s.target.write_all(&[7; 64]).await.is_ok() {
            sent += 64;
        }
        sent
    });
    let begun = tokio::time::Instant::now();
    assert_eq!(s.end.await.unwrap(), End::Stalled(Side::Viewer));
    // The minute of silence, and the time TLS would be given to say goodbye.
    assert_eq!(begun.elapsed().as_secs(), 60);
    let taken = flood.await.unwrap();
    assert!(taken <= 60 * 1024 + 3 * 64, "{taken} bytes were taken for a viewer that read none");
    drop(s.viewer);
}

/// Reads a little every three seconds until the end; everything read.
async fn sip(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 64]);
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        match stream.read(&mut piece).await.unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

/// 600 bytes for the target and the viewer's goodbye behind them.
fn paste_and_leave() -> Vec<u8> {
    [&[0x82, 0xfe, 2, 88, 0, 0, 0, 0][..], &[7; 600], &[0x88, 0x80, 0, 0, 0, 0]].concat()
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_last_bytes_whoever_ended() {
    let mut s = start(Plan::default(), 64, (b"", &[7; 600])).await;
    s.target.shutdown().await.unwrap();
    let raw = sip(s.viewer.get_mut()).await;
    assert_eq!(raw.iter().filter(|byte| **byte == 7).count(), 600);
    let (code, reason) = End::TargetClosed.close();
    assert!(raw.ends_with(&[&code.number().to_be_bytes()[..], reason.as_bytes()].concat()));
    assert_eq!(s.end.await.unwrap(), End::TargetClosed);

    let mut s = start(Plan::default(), 64, (&paste_and_leave(), b"")).await;
    assert_eq!(sip(&mut s.target).await, [7; 600]);
    drop(s.target);
    assert_eq!(s.end.await.unwrap(), End::ViewerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stops_reading_is_not_waited_for_when_the_viewer_has_left() {
    let mut s = start(Plan::default(), 64, (&paste_and_leave(), b"")).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(until_close(&mut s.viewer).await.1, 1000);
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(s.end.await.unwrap(), End::ViewerClosed);
    assert_eq!(begun.elapsed().as_secs(), 10, "as much time again for the goodbye");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_when_we_end_the_session() {
    let mut s = start(Plan::default(), 64, (&paste_and_leave(), b"")).await;
    let target = tokio::spawn(async move { sip(&mut s.target).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    let begun = tokio::time::Instant::now();
    s.stop.stop(End::Revoked);
    assert_eq!(s.end.await.unwrap(), End::ViewerClosed, "the first cause is the session's");
    assert!(begun.elapsed() <= Duration::from_secs(5));
    assert!(target.await.unwrap().len() < 600);
}

#[tokio::test(start_paused = true)]
async fn pings_go_out_and_silence_is_noticed() {
    let plan = Plan { ping: Some(Duration::from_secs(30)), ..Plan::default() };
    let mut s = start(plan.clone(), 1024, (b"", b"")).await;
    for _ in 0..5 {
        // tungstenite answers each ping when it is read and flushed.
        assert_eq!(next(&mut s.viewer).await, Message::Ping(Bytes::new()));
        s.viewer.flush().await.unwrap();
    }
    drop(s);

    let mut s = start(plan, 1024, (b"", b"")).await;
    let begun = tokio::time::Instant::now();
    let mut raw = [0; 4];
    s.viewer.get_mut().read_exact(&mut raw[..2]).await.unwrap();
    assert_eq!(raw[..2], [0x89, 0]);
    s.viewer.get_mut().read_exact(&mut raw).await.unwrap();
    assert_eq!([raw[0], raw[2], raw[3]], [0x88, 0x03, 0xf0]);
    assert_eq!(begun.elapsed().as_secs(), 60);
    drop(s.viewer);
    assert_eq!(s.end.await.unwrap(), End::Silent);
}

#[tokio::test]
async fn pings_are_answered_between_frames() {
    let mut s = start(Plan::default(), 1024, (b"", b"")).await;
    s.viewer.send(Message::Ping(Bytes::from_static(b"are you there"))).await.unwrap();
    assert_eq!(next(&mut s.viewer).await, Message::Pong(Bytes::from_static(b"are you there")));
}

#[tokio::test(start_paused = true)]
async fn serial_frames_end_at_characters_and_bytes_are_never_kept() {
    let mut s = start(Plan { whole_characters: true, ..Plan::default() }, 1024, (b"", b"")).await;
    s.target.write_all("a\u{20ac}".as_bytes().split_at(3).0).await.unwrap();
    assert_eq!(next(&mut s.viewer).await, binary(b"a"));
    s.target.write_all(&[0xac, b'b']).await.unwrap();
    assert_eq!(next(&mut s.viewer).await, binary("\u{20ac}b".as_bytes()));
    // The rest never comes: after 50 ms the bytes go as they are.
    s.target.write_all(&[0xe2, 0x82]).await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(next(&mut s.viewer).await, binary(&[0xe2, 0x82]));
    assert_eq!(begun.elapsed().as_millis(), 50);
    // Nor at the end of the stream.
    s.target.write_all(&[0xf0, 0x9f]).await.unwrap();
    s.target.shutdown().await.unwrap();
    let (bytes, code, _) = until_close(&mut s.viewer).await;
    assert_eq!((bytes, code), (vec![0xf0, 0x9f], 1000));
}

#[tokio::test(start_paused = true)]
async fn held_bytes_overtake_no_frame_and_come_before_the_close() {
    let plan = Plan { whole_characters: true, ..Plan::default() };
    // One byte of room: the pong is half written when the held byte's time is over.
    let mut s = start(plan.clone(), 1, (b"", b"")).await;
    s.target.write_all(&[0xe2]).await.unwrap();
    s.viewer.get_mut().write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut raw = [0; 5];
    s.viewer.get_mut().read_exact(&mut raw).await.unwrap();
    assert_eq!(raw, [0x8a, 0, 0x82, 1, 0xe2]);

    let mut s = start(plan, 1024, (b"", b"")).await;
    s.target.write_all(&[0xe2]).await.unwrap();
    while s.counters.down.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    s.stop.stop(End::Drain);
    let (bytes, code, _) = until_close(&mut s.viewer).await;
    assert_eq!((bytes, code), (vec![0xe2], 1001));
}

#[tokio::test(start_paused = true)]
async fn idle_and_longest_sessions_end() {
    let idle = Plan { idle: Some(Duration::from_secs(10)), ..Plan::default() };
    let mut s = start(idle, 1024, (b"", b"")).await;
    assert_eq!(until_close(&mut s.viewer).await.1, 1008);
    let longest = Plan { longest: Some(Duration::from_secs(10)), ..Plan::default() };
    let mut s = start(longest, 1024, (b"", b"")).await;
    assert_eq!(until_close(&mut s.viewer).await.2, "the longest session allowed is over");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_directions_arrive_whole_whatever_the_chunks(
        up in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..20),
        down in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..3000), 0..20),
        room in 1usize..5000,
        whole_characters: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (sent_up, sent_down) = (up.concat(), down.concat());
        let (got_up, got_down, end) = runtime.block_on(async move {
            let s = start(Plan { whole_characters, ..Plan::default() }, room, (b"", b"")).await;
            let (mut target_read, mut target_write) = tokio::io::split(s.target);
            let (mut send, mut receive) = s.viewer.split();
            let viewer_up = tokio::spawn(async move {
                for message in up {
                    send.send(binary(&message)).await.unwrap();
                }
                send.close().await.unwrap();
            });
            let target_down = tokio::spawn(async move {
                for piece in down {
                    target_write.write_all(&piece).await.unwrap();
                }
                target_write
            });
            let target_up = tokio::spawn(async move {
                let mut bytes = Vec::new();
                target_read.read_to_end(&mut bytes).await.unwrap();
                bytes
            });
            // The half-close of the viewer's side comes through; the target's follows.
            let hang_up = async {
                let got_up = target_up.await.unwrap();
                target_down.await.unwrap().shutdown().await.unwrap();
                got_up
            };
            let mut got_down = Vec::new();
            let receive_all = async {
            while let Some(Ok(message)) = receive.next().await {
                if let Message::Binary(data) = message {
                    got_down.extend_from_slice(&data);
                }
            }
            };
            let (got_up, ()) = tokio::join!(hang_up, receive_all);
            viewer_up.await.unwrap();
            (got_up, got_down, s.end.await.unwrap())
        });
        prop_assert_eq!(end, End::ViewerClosed);
        prop_assert_eq!(got_up, sent_up);
        prop_assert_eq!(got_down, sent_down);
    }
}

#[tokio::test]
async fn a_filter_lets_some_through_and_what_it_does_not_know_ends_the_session() {
    let (viewer, ours) = duplex(65536);
    let (mut target, theirs) = duplex(65536);
    let mut viewer = WebSocketStream::from_raw_socket(viewer, Role::Client, None).await;
    let plan = Plan { view_only: true, ..Plan::default() };
    let counters = Arc::<Counters>::default();
    let (_stop, stopped) = stop_pair();
    let pump = Pump::new((ours, vec![]), (theirs, vec![]), Decoder::new(false), &plan, Arc::clone(&counters));
    let end = tokio::spawn(run(pump.watching(ViewOnly::new()), stopped));
    let (key, update) = (b"\x04\x01\0\0\0\0\0a".as_slice(), b"\x03\0\0\0\0\0\0\x01\0\x01".as_slice());
    // QEMU's audio, cut between type and sub-type: the type is held back and not lost.
    for piece in [key, &update[..4], &update[4..], &[key, b"\xff"].concat(), b"\x01\0\x01", key] {
        viewer.send(binary(piece)).await.unwrap();
    }
    let mut up = [0; 14];
    target.read_exact(&mut up).await.unwrap();
    assert_eq!(up[..], [update, b"\xff\x01\0\x01"].concat());
    assert_eq!(counters.up.load(Ordering::Relaxed), 14);
    viewer.send(binary(&[key, b"\x01"].concat())).await.unwrap();
    let (_, code, reason) = until_close(&mut viewer).await;
    assert_eq!((code, reason.as_str()), (1008, "viewer sent a message of type 1, which cannot be filtered"));
    viewer.send(binary(update)).await.ok();
    viewer.close(None).await.ok();
    assert_eq!(target.read_u8().await.ok(), None, "nothing more");
    assert_eq!(end.await.unwrap(), End::ViewOnly(ViewOnlyError::Message(1)));
}

#[tokio::test]
async fn what_a_target_keeps_until_flushed_is_flushed() {
    let (viewer, ours) = duplex(65536);
    let (mut target, theirs) = duplex(65536);
    let mut viewer = WebSocketStream::from_raw_socket(viewer, Role::Client, None).await;
    // As TLS does when its socket is full, this keeps small writes.
    let theirs = tokio::io::BufStream::new(theirs);
    let (_stop, stopped) = stop_pair();
    let pump = Pump::new(
        (ours, vec![]),
        (theirs, vec![]),
        Decoder::new(false),
        &Plan::default(),
        Arc::<Counters>::default(),
    );
    let end = tokio::spawn(run(pump, stopped));
    viewer.send(binary(b"a key")).await.unwrap();
    let mut up = [0; 5];
    target.read_exact(&mut up).await.unwrap();
    assert_eq!(&up, b"a key");
    viewer.send(binary(b"the last")).await.unwrap();
    viewer.close(None).await.unwrap();
    let mut up = Vec::new();
    target.read_to_end(&mut up).await.unwrap();
    assert_eq!(up, b"the last");
    drop(target);
    assert_eq!(end.await.unwrap(), End::ViewerClosed);
}

#[tokio::test]
async fn a_viewer_who_may_only_look_is_heard_by_nobody_and_still_answered() {
    let mut s = start(Plan { view_only: true, ..Plan::default() }, 65536, (b"", b"")).await;
    s.viewer.send(binary(b"rm -rf /\r")).await.unwrap();
    s.viewer.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    assert_eq!(next(&mut s.viewer).await, Message::Pong(Bytes::from_static(b"there?")));
    s.target.write_all(b"login: ").await.unwrap();
    assert_eq!(next(&mut s.viewer).await, binary(b"login: "));
    s.viewer.close(None).await.unwrap();
    // Nothing but the end comes out on the target's side, however much was sent before it.
    let mut up = Vec::new();
    s.target.read_to_end(&mut up).await.unwrap();
    assert_eq!(up, b"");
    drop(s.target);
    assert_eq!(s.end.await.unwrap(), End::ViewerClosed);
    assert_eq!(s.counters.up.load(Ordering::Relaxed), 0);
}
