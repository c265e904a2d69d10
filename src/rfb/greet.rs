//! The RFB handshake (RFC 6143 section 7.1 to 7.3) on both sides: versions, security, ClientInit, ServerInit.
//!
//! ```text
//! before the 101:  target ── TargetGreeter ──> SecurityResult (or, passing through, its version line)
//! after the 101:   viewer ── Handshake ──> ClientInit to the target, ServerInit back, then the relay
//! ```

use std::fmt;

mod handshake;
mod init;
mod pass_through;
mod security;
mod target;
mod viewer;

pub use handshake::Handshake;
pub use security::{Credentials, Security};
pub use target::{Mode, Outcome, TargetGreeter};
pub use viewer::ViewerGreeter;

use super::text::clean;

use security::{VENCRYPT, describe_subtype};

/// The longest reason kept, in bytes: a sentence or two; a target must not fill logs and screens.
pub const MAX_REASON: usize = 256;

/// The longest desktop name accepted, in bytes. RFB sets no limit (up to 4 GiB); real names are host names and
/// window titles, so a longer one is a broken or hostile target.
pub const MAX_NAME: usize = 4096;

/// Length of the ProtocolVersion message: `RFB 003.008\n`.
const VERSION_LEN: usize = 12;

/// Security type None (RFC 6143 section 7.2.1).
const NONE: u8 = 1;
/// Security type VNC Authentication (RFC 6143 section 7.2.2).
const VNC: u8 = 2;
/// Length of VNC Authentication's challenge and of its response.
const CHALLENGE_LEN: usize = 16;

/// A protocol version with a handshake of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.3: the server decides the security type.
    V3_3,
    /// 3.7: the client chooses; no SecurityResult after None.
    V3_7,
    /// 3.8: SecurityResult always, with a reason when it failed.
    V3_8,
}

impl Version {
    /// The ProtocolVersion message.
    pub fn line(self) -> &'static [u8; 12] {
        match self {
            Self::V3_3 => b"RFB 003.003\n",
            Self::V3_7 => b"RFB 003.007\n",
            Self::V3_8 => b"RFB 003.008\n",
        }
    }

    /// Reads a ProtocolVersion message; `None` if it is not one.
    ///
    /// 3.4 to 3.6 are spoken as 3.3 (RFC 6143 section 7.1.1). Whatever is above 3.8 (Apple's 003.889, Intel's
    /// 004.000, RealVNC's 005.000) also speaks 3.8, and noVNC treats them so.
    fn parse(line: &[u8]) -> Option<Result<Self, Unspoken>> {
        let digits = |range: std::ops::Range<usize>| -> Option<u16> {
            let text = line.get(range)?;
            text.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0')))
        };
        if line.len() != VERSION_LEN || !line.starts_with(b"RFB ") || line[7] != b'.' || line[11] != b'\n' {
            return None;
        }
        Some(match (digits(4..7)?, digits(8..11)?) {
            (0, 0) => Err(Unspoken::Repeater),
            (3, 3..=6) => Ok(Self::V3_3),
            (3, 7) => Ok(Self::V3_7),
            (3, 8..) | (4.., _) => Ok(Self::V3_8),
            _ => Err(Unspoken::Old),
        })
    }

    /// Whether a SecurityResult follows the choice of `security` (RFC 6143 section 7.1.3).
    fn has_result(self, security: u8) -> bool {
        self == Self::V3_8 || security != NONE
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_3 => "3.3",
            Self::V3_7 => "3.7",
            Self::V3_8 => "3.8",
        })
    }
}

/// A version line that is one, of a version nobody speaks here.
enum Unspoken {
    Repeater,
    Old,
}

/// Why a handshake ended. Texts of the target inside are cleaned and bounded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GreetError {
    /// The target's first bytes are no ProtocolVersion.
    #[error("target is not a VNC server: it began with \"{said}\"; check the host and port of `vnc`")]
    NotRfb {
        /// Its first bytes, cleaned.
        said: String,
    },
    /// An UltraVNC repeater answers instead of a server.
    #[error(
        "target is an UltraVNC repeater (RFB 000.000), not a VNC server: name the server itself in `vnc`"
    )]
    Repeater,
    /// Older than 3.3.
    #[error("target speaks \"{said}\"; RFB 3.3 or newer is needed")]
    TooOld {
        /// Its version line, cleaned.
        said: String,
    },
    /// The target offers no security type at all (type 0 and a reason).
    #[error("target refused the connection: {reason}")]
    Refused {
        /// Its reason, cleaned.
        reason: String,
    },
    /// None of the target's security types may be used.
    #[error("{}", offers(.0))]
    Security(Vec<u8>),
    /// The target speaks an older VeNCrypt.
    #[error("target speaks VeNCrypt {0}.{1}; 0.2 is needed")]
    VeNCryptVersion(u8, u8),
    /// The target offers VeNCrypt and then refuses its version.
    #[error("target does not accept VeNCrypt 0.2")]
    VeNCryptRefused,
    /// None of the target's VeNCrypt types may be used.
    #[error("{}", subtypes(.0))]
    Subtypes(Vec<u32>),
    /// The target takes the VeNCrypt type back.
    #[error("target cannot begin TLS; is its certificate in order?")]
    TlsRefused,
    /// Bytes in the clear where TLS is to begin.
    #[error("target sent bytes in the clear where TLS begins; somebody may be on the way to it")]
    BeforeTls,
    /// SecurityResult said no.
    #[error("target did not accept the security handshake: {reason}")]
    Failed {
        /// Its reason, cleaned.
        reason: String,
    },
    /// The target's desktop name is longer than [`MAX_NAME`].
    #[error("target announced a desktop name of {0} bytes; {MAX_NAME} is the limit")]
    NameTooLong(u32),
    /// The target closed, or ran out of time, in the middle of the handshake.
    #[error("target closed the connection {0}")]
    TargetClosed(&'static str),
    /// The viewer's first bytes are no ProtocolVersion of 3.3 or newer.
    #[error("viewer does not speak RFB 3.3 or newer: it began with \"{said}\"")]
    ViewerVersion {
        /// Its first bytes, cleaned.
        said: String,
    },
    /// The viewer chose a security type that was not offered.
    #[error("viewer chose security type {0}, which was not offered")]
    ViewerSecurity(u8),
}

impl GreetError {
    /// Whether the viewer, not the target, broke the protocol (close code 1002 rather than 1011).
    pub fn by_viewer(&self) -> bool {
        matches!(self, Self::ViewerVersion { .. } | Self::ViewerSecurity(_))
    }
}

/// What to say about security types of which none may be used.
fn offers(types: &[u8]) -> String {
    let list: Vec<String> = types.iter().take(8).map(|&t| describe(t)).collect();
    let list = list.join(", ");
    match types {
        [VNC] => format!(
            "target offers only VNC password (type {VNC}): set vnc_security.types = [\"vnc\"] and its password, or [\"pass-through\"] to let the viewer type it"
        ),
        _ if types.contains(&VENCRYPT) => format!(
            "target offers security types {list}, none of which vnc_security.types allows; for VeNCrypt name its kind, such as \"vencrypt-x509-vnc\""
        ),
        _ if types.contains(&VNC) => format!(
            "target offers security types {list}, none of which vnc_security.types allows; for the VNC password add \"vnc\", or set [\"pass-through\"] to let the viewer type it"
        ),
        _ if types.contains(&NONE) => format!(
            "target offers security types {list}, none of which vnc_security.types allows; its console has no protection"
        ),
        _ => format!(
            "target offers only security types {list}, which are not supported: enable VeNCrypt with X.509, None or VNC password on the target"
        ),
    }
}

/// What to say about VeNCrypt types of which none may be used.
fn subtypes(types: &[u32]) -> String {
    let list: Vec<String> = types.iter().take(8).map(|&t| describe_subtype(t)).collect();
    let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    match types {
        _ if types.iter().any(|t| (260..=262).contains(t)) => {
            format!("target offers VeNCrypt types {list}, none of which vnc_security.types allows")
        }
        _ if types.iter().any(|t| (257..=259).contains(t)) => format!(
            "target offers VeNCrypt types {list}, none of which vnc_security.types allows: give the target an X.509 certificate, or name them (\"vencrypt-tls-...\"), which keeps out nobody who is on the way"
        ),
        _ => format!(
            "target offers VeNCrypt types {list}, which are not supported: give the target an X.509 certificate"
        ),
    }
}

/// A security type's number and its name in the registry (rfbproto, "Security Types").
fn describe(security: u8) -> String {
    let name = match security {
        NONE => "None",
        VNC => "VNC password",
        5 | 6 | 13 | 129 | 130 | 133 => "RealVNC RSA-AES",
        16 => "Tight",
        17 => "UltraVNC",
        18 => "TLS",
        VENCRYPT => "VeNCrypt",
        20 => "SASL",
        22 => "xvp",
        30 | 33 | 35 | 36 => "Apple",
        113 => "UltraVNC MS-Logon II",
        _ => return security.to_string(),
    };
    format!("{security} ({name})")
}

/// A reason as shown: cleaned, bounded, and never empty.
fn reason(bytes: &[u8]) -> String {
    let text = clean(bytes, MAX_REASON);
    if text.is_empty() { "it gave no reason".to_owned() } else { text }
}

/// Why the target said no: in SecurityResult, or before by offering nothing.
fn refusal(after_result: bool, text: &[u8]) -> GreetError {
    let reason = reason(text);
    if after_result { GreetError::Failed { reason } } else { GreetError::Refused { reason } }
}

/// How much of a reason of `announced` bytes is awaited: the rest is never read, the connection ends there.
fn reason_len(announced: u32) -> usize {
    usize::try_from(announced).unwrap_or(MAX_REASON).min(MAX_REASON)
}

/// What the target's first bytes are not.
fn version_of_target(line: &[u8]) -> Result<Version, GreetError> {
    match Version::parse(line) {
        Some(Ok(version)) => Ok(version),
        Some(Err(Unspoken::Repeater)) => Err(GreetError::Repeater),
        Some(Err(Unspoken::Old)) => Err(GreetError::TooOld { said: clean(line, VERSION_LEN) }),
        None => Err(GreetError::NotRfb { said: clean(line, VERSION_LEN) }),
    }
}

/// The viewer's version, no newer than what was offered.
fn version_of_viewer(line: &[u8], offered: Version) -> Result<Version, GreetError> {
    match Version::parse(line) {
        Some(Ok(version)) => Ok(version.min(offered)),
        _ => Err(GreetError::ViewerVersion { said: clean(line, VERSION_LEN) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |line: &[u8], expected: Option<Version>| {
            assert_eq!(version_of_target(line).ok(), expected, "{}", String::from_utf8_lossy(line));
        };
        check(b"RFB 003.003\n", Some(Version::V3_3));
        check(b"RFB 003.005\n", Some(Version::V3_3));
        check(b"RFB 003.006\n", Some(Version::V3_3));
        check(b"RFB 003.007\n", Some(Version::V3_7));
        check(b"RFB 003.008\n", Some(Version::V3_8));
        check(b"RFB 003.889\n", Some(Version::V3_8));
        check(b"RFB 004.001\n", Some(Version::V3_8));
        check(b"RFB 005.000\n", Some(Version::V3_8));
        check(b"RFB 003.002\n", None);
        check(b"RFB 002.008\n", None);
        check(b"RFB 000.000\n", None);
        check(b"RFB 003.00a\n", None);
        check(b"RFB 003.008\r", None);
        check(b"RFB 003 008\n", None);
        check(b"SSH-2.0-Open", None);
    }

    #[test]
    fn errors_teach() {
        let check = |error: GreetError, expected: &str| assert_eq!(error.to_string(), expected);
        check(
            GreetError::Security(vec![2]),
            "target offers only VNC password (type 2): set vnc_security.types = [\"vnc\"] and its password, or [\"pass-through\"] to let the viewer type it",
        );
        check(
            GreetError::Security(vec![16, 2]),
            "target offers security types 16 (Tight), 2 (VNC password), none of which vnc_security.types allows; for the VNC password add \"vnc\", or set [\"pass-through\"] to let the viewer type it",
        );
        check(
            GreetError::Security(vec![19, 99]),
            "target offers security types 19 (VeNCrypt), 99, none of which vnc_security.types allows; for VeNCrypt name its kind, such as \"vencrypt-x509-vnc\"",
        );
        check(
            GreetError::Security(vec![1]),
            "target offers security types 1 (None), none of which vnc_security.types allows; its console has no protection",
        );
        check(
            GreetError::Subtypes(vec![257, 258]),
            "target offers VeNCrypt types 257 (TLSNone), 258 (TLSVnc), none of which vnc_security.types allows: give the target an X.509 certificate, or name them (\"vencrypt-tls-...\"), which keeps out nobody who is on the way",
        );
        check(
            GreetError::Subtypes(vec![256]),
            "target offers VeNCrypt types 256 (Plain), which are not supported: give the target an X.509 certificate",
        );
        check(
            GreetError::Subtypes(vec![256, 261]),
            "target offers VeNCrypt types 256 (Plain), 261 (X509Vnc), none of which vnc_security.types allows",
        );
        check(
            version_of_target(b"RFB 000.000\n").expect_err("a repeater"),
            &GreetError::Repeater.to_string(),
        );
        check(
            version_of_target(b"SSH-2.0-\x1b[31").expect_err("not RFB"),
            "target is not a VNC server: it began with \"SSH-2.0-[31\"; check the host and port of `vnc`",
        );
    }

    #[test]
    fn reasons_are_bounded_and_never_empty() {
        assert_eq!(reason(b"\x1b"), "it gave no reason");
        assert_eq!(reason(&[b'x'; 999]).len(), MAX_REASON);
        assert_eq!(reason_len(u32::MAX), MAX_REASON);
        assert_eq!(reason_len(3), 3);
    }
}
