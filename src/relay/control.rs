//! The control channel: what the proxy and a viewer's page tell each other beside the console's bytes.
//!
//! Under the subprotocol [`crate::ws::CONTROL`] each text message is one JSON object. Those for the viewer wait
//! in its [`Mailbox`], which any thread may post to; the pump sends them between frames. Sessions without the
//! subprotocol have none of this.

use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ids::{Protocol, UserId};

/// What a viewer's messages cost each, and how far it may run ahead: 20 a second for as long as it likes and a
/// hundred at once. A window that is dragged larger sends the most, some 10 a second.
const COST: Duration = Duration::from_millis(50);
const AHEAD: Duration = Duration::from_secs(5);

/// Who types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What this viewer types goes to the console.
    Writer,
    /// It does not.
    Watcher,
}

/// A message to a viewer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Notice {
    /// The first, right after the 101.
    Hello(Hello),
    /// Who holds the pen now.
    Role {
        /// This viewer's part.
        role: Role,
        /// Who types, if anybody.
        writer: Option<UserId>,
    },
    /// Another viewer came to the console.
    Joined {
        /// Who.
        user: UserId,
        /// How many there are now.
        viewers: usize,
    },
    /// Another viewer left it.
    Left {
        /// Who.
        user: UserId,
        /// How many there are now.
        viewers: usize,
    },
    /// Somebody asks this viewer, the writer, for the pen.
    Asked {
        /// Who.
        user: UserId,
    },
    /// This viewer was too slow: so many bytes are missing here.
    Gap {
        /// How many.
        bytes: u64,
    },
    /// Whether the session is recorded, when that changes.
    Recording {
        /// Now.
        recording: bool,
    },
}

/// What a viewer is told of its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// The session's name in the logs.
    pub session: Uuid,
    /// The console's.
    pub protocol: Protocol,
    /// Whether this viewer types.
    pub role: Role,
    /// Viewers of the console, this one among them.
    pub viewers: usize,
    /// Whether this viewer may never type.
    pub view_only: bool,
    /// Whether the session is recorded.
    pub recording: bool,
    /// Whether the line can be sent a break.
    #[serde(rename = "break")]
    pub breaks: bool,
    /// Whether the console's terminal takes the viewer's size.
    pub resize: bool,
    /// Where in the console's output the first byte that follows is, in bytes; 0 where nothing is kept.
    pub offset: u64,
    /// Which output that is; offsets into another one mean nothing here. Where nothing is kept there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<Uuid>,
}

/// A message from a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// A break on the line.
    Break,
    /// Asks the writer for the pen.
    Ask,
    /// Takes it.
    Take,
    /// Gives it away.
    Give,
    /// The viewer's terminal has another size, in characters.
    Resize {
        /// Across.
        columns: u16,
        /// Down.
        rows: u16,
    },
    /// One of another version's: not for us.
    #[serde(other)]
    Unknown,
}

/// How a viewer misused the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Not a JSON object with a type, or one without what its type needs.
    #[error("malformed message on the control channel")]
    Malformed,
    /// More than 20 a second.
    #[error("too many messages on the control channel")]
    TooMany,
}

/// Carries out what a viewer asks for, at once: called on the session's thread, between its bytes.
pub trait Remote: fmt::Debug + Send + Sync {
    /// One command. What the viewer may not do has no effect.
    fn command(&self, command: Command);
}

/// Notices on their way to one viewer. While they wait, a later one takes the place of an earlier one of its
/// type: each tells how things are now, and a viewer that does not read piles up nothing.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    notices: Vec<(Discriminant<Notice>, String)>,
    reader: Option<Waker>,
}

impl Mailbox {
    /// Leaves a notice.
    pub fn post(&self, notice: &Notice) {
        let kind = discriminant(notice);
        let text = to_json(notice);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.notices.retain(|(other, _)| *other != kind);
        waiting.notices.push((kind, text));
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// All that waits; the task is woken when there is more.
    fn take(&self, cx: &Context<'_>) -> Vec<(Discriminant<Notice>, String)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            waiting.reader = Some(cx.waker().clone());
        }
        std::mem::take(&mut waiting.notices)
    }
}

/// A notice as it is sent.
pub(super) fn to_json(notice: &Notice) -> String {
    // Strings, numbers and truth values under fixed names: there is nothing in it that JSON cannot say.
    serde_json::to_string(notice).unwrap_or_default()
}

/// One session's end of the channel.
#[derive(Debug)]
pub struct Control {
    mailbox: Arc<Mailbox>,
    remote: Arc<dyn Remote>,
    /// When all that came so far is paid for.
    paid: Option<Instant>,
}

impl Control {
    /// Sends what is posted to `mailbox`, and has `remote` carry out what the viewer asks for.
    pub fn new(mailbox: Arc<Mailbox>, remote: Arc<dyn Remote>) -> Self {
        Self { mailbox, remote, paid: None }
    }

    /// The messages that wait for the viewer.
    pub(super) fn poll_notices(&self, cx: &Context<'_>) -> impl Iterator<Item = String> {
        self.mailbox.take(cx).into_iter().map(|(_, text)| text)
    }

    /// Carries out `notes`, messages with a NUL behind each.
    pub(super) fn heard(&mut self, notes: &[u8], now: Instant) -> Result<(), ControlError> {
        for note in notes.split_inclusive(|&byte| byte == 0) {
            let begun = self.paid.filter(|&paid| paid > now).unwrap_or(now);
            if begun - now > AHEAD {
                return Err(ControlError::TooMany);
            }
            self.paid = Some(begun + COST);
            let note = note.strip_suffix(&[0]).unwrap_or(note);
            let command = serde_json::from_slice(note).map_err(|_| ControlError::Malformed)?;
            self.remote.command(command);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<Command>>);

    impl Remote for Heard {
        fn command(&self, command: Command) {
            self.0.lock().unwrap().push(command);
        }
    }

    fn control() -> (Control, Arc<Heard>, Arc<Mailbox>) {
        let (heard, mailbox) = (Arc::new(Heard::default()), Arc::new(Mailbox::default()));
        (Control::new(Arc::clone(&mailbox), Arc::clone(&heard) as _), heard, mailbox)
    }

    #[tokio::test]
    async fn commands_are_read_and_unknown_ones_are_not_ours() {
        let (mut control, heard, _) = control();
        let notes = b"{\"type\":\"break\"}\0{\"type\":\"resize\",\"columns\":80,\"rows\":24,\"more\":[1]}\0\
            {\"type\":\"dance\",\"tempo\":3}\0 {\"type\" : \"take\"}\0{\"type\":\"ask\"}\0{\"type\":\"give\"}\0";
        assert_eq!(control.heard(notes, Instant::now()), Ok(()));
        let resize = Command::Resize { columns: 80, rows: 24 };
        let expected = [Command::Break, resize, Command::Unknown, Command::Take, Command::Ask, Command::Give];
        assert_eq!(*heard.0.lock().unwrap(), expected);
        for broken in [
            &b"\0"[..],
            b"break\0",
            b"\"break\"\0",
            b"{}\0",
            b"[]\0",
            b"{\"type\":1}\0",
            b"{\"type\":\"resize\",\"columns\":80}\0",
            b"{\"type\":\"resize\",\"columns\":-1,\"rows\":70000}\0",
            b"{\"type\":\"break\"\0}\0",
        ] {
            assert_eq!(control.heard(broken, Instant::now()), Err(ControlError::Malformed), "{broken:?}");
        }
        assert_eq!(heard.0.lock().unwrap().len(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_may_ask_a_hundred_times_at_once_and_twenty_a_second() {
        let (mut control, heard, _) = control();
        let start = Instant::now();
        let one = b"{\"type\":\"unheard of\"}\0";
        assert_eq!(control.heard(&one.repeat(101), start), Ok(()));
        assert_eq!(control.heard(one, start), Err(ControlError::TooMany));
        for tick in 1..200 {
            assert_eq!(control.heard(one, start + COST * tick), Ok(()), "{tick}");
        }
        assert_eq!(control.heard(&one.repeat(2), start + COST * 200), Err(ControlError::TooMany));
        assert_eq!(heard.0.lock().unwrap().len(), 101 + 199 + 1);
    }

    #[tokio::test]
    async fn a_later_notice_of_a_type_takes_the_earlier_ones_place() {
        let (control, _, mailbox) = control();
        let joined = |viewers| Notice::Joined { user: "u".into(), viewers };
        (2..1000).map(joined).for_each(|notice| mailbox.post(&notice));
        mailbox.post(&Notice::Role { role: Role::Watcher, writer: None });
        mailbox.post(&joined(1000));
        let cx = Context::from_waker(Waker::noop());
        let waiting: Vec<Value> =
            control.poll_notices(&cx).map(|text| serde_json::from_str(&text).unwrap()).collect();
        let role = json!({"type": "role", "role": "watcher", "writer": null});
        assert_eq!(waiting, [role, json!({"type": "joined", "user": "u", "viewers": 1000})]);
        assert_eq!(control.poll_notices(&cx).count(), 0);
    }

    #[test]
    fn the_hello_names_all_there_is() {
        let hello = Notice::Hello(Hello {
            session: Uuid::nil(),
            protocol: Protocol::Serial,
            role: Role::Writer,
            viewers: 1,
            view_only: false,
            recording: false,
            breaks: true,
            resize: false,
            offset: 7,
            line: Some(Uuid::from_u128(1)),
        });
        let expected = json!({
            "type": "hello", "session": "00000000-0000-0000-0000-000000000000", "protocol": "serial",
            "role": "writer", "viewers": 1, "view_only": false, "recording": false, "break": true,
            "resize": false, "offset": 7, "line": "00000000-0000-0000-0000-000000000001",
        });
        assert_eq!(serde_json::from_str::<Value>(&to_json(&hello)).unwrap(), expected);
    }
}
