//! What a viewer with a control channel is told of its session, and what it may ask of it.

use std::sync::Arc;

use crate::relay::{Command, Control, Hello, Mailbox, Notice, Plan, Remote, Role};

use super::sessions::{Seat, Session};

/// The largest size a terminal is given, in characters: no screen has more, and programs allocate for it.
const LARGEST: u16 = 1000;

/// One viewer's reach into its session.
#[derive(Debug)]
struct Reach {
    session: Arc<Session>,
    /// Whether what it types goes to the console.
    writes: bool,
}

impl Remote for Reach {
    fn command(&self, command: Command) {
        if !self.writes {
            return;
        }
        match command {
            Command::Break => {
                self.session.send_break();
            }
            Command::Resize { columns: columns @ 1..=LARGEST, rows: rows @ 1..=LARGEST } => {
                if let Some(resizer) = self.session.resizer.get() {
                    resizer.send(columns, rows);
                }
            }
            // There is no pen: everybody writes.
            Command::Ask | Command::Take | Command::Give => {}
            Command::Resize { .. } | Command::Unknown => {}
        }
    }
}

/// The session's end of the channel, and the first message over it.
pub(super) fn open(seat: &Seat, plan: &Plan) -> (Control, Notice) {
    let session = &seat.session;
    // Set once: a seat has one viewer.
    let mailbox = Arc::clone(session.mailbox.get_or_init(Arc::<Mailbox>::default));
    let writes = !plan.view_only;
    let hello = Hello {
        session: session.id,
        protocol: session.grant.protocol,
        role: if writes { Role::Writer } else { Role::Watcher },
        viewers: seat.viewers(),
        view_only: plan.view_only,
        recording: false,
        breaks: writes && session.breaker.get().is_some(),
        resize: writes && session.resizer.get().is_some(),
        offset: 0,
    };
    let reach = Reach { session: Arc::clone(session), writes };
    (Control::new(mailbox, Arc::new(reach)), Notice::Hello(hello))
}
