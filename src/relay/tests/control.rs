//! The pump with a control channel: notices between frames, commands out of the bytes.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::relay::{Command, Control, ControlError, Mailbox, Notice, Remote};

use super::*;

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Command>>);

impl Remote for Heard {
    fn command(&self, command: Command) {
        self.0.lock().unwrap().push(command);
    }
}

struct Controlled {
    session: Session,
    mailbox: Arc<Mailbox>,
    heard: Arc<Heard>,
}

async fn controlled(room: usize) -> Controlled {
    let (viewer, ours) = duplex(room);
    let (target, theirs) = duplex(room);
    let viewer = WebSocketStream::from_raw_socket(viewer, Role::Client, None).await;
    let counters = Arc::<Counters>::default();
    let (stop, stopped) = stop_pair();
    let (mailbox, heard) = (Arc::<Mailbox>::default(), Arc::<Heard>::default());
    let control = Control::new(Arc::clone(&mailbox), Arc::clone(&heard) as _);
    let decoder = Decoder::new(false).with_notes();
    let plan = Plan::default();
    let pump = Pump::new((ours, vec![]), (theirs, vec![]), decoder, &plan, counters.clone());
    let end = tokio::spawn(run(pump.controlled(control), stopped));
    Controlled { session: Session { viewer, target, stop, counters, end }, mailbox, heard }
}

fn joined(viewers: usize) -> Notice {
    Notice::Joined { user: "u".into(), viewers }
}

/// The next message, as JSON.
async fn notice(viewer: &mut WebSocketStream<DuplexStream>) -> Value {
    match next(viewer).await {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("instead of a notice: {other:?}"),
    }
}

#[tokio::test]
async fn a_notice_reaches_an_idle_viewer_and_commands_are_no_bytes() {
    let Controlled { session: mut s, mailbox, heard } = controlled(1024).await;
    mailbox.post(&joined(2));
    assert_eq!(notice(&mut s.viewer).await, json!({"type": "joined", "user": "u", "viewers": 2}));
    s.viewer.send(binary(b"a")).await.unwrap();
    s.viewer.send(Message::text("{\"type\":\"break\"}")).await.unwrap();
    s.viewer.send(binary(b"b")).await.unwrap();
    let mut up = [0; 2];
    s.target.read_exact(&mut up).await.unwrap();
    assert_eq!(&up, b"ab");
    assert_eq!(*heard.0.lock().unwrap(), [Command::Break]);
    assert_eq!(s.counters.up.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn notices_never_fall_into_a_frame() {
    // The viewer's side takes a few bytes at a time, so that every frame is under way when a notice comes.
    let Controlled { session: mut s, mailbox, .. } = controlled(16).await;
    let flood = tokio::spawn(async move {
        for _ in 0..200 {
            s.target.write_all(&[b'x'; 100]).await.unwrap();
        }
        s.target
    });
    let (mut bytes, mut told) = (0, 0);
    while bytes < 200 * 100 {
        mailbox.post(&joined(bytes));
        match next(&mut s.viewer).await {
            Message::Binary(data) => {
                assert!(data.iter().all(|byte| *byte == b'x'));
                bytes += data.len();
            }
            Message::Text(text) => {
                assert!(text.starts_with("{\"type\":\"joined\""), "{text}");
                told += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(told > 1);
    drop(flood.await.unwrap());
}

#[tokio::test]
async fn nothing_is_told_behind_the_close() {
    let Controlled { session: mut s, mailbox, .. } = controlled(1024).await;
    mailbox.post(&joined(2));
    notice(&mut s.viewer).await;
    s.stop.stop(End::Drain);
    tokio::task::yield_now().await;
    mailbox.post(&joined(3));
    assert_eq!(until_close(&mut s.viewer).await.1, 1001);
    assert!(s.viewer.next().await.is_none_or(|m| m.is_err()), "nothing follows the close");
    assert_eq!(s.end.await.unwrap(), End::Drain);
}

#[tokio::test]
async fn misuse_ends_the_session_with_its_code_after_what_came_before_it() {
    let cases = [
        (Message::text("nonsense"), 1002, ControlError::Malformed),
        (Message::text("{\"type\":\"x\"}"), 1008, ControlError::TooMany),
    ];
    for (message, code, error) in cases {
        let Controlled { session: mut s, .. } = controlled(65536).await;
        s.viewer.send(binary(b"typed")).await.unwrap();
        for _ in 0..200 {
            if s.viewer.send(message.clone()).await.is_err() {
                break;
            }
        }
        let mut up = Vec::new();
        s.target.read_to_end(&mut up).await.unwrap();
        assert_eq!(up, b"typed");
        assert_eq!(until_close(&mut s.viewer).await.1, code);
        drop(s.viewer);
        assert_eq!(s.end.await.unwrap(), End::Control(error));
    }
}
