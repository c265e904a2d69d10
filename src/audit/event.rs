//! What is written down: who, from where, which target, why, how much, and the ids that join the lines.

use std::fmt::Display;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::ids::{GrantId, Protocol, RequestId};

/// Longest text a caller chose that a line repeats, in characters.
const LONGEST: usize = 256;

/// A name as it was given, cut where nobody would read on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        if text.len() <= LONGEST {
            return Self(text.to_owned());
        }
        let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
        Self(text[..end].to_owned())
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A file begins, or the process goes on with one; `prev` is the hash of the line before, wherever that
    /// is.
    Begin,
    /// The process ends in order.
    Stop,
    /// `count` lines found no room.
    Lost,
    /// A console's URL was given out.
    Issue,
    /// A request or a viewer was turned away, for `cause`.
    Refuse,
    /// A viewer took a token; it is spent only once the console opens.
    Claim,
    /// The viewer who spent a token is back, by the secret it was given; what it left behind ends.
    Resume,
    /// A console was opened and its token spent.
    Open,
    /// A session ended, for `cause`.
    Close,
    /// A session's recording was begun or ended, or failed, as `cause` says; it has the session's id.
    Record,
    /// Tokens were taken back and their sessions ended.
    Revoke,
    /// An operator changed the inventory or ended a session; `cause` says which.
    Admin,
}

impl Kind {
    /// Whether anybody at all can bring about such lines.
    pub(super) fn is_anybodys(self) -> bool {
        self == Self::Refuse
    }
}

/// One decision. Never a secret: a token is named by its fingerprint, which is the log's.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// What was decided.
    #[serde(rename = "event")]
    pub kind: Kind,
    /// The HTTP request it was decided in.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The API request that the token was issued in: from there to the session's end.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub issued_by: Option<RequestId>,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// On which listener or in which dialect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<&'static str>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Name>,
    /// For which project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<Name>,
    /// The server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Name>,
    /// Of a revocation: the server, project or user it is about; `cause` says which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Name>,
    /// Which of its consoles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The token's fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// Why, a word from a fixed list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The HTTP status of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long a URL can be opened, or a session lasted, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Payload from the console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_to_viewer: Option<u64>,
    /// Payload to the console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_to_target: Option<u64>,
    /// Unspent tokens that were taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Sessions that were ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<usize>,
    /// Lines or targets, as `event` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Of this program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// Bytes of a line before this one that was not finished: a crash or a full disk cut it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn: Option<u64>,
    /// Of a [`Kind::Begin`]: the hash it goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
}

impl Event {
    /// An event about which nothing else is known.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            request: None,
            issued_by: None,
            source: None,
            via: None,
            user: None,
            project: None,
            target: None,
            subject: None,
            protocol: None,
            grant: None,
            token: None,
            session: None,
            cause: None,
            status: None,
            seconds: None,
            bytes_to_viewer: None,
            bytes_to_target: None,
            tokens: None,
            sessions: None,
            count: None,
            version: None,
            torn: None,
            prev: None,
        }
    }
}

fn shown<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}
