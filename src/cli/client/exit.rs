//! How `connect` and `tunnel` end: exit codes for scripts, prose for people.

use std::process::ExitCode;

use http::StatusCode;

use crate::cli::issuer::ApiError;

/// The exit codes, as `--help` lists them. 2 is clap's own, for arguments that make no sense.
pub(super) const DONE: u8 = 0;
const FAILED: u8 = 1;
const REFUSED: u8 = 3;
const UNAVAILABLE: u8 = 4;
pub(super) const CUT_OFF: u8 = 5;

/// The end of both commands' help.
pub(super) const HELP: &str = "\
Exit codes:
  0  you left, or the console closed the connection
  1  something is wrong here: a file, a setting, the terminal
  2  the arguments make no sense
  3  refused: the link is used up or has expired, or the credential opens nothing
  4  not reached, or busy: the same may work later
  5  cut off: the session was ended by the other side, or lost
  128+N  ended by signal N";

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The proxy answered, and not with a console.
    #[error("{}", status_prose(*.0))]
    Status(StatusCode),
    /// There was no connection, or no TLS.
    #[error("cannot reach {at}: {reason}")]
    Unreached { at: String, reason: String },
    /// What answered is no WebSocket server.
    #[error("{at} does not speak WebSocket as it should: {reason}")]
    Protocol { at: String, reason: String },
}

impl OpenError {
    /// Whether the same may work in a moment.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Unreached { .. } => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502..=504),
            Self::Protocol { .. } => false,
        }
    }
}

/// As the proxy means it: a client gets no reason but the status (README, "a WebSocket client").
fn status_prose(status: StatusCode) -> String {
    let words = match status.as_u16() {
        403 => {
            "the proxy refused the link: it was used already, has expired, or was cut off. Ask for a new one"
        }
        429 => "the console is busy, or a limit is reached. The link is still good: try again in a moment",
        502 => {
            "the console was not reached, or did not answer. The link is still good: try again in a moment"
        }
        503 => {
            "the proxy is full, or cannot reach its token store. The link is still good: try again in a moment"
        }
        301 | 302 | 307 | 308 => "a redirect, which no console link gives; is there a login page in front?",
        404 => "there is no console at that address",
        _ => "the proxy did not open a console",
    };
    format!("{words} (HTTP {})", status.as_u16())
}

/// Why an open session ended, as its close frame says. `None`: the connection went without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) code: Option<u16>,
    pub(super) reason: String,
}

impl Closed {
    /// Lost without a word.
    pub(super) fn lost(reason: impl Into<String>) -> Self {
        Self { code: None, reason: reason.into() }
    }

    /// For people: the other side's words, then what the code means (RFC 6455 section 7.4.1).
    pub(super) fn prose(&self) -> String {
        let meaning = match self.code {
            None => "the connection was lost",
            Some(1000 | 1005) => "the console closed the connection",
            Some(1001) => "the proxy is restarting",
            Some(1002 | 1003 | 1007 | 1009) => "the proxy did not understand this client",
            Some(1008) => "the session was ended by a rule or an operator",
            Some(1011) => "the console failed",
            Some(1012 | 1013) => "the console is busy",
            Some(_) => "the session was ended",
        };
        // The proxy's words come over the network: no control characters for the terminal.
        let said: String = self.reason.chars().filter(|c| !c.is_control()).take(200).collect();
        let code = self.code.map_or_else(String::new, |code| format!(" ({code})"));
        match said.as_str() {
            "" => format!("{meaning}{code}"),
            said if said == meaning => format!("{said}{code}"),
            said => format!("{meaning}: {said}{code}"),
        }
    }

    pub(super) fn exit(&self) -> u8 {
        if matches!(self.code, Some(1000 | 1005)) { DONE } else { CUT_OFF }
    }

    /// Whether a new connection may help.
    pub(super) fn passes(&self) -> bool {
        matches!(self.code, None | Some(1001 | 1011 | 1012 | 1013))
    }
}

/// The exit code of what went wrong before a session.
pub(super) fn code_of(error: &anyhow::Error) -> ExitCode {
    let code = match (error.downcast_ref::<OpenError>(), error.downcast_ref::<ApiError>()) {
        (Some(error), _) if error.passes() => UNAVAILABLE,
        (Some(OpenError::Status(_)), _) => REFUSED,
        (_, Some(ApiError::Unreached { .. })) => UNAVAILABLE,
        (_, Some(ApiError::Refused { status, .. })) if status.is_server_error() || status.as_u16() == 429 => {
            UNAVAILABLE
        }
        (_, Some(ApiError::Refused { .. })) => REFUSED,
        _ => FAILED,
    };
    ExitCode::from(code)
}

/// Whether asking again may help.
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    code_of(error) == ExitCode::from(UNAVAILABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_a_code_and_words() {
        let closed = |code, reason: &str| Closed { code, reason: reason.into() };
        assert_eq!(closed(Some(1000), "").prose(), "the console closed the connection (1000)");
        assert_eq!(
            closed(Some(1008), "ended by an operator\x1b[2J").prose(),
            "the session was ended by a rule or an operator: ended by an operator[2J (1008)"
        );
        assert_eq!(Closed::lost("").prose(), "the connection was lost");
        assert_eq!((closed(Some(1000), "").exit(), closed(Some(1008), "").exit()), (DONE, CUT_OFF));
        for (code, again) in [(Some(1000), false), (Some(1001), true), (Some(1008), false), (None, true)] {
            assert_eq!(closed(code, "").passes(), again, "{code:?}");
        }
    }

    #[test]
    fn refusals_teach() {
        let status = |status| anyhow::Error::from(OpenError::Status(StatusCode::from_u16(status).unwrap()));
        assert!(status(403).to_string().contains("Ask for a new one"));
        assert_eq!(code_of(&status(403)), ExitCode::from(REFUSED));
        assert_eq!(code_of(&status(502).context("more")), ExitCode::from(UNAVAILABLE));
        assert_eq!(code_of(&anyhow::anyhow!("a file")), ExitCode::from(FAILED));
        let api = |status| ApiError::Refused { what: "x", status, message: String::new() };
        assert_eq!(code_of(&api(StatusCode::UNAUTHORIZED).into()), ExitCode::from(REFUSED));
        assert_eq!(code_of(&api(StatusCode::SERVICE_UNAVAILABLE).into()), ExitCode::from(UNAVAILABLE));
    }
}
