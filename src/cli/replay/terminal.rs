//! A recorded serial line in this terminal. Where keys can be pressed, they steer it.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::termios::{self, OptionalActions, QueueSelector, Termios};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::serial::cast::Code;

use super::clockwork::{Clockwork, Cut, Key};
use super::{Cast, Pace};

/// The most that is kept in memory of a recording, to go back in it: what people look at is far below.
const MAX_OUTPUT: usize = 1 << 30;

/// Clears the terminal and all its modes (RIS), before going back.
const RESET: &[u8] = b"\x1bc";

/// A recording as it is played: what the line said, with the time each part of it comes.
struct Script {
    output: Vec<u8>,
    /// When, and up to where in `output`.
    events: Vec<(Duration, usize)>,
}

pub(super) async fn play(path: &Path, pace: Pace) -> anyhow::Result<()> {
    let script = read(path, pace.idle_limit)?;
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let raw = interactive.then(Raw::set).transpose()?;
    let mut keys = if raw.is_some() { Some(listen()) } else { None };
    let end = script.events.last().map_or(Duration::ZERO, |event| event.0);
    let mut clock = Clockwork::new(pace.from, pace.speed, Instant::now());
    let (mut played, mut written) = (0, 0);
    loop {
        let now = Instant::now();
        let due = script.events.partition_point(|event| event.0 <= clock.at(now));
        if due < played {
            write(RESET)?;
            written = 0;
        }
        let upto = due.checked_sub(1).map_or(0, |last| script.events[last].1);
        write(&script.output[written..upto])?;
        (played, written) = (due, upto);
        let next = match script.events.get(played) {
            Some(event) => clock.when(event.0, now),
            None if keys.is_none() => return Ok(()),
            // Somebody may want to go back.
            None if script.events.is_empty() => return Ok(()),
            None => None,
        };
        // Cancel-safe: a sleep that is dropped is made anew, a key stays in its channel.
        tokio::select! {
            () = tokio::time::sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            key = pressed(&mut keys) => match key {
                None | Some(Key::Quit) => return Ok(()),
                Some(key) => clock.press(key, end, Instant::now()),
            },
        }
    }
}

async fn pressed(keys: &mut Option<mpsc::Receiver<Key>>) -> Option<Key> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}

fn read(path: &Path, idle_limit: Option<Duration>) -> anyhow::Result<Script> {
    let mut cast = Cast::open(path)?;
    let mut cut = Cut::new(idle_limit);
    let mut script = Script { output: Vec::new(), events: Vec::new() };
    while let Some(event) = cast.next()? {
        if event.code != Code::Output {
            continue;
        }
        script.output.extend_from_slice(&event.bytes);
        let place = cut.place(Duration::from_micros(event.micros));
        script.events.push((place, script.output.len()));
        anyhow::ensure!(script.output.len() <= MAX_OUTPUT, "is longer than 1 GiB");
    }
    Ok(script)
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// The terminal hands over each key as it is pressed, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn set() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        // What is shown comes from a line that was read as it is now written.
        raw.output_modes = before.output_modes;
        termios::tcsetattr(std::io::stdin(), OptionalActions::Flush, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // What the terminal has answered to the recording's questions is for nobody's shell.
        let _ = termios::tcflush(std::io::stdin(), QueueSelector::IFlush);
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Reads keys on a thread of their own, which ends with the process: a read of a terminal cannot be taken back.
fn listen() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            if let Some(key) = key(&buffer[..count])
                && sender.blocking_send(key).is_err()
            {
                return;
            }
        }
    });
    receiver
}

/// The key of one read. Whatever else begins with an escape is a terminal's answer, and nobody's wish.
fn key(read: &[u8]) -> Option<Key> {
    match read {
        b" " | b"p" => Some(Key::Pause),
        b"\x1b[D" | b"\x1bOD" | b"h" => Some(Key::Back),
        b"\x1b[C" | b"\x1bOC" | b"l" => Some(Key::Forward),
        b"+" | b"\x1b[A" | b"\x1bOA" => Some(Key::Faster),
        b"-" | b"\x1b[B" | b"\x1bOB" => Some(Key::Slower),
        b"0" => Some(Key::Restart),
        b"q" | b"\x03" | b"\x04" => Some(Key::Quit),
        _ => None,
    }
}
