//! What a viewer with a control channel is told of its session, and what it may ask of it.

use std::sync::Arc;

use crate::relay::{Command, Control, Hello, Mailbox, Notice, Plan, Remote, Role};

use super::hub::{Arrival, Seen};
use super::session::Session;
use super::sessions::Seat;

/// The largest size a terminal is given, in characters: no screen has more, and programs allocate for it.
const LARGEST: u16 = 1000;

/// One viewer's reach into its session.
#[derive(Debug)]
struct Reach {
    session: Arc<Session>,
    /// Whether what it types may ever go to the console.
    writes: bool,
}

impl Remote for Reach {
    fn command(&self, command: Command) {
        let fits = |size| (1..=LARGEST).contains(&size);
        let sensible = match command {
            Command::Resize { columns, rows } => fits(columns) && fits(rows),
            _ => true,
        };
        if !(self.writes && sensible) {
            return;
        }
        if let Some(hub) = self.session.hub.get() {
            return hub.command(self.session.id, command);
        }
        match command {
            Command::Break => {
                self.session.send_break();
            }
            Command::Resize { columns, rows } => {
                if let Some(resizer) = self.session.resizer.get() {
                    resizer.send(columns, rows);
                }
            }
            // There is no pen: everybody writes.
            Command::Ask | Command::Take | Command::Give | Command::Unknown => {}
        }
    }
}

/// Seats the viewer for good: from here on it reads, types and is told of others. If it speaks the channel, the
/// session's end of that, and the first message over it.
pub(super) fn sit(
    seat: &Seat,
    plan: &Plan,
    controlled: bool,
    seen: Option<Seen>,
) -> Option<(Control, Notice)> {
    let session = &seat.session;
    // Set once: a seat has one viewer.
    let mailbox = controlled.then(|| Arc::clone(session.mailbox.get_or_init(Arc::<Mailbox>::default)));
    let writes = !plan.view_only;
    let role = if writes { Role::Writer } else { Role::Watcher };
    let abilities = (session.breaker.get().is_some(), session.resizer.get().is_some());
    let (role, offset, line, (breaks, resize)) = match session.hub.get() {
        Some(hub) => {
            let user = session.grant.user.clone();
            let arrival = Arrival { user, writes, mailbox: mailbox.clone(), seen };
            let (role, offset) = hub.seat(session.id, arrival);
            (role, offset, Some(hub.id()), hub.abilities())
        }
        None => (role, 0, None, abilities),
    };
    let hello = Hello {
        session: session.id,
        protocol: session.grant.protocol,
        role,
        viewers: seat.viewers(),
        view_only: plan.view_only,
        recording: session.is_recorded(),
        breaks: writes && breaks,
        resize: writes && resize,
        offset,
        line,
    };
    let reach = Reach { session: Arc::clone(session), writes };
    Some((Control::new(mailbox?, Arc::new(reach)), Notice::Hello(hello)))
}
