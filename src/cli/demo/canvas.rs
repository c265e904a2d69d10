//! The demo's VNC console: our own painting RFB server, one for each connection.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::rfb::CanvasServer;

use super::{BUFFER, write};

const TITLE: &str = "consolegate demo: a VNC console";
/// How often the clock on the screen moves.
const TICK: Duration = Duration::from_secs(1);

/// Serves one viewer until it leaves.
pub(super) async fn serve(mut stream: UnixStream) -> anyhow::Result<()> {
    let mut server = CanvasServer::demo(TITLE);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut buffer = vec![0; BUFFER];
    loop {
        while let Some(chunk) = server.output() {
            write(&mut stream, &chunk).await?;
        }
        // Both arms may be dropped half-way: a read that has not returned has taken nothing.
        tokio::select! {
            read = stream.read(&mut buffer) => {
                let n = read?;
                if n == 0 {
                    return Ok(());
                }
                let fed = server.feed(&buffer[..n]);
                // The owner of this screen needs no events; they are not left to pile up.
                while server.poll_event().is_some() {}
                if let Err(error) = fed {
                    while let Some(chunk) = server.output() {
                        write(&mut stream, &chunk).await?;
                    }
                    return Err(error.into());
                }
            }
            _ = ticks.tick() => server.set_status(&clock(SystemTime::now())),
        }
    }
}

/// The time of day, as shown.
fn clock(now: SystemTime) -> String {
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) % 86_400;
    format!("{:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_the_time_of_day() {
        let at = |seconds| clock(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "00:00:00 UTC");
        assert_eq!(at(86_400 * 20_000 + 45_296), "12:34:56 UTC");
    }
}
