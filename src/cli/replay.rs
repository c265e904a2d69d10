//! `consolegate replay FILE`: a recorded serial line in this terminal, a recorded screen in any VNC viewer.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::relay::record::Journal;
use crate::rfb::{Screen, fbs};
use crate::serial::cast;

use super::print;

mod clockwork;
mod screen;
mod terminal;

/// Read of a file at a time.
const READ: usize = 64 * 1024;

/// Play a recording: a serial line in this terminal, a screen in a VNC viewer.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// The recording: asciicast v2 (.cast) or FBS (.fbs).
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many times faster.
    #[arg(long, default_value = "1", value_parser = speed)]
    speed: f64,
    /// Where to begin, such as 90s or 1h5m.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    from: Duration,
    /// Wait no longer than this where nothing happens.
    #[arg(long, value_parser = humantime::parse_duration)]
    idle_limit: Option<Duration>,
    /// Where VNC viewers connect to; loopback only.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Print what the recording is, as one JSON object, and do not play it.
    #[arg(long)]
    json: bool,
}

/// How a recording is played.
#[derive(Clone, Copy, Debug)]
struct Pace {
    speed: f64,
    from: Duration,
    idle_limit: Option<Duration>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (0.01..=1000.0).contains(speed));
    speed.ok_or_else(|| "expected a number from 0.01 to 1000".to_owned())
}

enum Kind {
    Cast,
    Fbs,
}

pub(super) async fn run(arguments: Replay) -> anyhow::Result<ExitCode> {
    let Replay { file, speed, from, idle_limit, listen, json } = arguments;
    if !listen.ip().is_loopback() {
        bail!("--listen {listen} is open to others, and a replay has no password; use a loopback address");
    }
    let pace = Pace { speed, from, idle_limit };
    let kind = kind(&file).with_context(|| file.display().to_string())?;
    let done = match (kind, json) {
        (Kind::Cast, true) => cast_info(&file).map(print::line),
        (Kind::Fbs, true) => fbs_info(&file).map(print::line),
        (Kind::Cast, false) => terminal::play(&file, pace).await,
        (Kind::Fbs, false) => screen::serve(&file, pace, listen).await,
    };
    done.with_context(|| file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// By its first bytes: a name may say anything.
fn kind(path: &Path) -> anyhow::Result<Kind> {
    let mut head = Vec::new();
    File::open(path)?.take(12).read_to_end(&mut head)?;
    match &head[..] {
        [b'{', ..] => Ok(Kind::Cast),
        _ if head.starts_with(b"FBS ") => Ok(Kind::Fbs),
        _ => bail!("is neither an asciicast nor an FBS recording"),
    }
}

/// The journal that the recorder left beside it, if it did.
fn journal(path: &Path) -> Journal {
    std::fs::read(path.with_extension("jsonl")).map(|text| Journal::parse(&text)).unwrap_or_default()
}

/// What the journal adds to what the data says.
fn told(journal: &Journal, mut info: Value) -> Value {
    if let Some(about) = journal.about() {
        info["recording"] = about.json();
    }
    if let Some((_, cause, _)) = journal.ended() {
        info["ended"] = cause.into();
    }
    info
}

/// A cast's header and events, one after the other.
struct Cast {
    header: cast::Header,
    lines: BufReader<File>,
    decoder: cast::Decoder,
    ended: bool,
    /// The last line was not whole: a crash or a full disk cut it off.
    torn: bool,
}

impl Cast {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut lines = BufReader::with_capacity(READ, File::open(path)?);
        let (line, _) = read_line(&mut lines)?;
        let header = cast::Header::parse(&line)?;
        Ok(Self { header, lines, decoder: cast::Decoder::default(), ended: false, torn: false })
    }

    fn next(&mut self) -> anyhow::Result<Option<cast::Event>> {
        while !self.ended {
            let (line, whole) = read_line(&mut self.lines)?;
            self.ended = !whole;
            match self.decoder.line(&line) {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(_) if !whole => self.torn = true,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.decoder.finish())
    }
}

/// A line without its end, and whether it had one.
fn read_line(from: &mut impl BufRead) -> anyhow::Result<(Vec<u8>, bool)> {
    let mut line = Vec::new();
    let most = u64::try_from(cast::MAX_LINE).unwrap_or(u64::MAX);
    from.take(most).read_until(b'\n', &mut line)?;
    let whole = line.pop_if(|byte| *byte == b'\n').is_some();
    if !whole && line.len() >= cast::MAX_LINE {
        bail!("has a line of more than {} bytes", cast::MAX_LINE);
    }
    Ok((line, whole))
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn cast_info(path: &Path) -> anyhow::Result<Value> {
    let mut cast = Cast::open(path)?;
    let (mut events, mut output, mut input, mut last) = (0u64, 0, 0, 0);
    while let Some(event) = cast.next()? {
        events += 1;
        last = event.micros;
        match event.code {
            cast::Code::Output => output += event.bytes.len(),
            cast::Code::Input => input += event.bytes.len(),
            cast::Code::Other => {}
        }
    }
    let cast::Header { width, height, timestamp, title } = &cast.header;
    let info = json!({
        "format": "asciicast-v2", "seconds": seconds(last), "events": events, "bytes_to_viewer": output,
        "bytes_to_target": input, "columns": width, "rows": height, "timestamp": timestamp, "title": title,
        "torn": cast.torn,
    });
    Ok(told(&journal(path), info))
}

fn fbs_info(path: &Path) -> anyhow::Result<Value> {
    let journal = journal(path);
    let mut screen = Screen::default();
    let mut first = Records::open(path)?;
    while screen.size().is_none() {
        let Some(record) = first.next()? else { break };
        // What of it cannot be shown does not matter here.
        if screen.feed(&record.data).is_err() {
            break;
        }
    }
    // The index leads to the last records without reading those before.
    let mut last = Records::open(path)?;
    if let Some((_, offset)) = journal.seek(u32::MAX) {
        last.skip_to(offset)?;
    }
    let mut millis = 0;
    while let Some(record) = last.next()? {
        millis = record.millis;
    }
    let bytes = std::fs::metadata(path)?.len();
    let size = screen.size().map(|(width, height)| json!({"width": width, "height": height}));
    let info = json!({
        "format": "fbs-001.001", "seconds": f64::from(millis) / 1e3, "bytes": bytes, "screen": size,
        "name": screen.name(), "torn": last.reader.leftover() > 0,
    });
    Ok(told(&journal, info))
}

/// The records of an FBS file, one after the other, and where each begins.
struct Records {
    file: File,
    reader: fbs::Reader,
    /// Bytes read from the file.
    read: u64,
}

impl Records {
    fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { file: File::open(path)?, reader: fbs::Reader::default(), read: 0 })
    }

    /// Where the next record begins.
    fn offset(&self) -> u64 {
        self.read - self.reader.leftover() as u64
    }

    /// Goes on with the record at `offset`, which the index has.
    fn skip_to(&mut self, offset: u64) -> anyhow::Result<()> {
        self.reader = fbs::Reader::default();
        self.reader.push(fbs::MAGIC);
        self.reader.next_record()?;
        self.read = self.file.seek(SeekFrom::Start(offset))?;
        Ok(())
    }

    fn next(&mut self) -> anyhow::Result<Option<fbs::Record>> {
        let mut buffer = [0; READ];
        loop {
            if let Some(record) = self.reader.next_record()? {
                return Ok(Some(record));
            }
            match self.file.read(&mut buffer)? {
                0 => return Ok(None),
                count => {
                    self.reader.push(&buffer[..count]);
                    self.read += count as u64;
                }
            }
        }
    }
}
