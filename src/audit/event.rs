//! What is written down: who, from where, which target, why, how much, and the ids that join the lines.

use std::borrow::Cow;
use std::net::IpAddr;

use uuid::Uuid;

use crate::ids::{GrantId, Protocol, RequestId};
use crate::json::{Fields, name};

/// Longest text a caller chose that a line repeats, in characters.
const LONGEST: usize = 256;

/// A name as it was given, cut where nobody would read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(&'a str);

impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Self {
        if text.len() <= LONGEST {
            return Self(text);
        }
        let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
        Self(&text[..end])
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Stop => "stop",
            Self::Lost => "lost",
            Self::Issue => "issue",
            Self::Refuse => "refuse",
            Self::Claim => "claim",
            Self::Resume => "resume",
            Self::Open => "open",
            Self::Close => "close",
            Self::Record => "record",
            Self::Revoke => "revoke",
            Self::Admin => "admin",
        }
    }

    /// Whether anybody at all can bring about such lines.
    pub(super) fn is_anybodys(self) -> bool {
        self == Self::Refuse
    }
}

/// One decision. Never a secret: a token is named by its fingerprint, which is the log's.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// What was decided.
    pub kind: Kind,
    /// The HTTP request it was decided in.
    pub request: Option<RequestId>,
    /// The API request that the token was issued in: from there to the session's end.
    pub issued_by: Option<RequestId>,
    /// Where the request came from.
    pub source: Option<IpAddr>,
    /// On which listener or in which dialect.
    pub via: Option<&'static str>,
    /// Who asked.
    pub user: Option<Name<'a>>,
    /// For which project.
    pub project: Option<Name<'a>>,
    /// The server.
    pub target: Option<Name<'a>>,
    /// Of a revocation: the server, project or user it is about; `cause` says which.
    pub subject: Option<Name<'a>>,
    /// Which of its consoles.
    pub protocol: Option<Protocol>,
    /// The grant.
    pub grant: Option<GrantId>,
    /// The token's fingerprint.
    pub token: Option<Cow<'a, str>>,
    /// The session.
    pub session: Option<Uuid>,
    /// Why, a word from a fixed list.
    pub cause: Option<&'static str>,
    /// The HTTP status of a refusal.
    pub status: Option<u16>,
    /// How long a URL can be opened, or a session lasted, in seconds.
    pub seconds: Option<u64>,
    /// Payload from the console.
    pub bytes_to_viewer: Option<u64>,
    /// Payload to the console.
    pub bytes_to_target: Option<u64>,
    /// Unspent tokens that were taken back.
    pub tokens: Option<usize>,
    /// Sessions that were ended.
    pub sessions: Option<usize>,
    /// Lines or targets, as `event` says.
    pub count: Option<u64>,
    /// Of this program.
    pub version: Option<&'static str>,
    /// Bytes of a line before this one that was not finished: a crash or a full disk cut it off.
    pub torn: Option<u64>,
    /// Of a [`Kind::Begin`]: the hash it goes on from.
    pub prev: Option<String>,
}

impl Event<'_> {
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

    /// Appends what a line says of it, between number and hash: `"event":"close",...`. What is not known is left out.
    pub(super) fn render(&self, out: &mut String) {
        out.push_str("\"event\":\"");
        out.push_str(self.kind.as_str());
        out.push('"');
        let mut line = Fields(out);
        line.uuid(name!("request"), RequestId::PREFIX, self.request.map(|request| request.0));
        line.uuid(name!("issued_by"), RequestId::PREFIX, self.issued_by.map(|request| request.0));
        line.address(name!("source"), self.source);
        line.word(name!("via"), self.via);
        line.text(name!("user"), self.user.map(|Name(text)| text));
        line.text(name!("project"), self.project.map(|Name(text)| text));
        line.text(name!("target"), self.target.map(|Name(text)| text));
        line.text(name!("subject"), self.subject.map(|Name(text)| text));
        line.word(name!("protocol"), self.protocol.map(Protocol::as_str));
        line.uuid(name!("grant"), "", self.grant.map(|grant| grant.0));
        line.word(name!("token"), self.token.as_deref());
        line.uuid(name!("session"), "", self.session);
        line.word(name!("cause"), self.cause);
        line.number(name!("status"), self.status.map(u64::from));
        line.number(name!("seconds"), self.seconds);
        line.number(name!("bytes_to_viewer"), self.bytes_to_viewer);
        line.number(name!("bytes_to_target"), self.bytes_to_target);
        line.number(name!("tokens"), self.tokens.map(|tokens| tokens as u64));
        line.number(name!("sessions"), self.sessions.map(|sessions| sessions as u64));
        line.number(name!("count"), self.count);
        line.word(name!("version"), self.version);
        line.number(name!("torn"), self.torn);
        line.word(name!("prev"), self.prev.as_deref());
    }
}
