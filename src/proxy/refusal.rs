//! Why a viewer is turned away, and how it is told: a bare status to tools, the reason inside the console to
//! a browser, which would otherwise see nothing but a failed connection.

use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::ids::Protocol;
use crate::relay::record::RecordError;
use crate::relay::{Channel, End};
use crate::rfb::{CanvasServer, GreetError, MAX_REASON, clean};
use crate::serial;
use crate::targets::ConnectError;
use crate::tokens::StoreError;
use crate::ws::CloseCode;

use super::sessions::Full;

/// How long a painted refusal stays up. Stock noVNC takes the picture down when the connection closes, so it
/// has to live long enough to be read.
const PAINTED: Duration = Duration::from_secs(30);

/// Why a viewer is turned away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// No token, or one nobody issued, or expired. One cause: which of them is nobody's business.
    #[error("token unknown or expired")]
    Unknown,
    /// The token has been used.
    #[error("token spent")]
    Spent(Protocol),
    /// Somebody else is using it at this moment.
    #[error("token claimed by another viewer")]
    Busy(Protocol),
    /// The server is gone, moved, or no longer the project's.
    #[error("target is not what the token was issued for")]
    Changed(Protocol),
    /// The token was made for another address.
    #[error("token is for another client address")]
    Elsewhere(Protocol),
    /// The grant has a restriction that this version cannot keep.
    #[error("view-only is not possible for this protocol")]
    Unenforced(Protocol),
    /// A limit is reached.
    #[error("limit reached: {0:?}")]
    Full(Full, Option<Protocol>),
    /// The console's host was not reached.
    #[error("{0}")]
    Unreached(ConnectError, Protocol),
    /// The console answered, but not as a VNC server we may use.
    #[error("target greeting failed: {0}")]
    Ungreeted(#[from] GreetError),
    /// The greeting took too long or broke off.
    #[error("target greeting broke off: {0}")]
    Broken(std::io::Error),
    /// The target's TLS failed: it is not the one that was meant, for one.
    #[error("target's TLS failed: {}", clean(.0.to_string().as_bytes(), MAX_REASON))]
    Insecure(std::io::Error),
    /// The token store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log cannot be written.
    #[error("the decision cannot be written down")]
    Audit,
    /// The session has to be recorded, and cannot be.
    #[error("session must be recorded: {0}")]
    Unrecorded(RecordError, Protocol),
    /// The viewer hung up meanwhile.
    #[error("viewer gone")]
    ViewerGone,
}

impl Refusal {
    /// The fixed name in logs.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Unknown => "token_unknown",
            Self::Spent(_) => "token_spent",
            Self::Busy(_) => "token_busy",
            Self::Changed(_) => "target_changed",
            Self::Elsewhere(_) => "client_address",
            Self::Unenforced(_) => "view_only",
            Self::Full(Full::Process, _) => "limit_process",
            Self::Full(Full::Source, _) => "limit_source",
            Self::Full(Full::Target, _) => "limit_target",
            Self::Full(Full::Project, _) => "limit_project",
            Self::Full(Full::InUse, _) => "target_in_use",
            Self::Full(Full::Channels, _) => "limit_channels",
            Self::Unreached(..) => "target_unreached",
            Self::Ungreeted(_) | Self::Broken(_) => "target_ungreeted",
            Self::Insecure(_) => "target_tls",
            Self::Store(_) => "store",
            Self::Audit => "audit",
            Self::Unrecorded(..) => "recording",
            Self::ViewerGone => "viewer_gone",
        }
    }

    /// What a tool gets. Unknown, spent and claimed tokens look alike.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unknown | Self::Spent(_) | Self::Busy(_) | Self::Changed(_) => StatusCode::FORBIDDEN,
            Self::Elsewhere(_) | Self::Unenforced(_) => StatusCode::FORBIDDEN,
            Self::Full(Full::Process, _) | Self::Store(_) | Self::Audit => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unrecorded(..) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unreached(..) | Self::Ungreeted(_) | Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::Insecure(_) | Self::ViewerGone => StatusCode::BAD_GATEWAY,
        }
    }

    fn code(&self) -> CloseCode {
        match self {
            Self::Unknown | Self::Spent(_) | Self::Changed(_) => CloseCode::Policy,
            Self::Elsewhere(_) | Self::Unenforced(_) => CloseCode::Policy,
            Self::Busy(_) | Self::Full(..) | Self::Store(_) | Self::Audit => CloseCode::TryLater,
            Self::Unrecorded(..) => CloseCode::TryLater,
            Self::Unreached(..) | Self::Ungreeted(_) | Self::Broken(_) => CloseCode::Failed,
            Self::Insecure(_) | Self::ViewerGone => CloseCode::Failed,
        }
    }

    /// The protocol of the console, where the token told it.
    fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Spent(protocol)
            | Self::Busy(protocol)
            | Self::Changed(protocol)
            | Self::Elsewhere(protocol)
            | Self::Unenforced(protocol)
            | Self::Unrecorded(_, protocol)
            | Self::Unreached(_, protocol) => Some(*protocol),
            // Only VNC has a greeting.
            Self::Ungreeted(_) | Self::Broken(_) | Self::Insecure(_) => Some(Protocol::Vnc),
            Self::Full(_, protocol) => *protocol,
            Self::Unknown | Self::Store(_) | Self::Audit | Self::ViewerGone => None,
        }
    }

    /// What a person reads: the reason, and what to do. Says nothing of hosts and addresses.
    fn text(&self) -> (&'static str, &'static str) {
        match self {
            Self::Unknown => (
                "This console link is not valid or has expired",
                "Links work for a few minutes. Ask for a new one and open it at once.",
            ),
            Self::Spent(_) => (
                "This console link was already used",
                "Each link opens one console, once. Ask for a new one.",
            ),
            Self::Busy(_) => (
                "This console link is being opened right now",
                "If that was you, wait a few seconds and try again.",
            ),
            Self::Changed(_) => (
                "The server of this link has changed or is gone",
                "Ask for a new link to the server as it is now.",
            ),
            Self::Elsewhere(_) => (
                "This console link does not work from here",
                "It was made for another network address. Ask for a link of your own.",
            ),
            Self::Unenforced(_) => {
                ("This console cannot be opened for viewing only", "Ask for a link without that restriction.")
            }
            Self::Unrecorded(..) => (
                "This console must be recorded, and cannot be now",
                "Tell whoever runs this service. The link is still good: try again later.",
            ),
            Self::Full(Full::InUse, _) => (
                "Somebody else is using this console",
                "It takes one viewer at a time. The link is still good: try again later.",
            ),
            Self::Full(..) => (
                "Too many consoles are open",
                "Close one, or wait a little. The link is still good: try again.",
            ),
            Self::Unreached(..) => (
                "The console could not be reached",
                "The machine that serves it did not answer. The link is still good: try again.",
            ),
            Self::Ungreeted(_) | Self::Broken(_) => (
                "The console did not answer as expected",
                "The link is still good. If it happens again, tell the operator.",
            ),
            Self::Insecure(_) => (
                "The console could not prove what it is",
                "Its encryption did not pass the checks. Tell the operator; the link is still good.",
            ),
            Self::Audit => (
                "Consoles cannot be opened at the moment",
                "What is done here cannot be written down. The link is still good: try again.",
            ),
            Self::Store(_) | Self::ViewerGone => (
                "Consoles cannot be opened at the moment",
                "The token store does not answer. The link is still good: try again.",
            ),
        }
    }

    /// Shows the reason inside the console, then closes. `serial_page`: the page says it is a terminal, for
    /// tokens nobody knows.
    pub(super) async fn show<V>(&self, mut viewer: Channel<V>, serial_page: bool)
    where
        V: AsyncRead + AsyncWrite + Unpin,
    {
        let (reason, hint) = self.text();
        let told = match self.protocol() {
            Some(Protocol::Serial) => viewer.send(serial::refusal(reason, hint).as_bytes()).await,
            None if serial_page => viewer.send(serial::refusal(reason, hint).as_bytes()).await,
            // No picture of ours would be understood; the close frame has the reason.
            Some(Protocol::Spice | Protocol::Mks) => Ok(()),
            _ => {
                let painted = paint(&mut viewer, CanvasServer::refusal(reason, hint));
                timeout(PAINTED, painted).await.unwrap_or(Ok(()))
            }
        };
        match told {
            Ok(()) | Err(End::ViewerClosed) => viewer.close(self.code(), reason).await,
            Err(_gone) => {}
        }
    }
}

/// Serves the tiny RFB server to the viewer until it leaves.
async fn paint<V>(viewer: &mut Channel<V>, mut canvas: CanvasServer) -> Result<(), End>
where
    V: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = Vec::new();
    loop {
        while let Some(message) = canvas.output() {
            viewer.send(&message).await?;
        }
        input.clear();
        viewer.receive(&mut input).await?;
        viewer.answer_ping().await?;
        if canvas.feed(&input).is_err() {
            // Not an RFB client after all: the close frame still carries the reason.
            return Ok(());
        }
    }
}
