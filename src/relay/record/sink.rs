//! A recording's files: what is queued becomes records of its format, appended whole.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::ids::Protocol;
use crate::rfb::{PixelFormats, fbs};
use crate::serial::cast;

use super::super::buffer::Block;
use super::create;
use super::journal::{About, Entry};
use super::keep::{Library, Part};
use super::tape::{Batch, Head, Way};

/// Bytes between two entries of the index at least, and milliseconds: half a thousand entries an hour or a gigabyte.
const INDEX_BYTES: u64 = 1 << 20;
const INDEX_MILLIS: u32 = 10_000;

/// A file that is only appended to, in whole records: of what does not fit, those are kept that do.
#[derive(Debug)]
struct Append {
    path: PathBuf,
    file: File,
    len: u64,
    /// How many of these bytes are whole records.
    whole: fn(&[u8]) -> usize,
}

impl Append {
    fn create(path: PathBuf, whole: fn(&[u8]) -> usize) -> io::Result<Self> {
        Ok(Self { file: create(&path)?, path, len: 0, whole })
    }

    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.append_all(vec![IoSlice::new(records)])
    }

    /// Appends records that are in several places, in one go.
    fn append_all(&mut self, records: Vec<IoSlice<'_>>) -> io::Result<()> {
        let done = write_all(&mut self.file, &mut records.clone());
        let written = match &done {
            Ok(()) => records.iter().map(|part| part.len()).sum(),
            Err(_) => self.take_back(&records.iter().map(|part| &part[..]).collect::<Vec<_>>().concat()),
        };
        self.len += written as u64;
        done
    }

    /// Cuts off what is half a record; how many bytes of `records` stay.
    fn take_back(&self, records: &[u8]) -> usize {
        let there = self.file.metadata().map_or(self.len, |metadata| metadata.len());
        let written = usize::try_from(there.saturating_sub(self.len)).unwrap_or(0);
        let whole = (self.whole)(&records[..written.min(records.len())]);
        // Half a record is readable, a whole one is better; if this fails too there is half a one.
        let _ = self.file.set_len(self.len + whole as u64);
        whole
    }
}

fn write_all(file: &mut File, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty ones in front would look like an end.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write_vectored(parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut parts, count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lines.
fn lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
}

/// What becomes of bytes.
#[derive(Debug)]
enum Format {
    Cast { encoder: cast::Encoder, input: bool },
    Fbs(Box<Screen>),
}

/// A VNC console's recording.
#[derive(Debug, Default)]
struct Screen {
    /// ServerInit until it is written, which is with the first bytes behind it: by then the viewer has said which
    /// pixels it wants.
    init: Option<Vec<u8>>,
    format: Option<[u8; 16]>,
    formats: PixelFormats,
    /// The last entry of the index: milliseconds, offset.
    indexed: (u32, u64),
    input: Option<Append>,
}

/// The open files of one recording.
#[derive(Debug)]
pub(super) struct Sink {
    about: About,
    data: Append,
    journal: Append,
    format: Format,
    /// Whether anything was recorded.
    empty: bool,
}

/// What is about to be appended to the data, the journal and the input. One for all sessions: they are many, and most
/// of them silent.
#[derive(Debug, Default)]
pub(super) struct Out {
    data: Vec<u8>,
    /// Where in `data` a block belongs, and how long it is: all of the batch's blocks, in their order, or none. They are
    /// written from where they are.
    splices: Vec<(usize, usize)>,
    journal: Vec<u8>,
    input: Vec<u8>,
}

/// Capacity kept between two turns: a full queue of plain text.
const KEPT: usize = 512 * 1024;

impl Out {
    fn clear(&mut self) {
        for buffer in [&mut self.data, &mut self.journal, &mut self.input] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
        self.splices.clear();
    }

    /// How much is about to be appended to the data.
    fn len(&self) -> u64 {
        let spliced: usize = self.splices.iter().map(|(_, len)| len).sum();
        (self.data.len() + spliced) as u64
    }

    /// The data with the blocks in their places.
    fn parts<'a>(&'a self, blocks: &'a [Block]) -> Vec<IoSlice<'a>> {
        let (mut parts, mut from) = (Vec::with_capacity(2 * blocks.len() + 1), 0);
        for ((at, _), block) in self.splices.iter().zip(blocks) {
            parts.extend([IoSlice::new(&self.data[from..*at]), IoSlice::new(block)]);
            from = *at;
        }
        parts.push(IoSlice::new(&self.data[from..]));
        parts
    }
}

impl Sink {
    /// Makes the files and writes their first lines.
    pub(super) fn begin(library: &Library, about: &About) -> io::Result<Self> {
        let path = |part| library.path(&about.stem(), part);
        let journal = Append::create(path(Part::Journal), lines)?;
        let mut made = Made(vec![journal.path.clone()]);
        let (part, whole, first): (_, fn(&[u8]) -> usize, _) = match about.protocol {
            Protocol::Vnc => (Part::Screen, fbs::whole, fbs::MAGIC.to_vec()),
            _ => (Part::Text, lines, about.cast_header().line().into_bytes()),
        };
        let data = Append::create(path(part), whole)?;
        made.0.push(data.path.clone());
        let format = match about.protocol {
            Protocol::Vnc => {
                let input = about.input.then(|| Append::create(path(Part::Input), fbs::whole)).transpose()?;
                made.0.extend(input.as_ref().map(|input| input.path.clone()));
                Format::Fbs(Box::new(Screen { input, ..Screen::default() }))
            }
            _ => Format::Cast { encoder: cast::Encoder::default(), input: about.input },
        };
        let mut sink = Self { about: about.clone(), data, journal, format, empty: true };
        sink.journal.append(Entry::Begun(Box::new(about.clone())).line().as_bytes())?;
        sink.data.append(&first)?;
        if let Format::Fbs(screen) = &mut sink.format
            && let Some(input) = &mut screen.input
        {
            input.append(fbs::MAGIC)?;
        }
        made.0.clear();
        Ok(sink)
    }

    pub(super) fn about(&self) -> &About {
        &self.about
    }

    /// Whether nothing was recorded.
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Appends what was queued.
    pub(super) fn write(&mut self, batch: &Batch, out: &mut Out) -> io::Result<()> {
        out.clear();
        for (head, piece) in batch.pieces() {
            self.empty = false;
            match &mut self.format {
                Format::Cast { encoder, input } => match head.way {
                    Way::Down => encoder.event(head.micros, cast::Code::Output, piece, &mut out.data),
                    Way::Up if *input => encoder.event(head.micros, cast::Code::Input, piece, &mut out.data),
                    Way::Up | Way::Init => {}
                },
                Format::Fbs(screen) => screen.put(head, piece, self.data.len, out),
            }
        }
        self.flush(out, &batch.blocks)
    }

    fn flush(&mut self, out: &Out, blocks: &[Block]) -> io::Result<()> {
        // The journal first: what it says of a place is never missing once the place is there.
        if !out.journal.is_empty() {
            self.journal.append(&out.journal)?;
        }
        if !out.data.is_empty() {
            self.data.append_all(out.parts(blocks))?;
        }
        if let Format::Fbs(screen) = &mut self.format
            && let Some(input) = &mut screen.input
            && !out.input.is_empty()
        {
            input.append(&out.input)?;
        }
        Ok(())
    }

    /// Writes what is held back, and how it ended; the size of the data in bytes.
    pub(super) fn finish(&mut self, micros: u64, now: SystemTime, cause: &'static str) -> io::Result<u64> {
        let mut out = Out::default();
        match &mut self.format {
            Format::Cast { encoder, .. } => encoder.finish(micros, &mut out.data),
            Format::Fbs(screen) => screen.handshake(&mut out.data),
        }
        let flushed = self.flush(&out, &[]);
        let ended =
            Entry::Ended { at: now, cause: cause.to_owned(), millis: micros / 1000, bytes: self.data.len };
        let told = self.journal.append(ended.line().as_bytes());
        flushed.and(told).map(|()| self.data.len)
    }

    /// Removes the files: there was no session.
    pub(super) fn remove(self) {
        let Self { data, journal, format, .. } = self;
        let input = match format {
            Format::Fbs(screen) => screen.input,
            Format::Cast { .. } => None,
        };
        drop(Made([data, journal].into_iter().chain(input).map(|file| file.path).collect()));
    }
}

impl Screen {
    fn put(&mut self, head: Head, piece: &[u8], written: u64, out: &mut Out) {
        let millis = millis(head.micros);
        match head.way {
            Way::Init => {
                self.format = piece.get(4..20).and_then(|format| format.try_into().ok());
                self.init = Some(piece.to_vec());
            }
            Way::Up => {
                if let Some(format) = self.formats.feed(piece)
                    && self.format != Some(format)
                {
                    self.format = Some(format);
                    if self.init.is_none() {
                        let offset = written + out.len();
                        out.journal.extend(Entry::PixelFormat { millis, offset, format }.line().bytes());
                    }
                }
                if self.input.is_some() {
                    fbs::record(millis, piece, &mut out.input);
                }
            }
            Way::Down => {
                self.handshake(&mut out.data);
                let offset = written + out.len();
                let (then, there) = self.indexed;
                if millis.saturating_sub(then) >= INDEX_MILLIS || offset - there >= INDEX_BYTES {
                    self.indexed = (millis, offset);
                    out.journal.extend(Entry::Index { millis, offset }.line().bytes());
                }
                fbs::begin(piece.len(), &mut out.data);
                if head.shared {
                    out.splices.push((out.data.len(), piece.len()));
                } else {
                    out.data.extend_from_slice(piece);
                }
                fbs::end(millis, piece.len(), &mut out.data);
            }
        }
    }

    /// A recording begins with a screen, if a blank one.
    fn handshake(&mut self, data: &mut Vec<u8>) {
        if let (Some(init), Some(format)) = (self.init.take(), self.format) {
            fbs::record(0, &fbs::handshake(&init, format), data);
        }
    }
}

/// As FBS has them: 49 days fit.
fn millis(micros: u64) -> u32 {
    u32::try_from(micros / 1000).unwrap_or(u32::MAX)
}

/// Files that are removed again unless all goes well.
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "an empty recording stays");
            }
        }
    }
}
