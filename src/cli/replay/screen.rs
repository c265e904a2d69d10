//! A recorded screen for VNC viewers of any kind, on a port of this machine. Each viewer has a replay of its own, and
//! steers it by its keyboard.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::cli::print;
use crate::rfb::{Event, Screen, Viewing, fbs};

use super::clockwork::{Clockwork, Cut, Key};
use super::{Pace, Records, journal};

/// Viewers at once; each holds a whole screen.
const MAX_VIEWERS: usize = 16;

pub(super) async fn serve(path: &Path, pace: Pace, listen: SocketAddr) -> anyhow::Result<()> {
    // What cannot be played at all is told at once.
    Playback::open(path, pace, Instant::now())?;
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    print::line(format_args!(
        "Open vnc://{address} in a VNC viewer (vncviewer {}::{}). Its keys steer the replay: space stands still and goes \
         on, left and right go 10 s back and forth, + and - change the speed, Home begins anew. Ctrl-C ends it.",
        address.ip(),
        address.port()
    ));
    let viewers = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_VIEWERS));
    loop {
        let permit = std::sync::Arc::clone(&viewers).acquire_owned().await?;
        let (socket, _) = listener.accept().await?;
        let path = PathBuf::from(path);
        tokio::spawn(async move {
            if let Err(error) = show(socket, &path, pace).await {
                print::note(format_args!("A viewer's replay ended: {}", print::causes(&error)));
            }
            drop(permit);
        });
    }
}

/// One viewer's replay.
struct Playback {
    path: PathBuf,
    records: Records,
    /// The next record, when it is due, and where in the file it began.
    next: Option<(fbs::Record, Duration, u64)>,
    cut: Cut,
    idle_limit: Option<Duration>,
    /// Changes of the pixel format that are still to come, the next one last.
    formats: Vec<(u64, [u8; 16])>,
    screen: Screen,
    clock: Clockwork,
    end: Duration,
}

impl Playback {
    fn open(path: &Path, pace: Pace, now: Instant) -> anyhow::Result<Self> {
        let mut playback = Self {
            path: path.to_owned(),
            records: Records::open(path)?,
            next: None,
            cut: Cut::new(pace.idle_limit),
            idle_limit: pace.idle_limit,
            formats: Vec::new(),
            screen: Screen::default(),
            clock: Clockwork::new(pace.from, pace.speed, now),
            end: Duration::MAX,
        };
        playback.rewind()?;
        Ok(playback)
    }

    /// From the beginning: what was compressed can be read in order only.
    fn rewind(&mut self) -> anyhow::Result<()> {
        self.records = Records::open(&self.path)?;
        self.cut = Cut::new(self.idle_limit);
        self.formats = journal(&self.path).pixel_formats().collect();
        self.formats.reverse();
        self.screen = Screen::default();
        self.advance()?;
        // A blank screen is there from the beginning on.
        self.load()
    }

    fn advance(&mut self) -> anyhow::Result<()> {
        let offset = self.records.offset();
        let record = self.records.next()?;
        // The magic is before the first record, not in it.
        let offset = offset.max(fbs::MAGIC.len() as u64);
        self.next = record.map(|record| {
            let due = self.cut.place(Duration::from_millis(record.millis.into()));
            (record, due, offset)
        });
        if self.next.is_none() {
            self.end = self.cut.place(Duration::ZERO);
        }
        Ok(())
    }

    /// Shows all that is due; when to look again.
    fn play(&mut self, now: Instant) -> anyhow::Result<Option<Instant>> {
        let at = self.clock.at(now);
        while let Some((record, due, offset)) = &self.next {
            if *due > at {
                return Ok(self.clock.when(*due, now));
            }
            while let Some((_, format)) = self.formats.pop_if(|(from, _)| *from <= *offset) {
                self.screen.set_format(format);
            }
            self.screen.feed(&record.data)?;
            self.advance()?;
        }
        Ok(None)
    }

    /// Shows the first picture: whether it can be shown.
    fn load(&mut self) -> anyhow::Result<()> {
        while self.screen.size().is_none() {
            let Some((record, ..)) = &self.next else { anyhow::bail!("ends before it shows anything") };
            self.screen.feed(&record.data)?;
            self.advance()?;
        }
        Ok(())
    }

    fn press(&mut self, key: Key, now: Instant) -> anyhow::Result<()> {
        let before = self.clock.at(now);
        self.clock.press(key, self.end, now);
        match self.clock.at(now) < before {
            true => self.rewind(),
            false => Ok(()),
        }
    }
}

async fn show(mut socket: TcpStream, path: &Path, pace: Pace) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut playback = Playback::open(path, pace, Instant::now())?;
    let mut viewing = Viewing::default();
    let mut buffer = [0; 4096];
    loop {
        let now = Instant::now();
        let next = playback.play(now)?;
        while let Some(message) = viewing.output(&mut playback.screen)? {
            socket.write_all(&message).await?;
        }
        // Cancel-safe: a sleep that is dropped is made anew; a read that loses has read nothing.
        tokio::select! {
            () = tokio::time::sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            read = socket.read(&mut buffer) => match read? {
                0 => return Ok(()),
                count => viewing.feed(&buffer[..count])?,
            },
        }
        while let Some(event) = viewing.event() {
            if let Some(key) = key(&event) {
                playback.press(key, Instant::now())?;
            }
        }
    }
}

/// What a key of the viewer asks for (keysyms of the X Window System).
fn key(event: &Event) -> Option<Key> {
    let Event::Key { down: true, keysym } = event else { return None };
    match keysym {
        0x20 => Some(Key::Pause),
        0xff51 => Some(Key::Back),
        0xff53 => Some(Key::Forward),
        0x2b | 0x3d | 0xff52 | 0xffab => Some(Key::Faster),
        0x2d | 0xff54 | 0xffad => Some(Key::Slower),
        0x30 | 0xff50 => Some(Key::Restart),
        _ => None,
    }
}
