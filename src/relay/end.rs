//! How a session ends: exactly one documented cause each.

use std::fmt;

use crate::rfb::{GreetError, ViewOnlyError};
use crate::tokens::Why;
use crate::ws::{CloseCode, FrameError};

use super::control::ControlError;

/// One of a session's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The browser or client.
    Viewer,
    /// The console.
    Target,
}

/// Why a session ended. A hang-up is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The target closed the connection.
    TargetClosed,
    /// The viewer said goodbye.
    ViewerClosed,
    /// The viewer's connection went without goodbye.
    ViewerGone,
    /// The target's connection broke.
    TargetFailed(std::io::ErrorKind),
    /// The RFB handshake failed after the viewer was connected; a wrong VNC password, for one.
    Handshake(GreetError),
    /// The viewer broke RFC 6455.
    Protocol(FrameError),
    /// The viewer misused the control channel.
    Control(ControlError),
    /// A viewer who may only watch sent what cannot be filtered.
    ViewOnly(ViewOnlyError),
    /// The viewer answered no ping.
    Silent,
    /// A write made no progress for too long.
    Stalled(Side),
    /// No bytes either way for the configured time.
    Idle,
    /// The configured longest session is over.
    MaxSession,
    /// The proxy is shutting down.
    Drain,
    /// Another viewer took over.
    TakenOver,
    /// Ended by an operator or by revocation.
    Revoked,
    /// The session had to be recorded and no longer could be.
    Recording,
    /// The server was deleted.
    ServerDeleted,
    /// The server has moved, or is on its way.
    ServerMoved,
    /// The server is being rebuilt.
    ServerRebuilt,
    /// The virtual machine was stopped.
    ServerStopped,
    /// This process was cut off from the fleet for so long that it does not know what was revoked meanwhile.
    CutOff,
    /// A further channel of a SPICE viewer whose main channel has ended.
    MainChannel,
}

impl End {
    /// The fixed name in logs and audit lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TargetClosed => "target_closed",
            Self::ViewerClosed => "viewer_closed",
            Self::ViewerGone => "viewer_gone",
            Self::TargetFailed(_) => "target_failed",
            Self::Handshake(_) => "handshake",
            Self::Protocol(_) => "protocol",
            Self::Control(_) => "control",
            Self::ViewOnly(_) => "view_only",
            Self::Silent => "viewer_silent",
            Self::Stalled(Side::Viewer) => "viewer_stalled",
            Self::Stalled(Side::Target) => "target_stalled",
            Self::Idle => "idle",
            Self::MaxSession => "max_session",
            Self::Drain => "drain",
            Self::TakenOver => "taken_over",
            Self::Revoked => "revoked",
            Self::Recording => "recording",
            Self::ServerDeleted => "server_deleted",
            Self::ServerMoved => "server_moved",
            Self::ServerRebuilt => "server_rebuilt",
            Self::ServerStopped => "server_stopped",
            Self::CutOff => "cut_off",
            Self::MainChannel => "main_channel",
        }
    }

    /// What the viewer is told.
    pub fn close(&self) -> (CloseCode, String) {
        let (code, reason) = match self {
            Self::TargetClosed | Self::ViewerClosed | Self::ViewerGone => {
                (CloseCode::Normal, "the console closed the connection")
            }
            Self::TargetFailed(_) => (CloseCode::Failed, "the connection to the console broke"),
            Self::Handshake(error) if error.by_viewer() => return (CloseCode::Protocol, error.to_string()),
            Self::Handshake(error) => return (CloseCode::Failed, error.to_string()),
            Self::Protocol(error) => return (error.close_code(), error.to_string()),
            Self::Control(error @ ControlError::Malformed) => {
                return (CloseCode::Protocol, error.to_string());
            }
            Self::Control(error @ ControlError::TooMany) => return (CloseCode::Policy, error.to_string()),
            Self::ViewOnly(error) => return (CloseCode::Policy, error.to_string()),
            Self::Silent => (CloseCode::Policy, "no answer to pings"),
            Self::Stalled(Side::Viewer) => (CloseCode::Policy, "the viewer stopped reading"),
            Self::Stalled(Side::Target) => (CloseCode::Failed, "the console stopped reading"),
            Self::Idle => (CloseCode::Policy, "idle for too long"),
            Self::MaxSession => (CloseCode::Policy, "the longest session allowed is over"),
            Self::Drain => (CloseCode::GoingAway, "the proxy is restarting"),
            Self::TakenOver => (CloseCode::Policy, "taken over by another viewer"),
            Self::Revoked => (CloseCode::Policy, "ended by an operator"),
            Self::Recording => (CloseCode::Failed, "this console must be recorded, and the recording failed"),
            Self::ServerDeleted => (CloseCode::Policy, "the server was deleted"),
            Self::ServerMoved => (CloseCode::Policy, "the server has moved; ask for a new link"),
            Self::ServerRebuilt => {
                (CloseCode::Policy, "the server is being rebuilt; ask for a new link later")
            }
            Self::ServerStopped => (CloseCode::Policy, "the server was stopped"),
            Self::CutOff => (CloseCode::Policy, "the proxy does not know whether this link was revoked"),
            Self::MainChannel => (CloseCode::Normal, "the viewer's main channel has ended"),
        };
        (code, reason.to_owned())
    }
}

impl From<Why> for End {
    fn from(why: Why) -> Self {
        match why {
            Why::Revoked => Self::Revoked,
            Why::TakenOver => Self::TakenOver,
            Why::Deleted => Self::ServerDeleted,
            Why::Moved => Self::ServerMoved,
            Why::Rebuilt => Self::ServerRebuilt,
            Why::Stopped => Self::ServerStopped,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
