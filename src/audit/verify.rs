//! Checks files of an audit log, oldest first: every line as it was written, none missing, none added.
//!
//! What a chain cannot show is that its end was cut off, or that all from some line on was made anew: for
//! that, keep the last number and hash, which a check prints, in another place.

use std::io::{self, BufRead, Read as _};

use super::chain::{self, Chain, MAX_LINE, NOTHING, Read};

/// What was found in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Lines read.
    pub lines: u64,
    /// The first line's number.
    pub first: u64,
    /// The last line's number.
    pub last: u64,
    /// The last line's hash.
    pub hash: String,
    /// How often a process began to write, or a file was begun.
    pub begins: u64,
    /// Lines that found no room, by the log's own account.
    pub lost: u64,
    /// Lines that a crash or a full disk cut off.
    pub torn: u64,
}

/// Why a log cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// This line is the first that is not as it was written.
    #[error("file {}, line {line}: {broken}", file + 1)]
    Broken {
        /// Which of the files, from 0.
        file: usize,
        /// In this file, from 1.
        line: u64,
        /// What is wrong.
        broken: Broken,
    },
}

/// How a line shows that the log is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not of the form.
    #[error("this is not an audit line")]
    Form,
    /// Text without an end of line, and no line after it that accounts for it.
    #[error("this line breaks off")]
    Torn,
    /// Numbers are left out.
    #[error("number {found} follows number {before}: {} line(s) are missing here", found - before - 1)]
    Missing {
        /// The number before.
        before: u64,
        /// This line's.
        found: u64,
    },
    /// Numbers do not count up.
    #[error("number {found} follows number {before}: lines were moved, doubled or put in here")]
    Moved {
        /// The number before.
        before: u64,
        /// This line's.
        found: u64,
    },
    /// The hash is not this line's after the one before.
    #[error("number {0} was altered, or the line before it")]
    Altered(u64),
    /// A file begins, but not where the one before it ended.
    #[error("a log begins here that does not go on from the line before")]
    OtherLog,
    /// The first line is no beginning.
    #[error("the first line is not a file's beginning: lines before it are missing")]
    NoBegin,
}

/// A mistake, and where.
type Found = ((usize, u64), Broken);

/// What is no line, one or several; right if a `begin` comes next that knows of it.
#[derive(Debug)]
struct Torn {
    first: Found,
    lines: u64,
    bytes: u64,
    /// The end of line behind it, which the `begin` brought along.
    ended: bool,
}

/// Goes through files.
#[derive(Debug, Default)]
pub struct Verifier {
    chain: Option<Chain>,
    files: usize,
    torn: Option<Torn>,
    verified: Option<Verified>,
}

impl Verifier {
    /// Checks the next file.
    ///
    /// # Errors
    /// With the first line that is not as it was written.
    pub fn file(&mut self, mut file: impl BufRead) -> Result<(), VerifyError> {
        let mut text = Vec::new();
        let mut at = (self.files, 0);
        self.files += 1;
        loop {
            text.clear();
            let read = (&mut file).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(());
            }
            at.1 += 1;
            let checked = match text.strip_suffix(b"\n") {
                Some(line) => self.line(at, line),
                None if read > MAX_LINE => Err((at, Broken::Form)),
                None => {
                    self.tear(at, &text, Broken::Torn);
                    Ok(())
                }
            };
            checked.map_err(error)?;
        }
    }

    /// What was found, after the last file; `None` if there was no line at all.
    ///
    /// # Errors
    /// If the last line breaks off.
    pub fn finish(self) -> Result<Option<Verified>, VerifyError> {
        match self.torn {
            Some(torn) => Err(error(torn.first)),
            None => Ok(self.verified),
        }
    }

    fn line(&mut self, at: (usize, u64), text: &[u8]) -> Result<(), Found> {
        let Some((line, body)) = chain::parse(text) else {
            self.tear(at, text, Broken::Form);
            return Ok(());
        };
        let torn = self.torn.take();
        if let Some(torn) = &torn
            && line.torn != Some(torn.bytes - u64::from(torn.ended))
        {
            return Err(torn.first.clone());
        }
        let before = match &self.chain {
            Some(chain) => chain.clone(),
            None => first(&line).map_err(|broken| (at, broken))?,
        };
        check(&line, body, &before).map_err(|broken| (at, broken))?;
        self.chain = Some(Chain { seq: line.seq, hash: line.hash.clone() });
        self.count(&line, torn.map_or(0, |torn| torn.lines));
        Ok(())
    }

    fn tear(&mut self, at: (usize, u64), text: &[u8], broken: Broken) {
        let ended = broken == Broken::Form;
        let first = || Torn { first: (at, broken), lines: 0, bytes: 0, ended };
        let torn = self.torn.get_or_insert_with(first);
        torn.lines += 1;
        torn.bytes += text.len() as u64 + u64::from(ended);
        torn.ended = ended;
    }

    fn count(&mut self, line: &Read, torn: u64) {
        let verified = self.verified.get_or_insert_with(|| Verified {
            lines: 0,
            first: line.seq,
            last: 0,
            hash: String::new(),
            begins: 0,
            lost: 0,
            torn: 0,
        });
        verified.lines += 1;
        verified.last = line.seq;
        verified.hash.clone_from(&line.hash);
        verified.begins += u64::from(line.is_begin());
        verified.torn += torn;
        if line.event == "lost" {
            verified.lost += line.count.unwrap_or(0);
        }
    }
}

fn error(((file, line), broken): Found) -> VerifyError {
    VerifyError::Broken { file, line, broken }
}

/// Where the chain is before the first line there is.
fn first(line: &Read) -> Result<Chain, Broken> {
    match &line.prev {
        Some(prev) if line.is_begin() => Ok(Chain { seq: line.seq.saturating_sub(1), hash: prev.clone() }),
        _ => Err(Broken::NoBegin),
    }
}

fn check(line: &Read, body: &[u8], before: &Chain) -> Result<(), Broken> {
    let (before_seq, found) = (before.seq, line.seq);
    if line.is_begin() && line.prev.as_deref() == Some(NOTHING) && *before != Chain::default() {
        return Err(Broken::OtherLog);
    }
    if found > before_seq.saturating_add(1) {
        return Err(Broken::Missing { before: before_seq, found });
    }
    if found <= before_seq {
        return Err(Broken::Moved { before: before_seq, found });
    }
    let continues = !line.is_begin() || line.prev.as_ref() == Some(&before.hash);
    if !continues || line.hash != chain::hash(&before.hash, body) {
        return Err(Broken::Altered(found));
    }
    Ok(())
}
