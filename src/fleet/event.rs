//! What ends sessions, or asks something of one, as the log has it: one line of JSON each.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{ProjectId, Protocol, TargetId, UserId};
use crate::tokens::{Grant, Revoke, TokenKey, Why};

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// Sessions end.
    End(Arc<Event>),
    /// One is asked for something.
    Order(Order),
}

/// One session is to do something, soon or not at all, and once however often the line is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) order: Deed,
    pub(super) session: Uuid,
    /// Names the order.
    pub(super) id: Uuid,
}

/// What it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Deed {
    /// A break on its line.
    Break,
}

/// Sessions are to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) whom: Whom,
    pub(super) why: Why,
}

/// Which of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Whom {
    /// One.
    Session(Uuid),
    /// Those of a token.
    Token(#[serde(with = "super::listed::hex")] TokenKey),
    /// Those of a token but one: its viewer is back.
    Before {
        #[serde(with = "super::listed::hex")]
        token: TokenKey,
        but: Uuid,
    },
    /// Those of a server.
    Target(TargetId),
    /// Those of a project's servers.
    Project(ProjectId),
    /// Those a user asked for.
    User(UserId),
    /// Those on a console but one.
    Console { target: TargetId, protocol: Protocol, but: Uuid },
}

impl Line {
    pub(super) fn to_json(&self) -> String {
        // Strings and numbers: nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Whom {
    /// Whether the session is among them.
    pub(super) fn names(&self, id: Uuid, key: &TokenKey, grant: &Grant) -> bool {
        match self {
            Self::Session(session) => *session == id,
            Self::Token(token) => token == key,
            Self::Before { token, but } => token == key && *but != id,
            Self::Target(target) => *target == grant.target,
            Self::Project(project) => *project == grant.project,
            Self::User(user) => *user == grant.user,
            Self::Console { target, protocol, but } => {
                *target == grant.target && *protocol == grant.protocol && *but != id
            }
        }
    }
}

impl From<&Revoke> for Whom {
    fn from(which: &Revoke) -> Self {
        match which {
            Revoke::Token(key) => Self::Token(*key),
            Revoke::Target(id) => Self::Target(id.clone()),
            Revoke::Project(id) => Self::Project(id.clone()),
            Revoke::User(id) => Self::User(id.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tokens::contract::{grant, key};

    use super::*;

    #[test]
    fn events_come_back_as_they_were_written_and_name_whom_they_say() {
        let (id, token, grant) = (Uuid::new_v4(), key(), grant());
        let (target, protocol) = (grant.target.clone(), grant.protocol);
        let other = Uuid::new_v4();
        for (whom, named) in [
            (Whom::Session(id), true),
            (Whom::Session(other), false),
            (Whom::from(&Revoke::Token(token)), true),
            (Whom::from(&Revoke::Token(key())), false),
            (Whom::Before { token, but: other }, true),
            (Whom::Before { token, but: id }, false),
            (Whom::from(&Revoke::Target(target.clone())), true),
            (Whom::from(&Revoke::Project("another".into())), false),
            (Whom::from(&Revoke::User(grant.user.clone())), true),
            (Whom::Console { target: target.clone(), protocol, but: other }, true),
            (Whom::Console { target: target.clone(), protocol, but: id }, false),
            (Whom::Console { target, protocol: Protocol::Mks, but: other }, false),
        ] {
            let event = Event { whom, why: Why::Moved };
            let line = Line::End(Arc::new(event.clone()));
            assert_eq!(serde_json::from_str::<Line>(&line.to_json()).unwrap(), line);
            assert_eq!(event.whom.names(id, &token, &grant), named, "{event:?}");
        }
        // What other versions of this program read.
        let session = Uuid::nil();
        let line = Line::End(Arc::new(Event { whom: Whom::Session(session), why: Why::TakenOver }));
        let text = format!("{{\"whom\":{{\"session\":\"{session}\"}},\"why\":\"taken-over\"}}");
        assert_eq!(line.to_json(), text);
        let order = Line::Order(Order { order: Deed::Break, session, id: Uuid::nil() });
        let text = format!("{{\"order\":\"break\",\"session\":\"{session}\",\"id\":\"{session}\"}}");
        assert_eq!((order.to_json(), serde_json::from_str(&text).ok()), (text, Some(order)));
    }
}
