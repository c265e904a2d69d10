//! The greeting on both sides of a VNC console: with the target before the 101, with the viewer after it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tracing::debug;

use crate::config::{Password, VncSecurity, VncType};
use crate::net::stream::TargetStream;
use crate::net::target_tls::{secure, secure_anonymously};
use crate::relay::{Channel, End};
use crate::rfb::{Credentials, GreetError, Handshake, Mode, Outcome, Security, TargetGreeter, ViewOnly};

use super::refusal::Refusal;

/// Version, security and TLS with the target; a healthy one takes milliseconds.
const TARGET: Duration = Duration::from_secs(10);

/// The viewer's part when the proxy has authenticated already: no human is involved.
const VIEWER: Duration = Duration::from_secs(30);

/// The viewer's part when a human types the target's password.
const PASSWORD: Duration = Duration::from_secs(300);

/// Read at a time: the largest message is a ServerInit with its name.
const READ: usize = 4096;

/// A target that is ready for its viewer.
pub(super) struct Greeted {
    /// The connection, inside TLS where that was agreed on.
    pub(super) stream: TargetStream,
    /// How the greeting ended.
    pub(super) outcome: Outcome,
    /// What the target sent beyond it.
    pub(super) early: Vec<u8>,
}

/// Greets the target and proves to it what it asks for.
pub(super) async fn target(stream: TargetStream, settings: &VncSecurity) -> Result<Greeted, Refusal> {
    let greeting = Box::pin(authenticate(stream, settings));
    timeout(TARGET, greeting).await.unwrap_or_else(|_| Err(Refusal::Broken(io::ErrorKind::TimedOut.into())))
}

async fn authenticate(mut stream: TargetStream, settings: &VncSecurity) -> Result<Greeted, Refusal> {
    let username = settings.username.as_deref().unwrap_or_default();
    let password = settings.password.as_ref().map(Password::reveal).unwrap_or_default();
    let mut greeter = TargetGreeter::new(mode(settings), Credentials::new(username, password));
    let mut buffer = [0; READ];
    loop {
        let count = stream.read(&mut buffer).await.map_err(Refusal::Broken)?;
        if count == 0 {
            return Err(greeter.closed().into());
        }
        let used = greeter.feed(&buffer[..count])?;
        send(&mut stream, &mut greeter).await?;
        if greeter.wants_tls() {
            stream = encrypt(stream, greeter.security(), settings).await?;
            greeter.secured();
            send(&mut stream, &mut greeter).await?;
        }
        if let Some(outcome) = greeter.done() {
            if let Some(security) = greeter.security() {
                debug!(%security, "target greeted");
            }
            return Ok(Greeted { stream, outcome, early: buffer[used..count].to_vec() });
        }
    }
}

/// TLS as the type that was chosen has it. One with a certificate is never begun without a way to check it.
async fn encrypt(
    stream: TargetStream,
    security: Option<Security>,
    settings: &VncSecurity,
) -> Result<TargetStream, Refusal> {
    let secured = match (security, &settings.tls) {
        (Some(security), _) if security.is_anonymous() => secure_anonymously(stream).await,
        (_, Some(tls)) => secure(stream, tls).await,
        (_, None) => return Err(Refusal::Broken(io::ErrorKind::Unsupported.into())),
    };
    secured.map_err(Refusal::Insecure)
}

async fn send(stream: &mut TargetStream, greeter: &mut TargetGreeter) -> Result<(), Refusal> {
    stream.write_all(&greeter.output()).await.map_err(Refusal::Broken)?;
    // TLS may keep the end of it otherwise.
    stream.flush().await.map_err(Refusal::Broken)
}

fn mode(settings: &VncSecurity) -> Mode {
    let ours = |kind: &VncType| match kind {
        VncType::None => Some(Security::None),
        VncType::Vnc => Some(Security::Vnc),
        VncType::TlsNone => Some(Security::TlsNone),
        VncType::TlsVnc => Some(Security::TlsVnc),
        VncType::TlsPlain => Some(Security::TlsPlain),
        VncType::X509None => Some(Security::X509None),
        VncType::X509Vnc => Some(Security::X509Vnc),
        VncType::X509Plain => Some(Security::X509Plain),
        VncType::PassThrough => None,
    };
    match settings.types[..] {
        [VncType::PassThrough] => Mode::PassThrough,
        _ => Mode::Authenticate(settings.types.iter().filter_map(ours).collect()),
    }
}

/// What came of a viewer's greeting.
pub(super) struct Viewed {
    /// ServerInit, as the viewer got it.
    pub(super) server_init: Vec<u8>,
    /// What the viewer sent beyond it, which the target has got.
    pub(super) sent: Vec<u8>,
    /// What the target sent beyond it.
    pub(super) early: Vec<u8>,
}

/// Takes the viewer through its handshake up to ServerInit, each message in a frame of its own. What the
/// viewer sent beyond it is written to the target, through the `filter` of one who may only watch; what the
/// target sent beyond it is returned.
pub(super) async fn viewer<V, T>(
    viewer: &mut Channel<V>,
    target: &mut T,
    (outcome, early): (Outcome, Vec<u8>),
    filter: Option<&mut ViewOnly>,
) -> Result<Viewed, End>
where
    V: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let limit = if matches!(outcome, Outcome::PassThrough(_)) { PASSWORD } else { VIEWER };
    let greet = async {
        let mut handshake = Handshake::new(outcome);
        if filter.is_some() {
            handshake = handshake.watching();
        }
        let (mut from_viewer, mut from_target) = (Vec::new(), early);
        let (mut buffer, mut server_init) = ([0; READ], Vec::new());
        loop {
            let fed = advance(&mut handshake, &mut from_viewer, &mut from_target);
            while let Some(message) = handshake.to_target() {
                target.write_all(&message).await.map_err(|e| End::TargetFailed(e.kind()))?;
            }
            target.flush().await.map_err(|e| End::TargetFailed(e.kind()))?;
            // Also when it failed: the reason, in RFB's own form, is among the messages.
            while let Some(message) = handshake.to_viewer() {
                viewer.send(&message).await?;
                // The last of them all.
                server_init = message;
            }
            fed.map_err(End::Handshake)?;
            if handshake.done() {
                let sent = allowed(from_viewer, filter)?;
                target.write_all(&sent).await.map_err(|e| End::TargetFailed(e.kind()))?;
                target.flush().await.map_err(|e| End::TargetFailed(e.kind()))?;
                return Ok(Viewed { server_init, sent, early: from_target });
            }
            // Both reads are cancel-safe: whichever loses has taken nothing and written nothing.
            tokio::select! {
                received = viewer.receive(&mut from_viewer) => received?,
                read = target.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => from_target.extend_from_slice(&buffer[..count]),
                    Ok(_) => return Err(End::Handshake(handshake.target_closed())),
                    Err(error) => return Err(End::TargetFailed(error.kind())),
                },
            }
            viewer.answer_ping().await?;
            // The handshake's messages are small; a side that sends more before its turn is not waiting.
            if from_viewer.len() > MAX_EARLY || from_target.len() > MAX_EARLY {
                return Err(End::TargetFailed(io::ErrorKind::InvalidData));
            }
        }
    };
    timeout(limit, greet).await.unwrap_or(Err(End::Silent))
}

/// What of the viewer's bytes the target may have.
fn allowed(bytes: Vec<u8>, filter: Option<&mut ViewOnly>) -> Result<Vec<u8>, End> {
    let Some(filter) = filter else { return Ok(bytes) };
    let mut buffer = [&[0; ViewOnly::ROOM], &bytes[..]].concat();
    let range = ViewOnly::ROOM..buffer.len();
    let kept = filter.apply(&mut buffer, range).map_err(End::ViewOnly)?;
    Ok(buffer[kept].to_vec())
}

/// Bytes a side may send ahead of its turn: a pipelining client sends a few hundred.
const MAX_EARLY: usize = 64 * 1024;

/// Feeds both sides' bytes until neither is taken any more.
fn advance(
    handshake: &mut Handshake,
    from_viewer: &mut Vec<u8>,
    from_target: &mut Vec<u8>,
) -> Result<(), GreetError> {
    loop {
        let mut used = 0;
        if !handshake.done() && !from_viewer.is_empty() {
            let count = handshake.from_viewer(from_viewer)?;
            from_viewer.drain(..count);
            used += count;
        }
        if !handshake.done() && !from_target.is_empty() {
            let count = handshake.from_target(from_target)?;
            from_target.drain(..count);
            used += count;
        }
        if used == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use crate::config::{Trust, VncTls};

    use super::*;

    /// Greets a target that says `words` and no more.
    async fn silent_after(words: &[u8], settings: &VncSecurity) -> (Result<Greeted, Refusal>, UnixStream) {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(words).await.unwrap();
        (target(TargetStream::Unix(near), settings).await, far)
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_has_ten_seconds_for_all_of_it() {
        let tls = Some(VncTls { trust: Trust::Pin([0; 32]), client: None });
        let x509 = VncSecurity { types: vec![VncType::X509None], tls, ..VncSecurity::default() };
        // Mute; in the middle of a message; and where TLS should begin.
        let cases: [&[u8]; 3] =
            [b"", b"RFB 003.008\n\x02\x13", b"RFB 003.008\n\x01\x13\0\x02\0\x01\0\0\x01\x04\x01"];
        for words in cases {
            let begun = tokio::time::Instant::now();
            let (greeted, _open) = silent_after(words, &x509).await;
            let refusal = greeted.err().expect("a refusal");
            assert!(
                matches!(&refusal, Refusal::Broken(e) if e.kind() == io::ErrorKind::TimedOut),
                "{refusal}"
            );
            assert_eq!(begun.elapsed().as_secs(), TARGET.as_secs(), "{words:02x?}");
        }
    }

    #[tokio::test]
    async fn tls_without_settings_is_no_way_around_it() {
        let x509 = VncSecurity { types: vec![VncType::X509None], ..VncSecurity::default() };
        let words = b"RFB 003.008\n\x01\x13\0\x02\0\x01\0\0\x01\x04\x01";
        let (greeted, mut far) = silent_after(words, &x509).await;
        assert!(greeted.is_err());
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"RFB 003.008\n\x13\0\x02\0\0\x01\x04");
    }

    #[test]
    fn what_was_sent_early_is_filtered_too() {
        let key = b"\x04\x01\0\0\0\0\0a".to_vec();
        assert_eq!(allowed(key.clone(), None).unwrap(), key);
        let mut filter = ViewOnly::new();
        assert_eq!(allowed([&key[..], b"\x03"].concat(), Some(&mut filter)).unwrap(), b"\x03");
        assert!(matches!(allowed([&[0; 9][..], &[1]].concat(), Some(&mut filter)), Err(End::ViewOnly(_))));
    }
}
