//! The greeting on both sides of a VNC console: with the target before the 101, with the viewer after it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::config::VncSecurity;
use crate::relay::{Channel, End};
use crate::rfb::{GreetError, Handshake, Mode, Outcome, Security, TargetGreeter};

use super::refusal::Refusal;

/// Version and security with the target; a healthy one takes milliseconds.
const TARGET: Duration = Duration::from_secs(10);

/// The viewer's part when the proxy has authenticated already: no human is involved.
const VIEWER: Duration = Duration::from_secs(30);

/// The viewer's part when a human types the target's password.
const PASSWORD: Duration = Duration::from_secs(300);

/// Read at a time: the largest message is a ServerInit with its name.
const READ: usize = 4096;

/// Greets the target. The second part is what it sent beyond the greeting.
pub(super) async fn target<T>(stream: &mut T, security: &[VncSecurity]) -> Result<(Outcome, Vec<u8>), Refusal>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mode = match security {
        [VncSecurity::PassThrough, ..] => Mode::PassThrough,
        types => Mode::Authenticate(
            types.iter().filter(|kind| **kind == VncSecurity::None).map(|_| Security::None).collect(),
        ),
    };
    let greet = async {
        let mut greeter = TargetGreeter::new(mode);
        let mut buffer = [0; READ];
        loop {
            let count = stream.read(&mut buffer).await.map_err(Refusal::Broken)?;
            if count == 0 {
                return Err(greeter.closed().into());
            }
            let used = greeter.feed(&buffer[..count])?;
            stream.write_all(&greeter.output()).await.map_err(Refusal::Broken)?;
            if let Some(outcome) = greeter.done() {
                return Ok((outcome, buffer[used..count].to_vec()));
            }
        }
    };
    timeout(TARGET, greet).await.unwrap_or_else(|_| Err(Refusal::Broken(io::ErrorKind::TimedOut.into())))
}

/// Takes the viewer through its handshake up to ServerInit, each message in a frame of its own. What the
/// viewer sent beyond it is written to the target; what the target sent beyond it is returned.
pub(super) async fn viewer<V, T>(
    viewer: &mut Channel<V>,
    target: &mut T,
    (outcome, early): (Outcome, Vec<u8>),
) -> Result<Vec<u8>, End>
where
    V: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let limit = if matches!(outcome, Outcome::PassThrough(_)) { PASSWORD } else { VIEWER };
    let greet = async {
        let mut handshake = Handshake::new(outcome);
        let (mut from_viewer, mut from_target) = (Vec::new(), early);
        let mut buffer = [0; READ];
        loop {
            let fed = advance(&mut handshake, &mut from_viewer, &mut from_target);
            while let Some(message) = handshake.to_target() {
                target.write_all(&message).await.map_err(|e| End::TargetFailed(e.kind()))?;
            }
            // Also when it failed: the reason, in RFB's own form, is among the messages.
            while let Some(message) = handshake.to_viewer() {
                viewer.send(&message).await?;
            }
            fed.map_err(End::Handshake)?;
            if handshake.done() {
                target.write_all(&from_viewer).await.map_err(|e| End::TargetFailed(e.kind()))?;
                return Ok(from_target);
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
