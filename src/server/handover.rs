//! A hot restart: the program as it is on disk now takes the listeners, the tokens and the files of this process,
//! whose sessions live on in it.
//!
//! ```text
//! old                                       new
//!  | spawn, with the listeners ------------> | reads its configuration, builds what is not the old one's
//!  | <------------------------------- Ready  |
//!  | accepts no more; who connects waits in the listeners' queues
//!  | leaves audit log and database           |
//!  | takes every token out; calls wait       |
//!  | State, tokens ------------------------> | opens audit log and database, takes the tokens in
//!  | <----------------------------- Started  | only now accepts
//!  | Calls of its sessions ----------------> | answers
//!  | lists, ends and breaks them <---------- | asks, as long as they live
//! ```
//!
//! If the new process ends or is silent before `Started`, it is killed, and the old one goes on with all it had. No
//! token is ever answered for by both: the old one has no token from before `State` on, the new one none before
//! it has written `Started`, and what was taken out goes back in only when the new one is dead without having
//! written that.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::fleet::{Question, Reply, Roster, Wish};
use crate::log;
use crate::net::inherit;
use crate::tokens::{Answer, Asked, Call, Packed, Store, StoreError, perform};

/// How long the new process may take to read its configuration and reach what it needs. Nobody waits meanwhile.
const READY: Duration = Duration::from_secs(60);

/// How long it may take to open its files and take the tokens in. Who connects meanwhile waits.
const STARTED: Duration = Duration::from_secs(30);

/// Replies on their way to the new process; it asks one thing at a time and operator.
const REPLIES: usize = 16;

/// Why a process before this one left nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// The connection to it.
    #[error("the process before this one: {0}")]
    Connection(#[from] io::Error),
    /// It said something else.
    #[error("the process before this one says what this version does not know: {0}")]
    Strange(#[from] serde_json::Error),
}

/// Why this process goes on as before.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stays {
    /// It could not be begun.
    #[error("the new process was not started: {0}")]
    Spawn(io::Error),
    /// It ended.
    #[error("the new process ended ({0}); it has said why")]
    Ended(ExitStatus),
    /// It did not get ready.
    #[error("the new process was not ready within {0:?}")]
    Late(Duration),
    /// The connection to it.
    #[error("the new process: {0}")]
    Connection(#[from] io::Error),
}

#[derive(Debug, Serialize, Deserialize)]
enum ToNew {
    /// When it was taken out, by the machine's monotonic clock, and how many tokens follow, one a line.
    State(Duration, usize),
    /// What one of the old sessions asks the store.
    Call(u64, Call),
    /// To a question about its sessions.
    Reply(u64, Result<Reply, StoreError>),
}

#[derive(Debug, Serialize, Deserialize)]
enum ToOld {
    Ready,
    Started,
    Answer(u64, Result<Answer, StoreError>),
    /// About the old sessions; without a number no reply is wanted.
    Ask(Option<u64>, Question),
}

fn line<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Time since the machine was started, the same in every process.
fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The new process, as the old one sees it.
pub(super) struct New {
    child: Child,
    lines: Lines<tokio::io::BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl New {
    /// Starts the program with this process' arguments and these listeners, and waits until it is ready.
    pub(super) async fn start(listeners: Vec<(&'static str, TcpListener)>) -> Result<Self, Stays> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = spawn(listeners, theirs).map_err(Stays::Spawn)?;
        let (reader, writer) = tokio::net::UnixStream::from_std(ours)?.into_split();
        let mut new = Self { child, lines: tokio::io::BufReader::new(reader).lines(), writer };
        match new.expect(READY, |said| matches!(said, ToOld::Ready)).await {
            Ok(()) => Ok(new),
            Err(why) => Err(new.kill(why).await),
        }
    }

    /// Its process id.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends everything and waits until it has taken over.
    ///
    /// # Errors
    /// When it has not and never will: it is dead.
    pub(super) async fn take_over(mut self, packed: &[Packed]) -> Result<Self, Stays> {
        let done = match timeout(STARTED, self.send(packed)).await {
            Ok(Ok(())) => self.expect(STARTED, |said| matches!(said, ToOld::Started)).await,
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Stays::Late(STARTED)),
        };
        let Err(why) = done else { return Ok(self) };
        let why = self.kill(why).await;
        // What it wrote before its end: it may have accepted already.
        while let Ok(Some(said)) = self.lines.next_line().await {
            if matches!(serde_json::from_str(&said), Ok(ToOld::Started)) {
                return Ok(self);
            }
        }
        Err(why)
    }

    async fn send(&mut self, packed: &[Packed]) -> io::Result<()> {
        let mut writer = tokio::io::BufWriter::new(&mut self.writer);
        writer.write_all(&line(&ToNew::State(monotonic(), packed.len()))?).await?;
        for token in packed {
            writer.write_all(&line(token)?).await?;
        }
        writer.flush().await
    }

    async fn expect(&mut self, patience: Duration, fits: fn(&ToOld) -> bool) -> Result<(), Stays> {
        match timeout(patience, self.lines.next_line()).await {
            Ok(Ok(Some(said))) => match serde_json::from_str(&said) {
                Ok(said) if fits(&said) => Ok(()),
                _ => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
            },
            Ok(Ok(None)) => Err(Stays::Connection(io::ErrorKind::UnexpectedEof.into())),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Stays::Late(patience)),
        }
    }

    /// Sees to it that it is dead, and says why if it says so itself.
    async fn kill(&mut self, why: Stays) -> Stays {
        if let Stays::Connection(_) = why
            && let Ok(Ok(status)) = timeout(Duration::from_secs(5), self.child.wait()).await
        {
            // Its end of the connection goes a little before itself.
            return Stays::Ended(status);
        }
        let _ = self.child.kill().await;
        why
    }

    /// Asks it what this process' sessions ask their store, and answers what it asks about them; to the end of either.
    pub(super) async fn serve(self, mut asked: mpsc::Receiver<Asked>, roster: Roster) {
        let Self { child: _child, mut lines, mut writer } = self;
        let waiting = Mutex::new(HashMap::new());
        let lock = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (reply, mut replies) = mpsc::channel(REPLIES);
        // Side by side: two processes that write, and read only then, could wait for each other.
        let write = async {
            for next in 0.. {
                // Both are cancel-safe.
                let message = tokio::select! {
                    call = asked.recv() => {
                        let Some((call, answer)) = call else { return };
                        lock().insert(next, answer);
                        ToNew::Call(next, call)
                    }
                    Some(reply) = replies.recv() => reply,
                };
                let Ok(message) = line(&message) else { continue };
                if writer.write_all(&message).await.is_err() {
                    return;
                }
            }
        };
        let read = async {
            while let Ok(Some(said)) = lines.next_line().await {
                match serde_json::from_str(&said) {
                    Ok(ToOld::Answer(id, answer)) => {
                        // Who asked may have stopped waiting.
                        let asker = lock().remove(&id);
                        asker.map(|asker| asker.send(answer));
                    }
                    Ok(ToOld::Ask(id, question)) => {
                        let (roster, reply) = (roster.clone(), reply.clone());
                        tokio::spawn(async move {
                            let answer = roster.answer(question).await;
                            if let Some(id) = id {
                                let _ = reply.send(ToNew::Reply(id, answer)).await;
                            }
                        });
                    }
                    _ => {}
                }
            }
        };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    }
}

fn spawn(listeners: Vec<(&'static str, TcpListener)>, control: UnixStream) -> io::Result<Child> {
    // Its lines go where ours go, and begin after what was said so far.
    log::flush();
    let mut command = std::process::Command::new(program()?);
    command.args(std::env::args_os().skip(1)).env_remove("LISTEN_PID").env_remove("LISTEN_FDS_FIRST_FD");
    let mut names: Vec<String> = listeners.iter().map(|(role, _)| inherit::name(role)).collect();
    names.push(inherit::CONTROL.to_owned());
    let fds = listeners.into_iter().map(|(_, listener)| OwnedFd::from(listener));
    let mappings = (3..).zip(fds.chain([OwnedFd::from(control)]));
    let mappings: Vec<_> = mappings.map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
    command.env("LISTEN_FDS", mappings.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    tokio::process::Command::from(command).spawn()
}

/// The program's file as it is now: after an update the running one's name is marked.
fn program() -> io::Result<OsString> {
    let mut path = std::env::current_exe()?.into_os_string().into_vec();
    let gone = b" (deleted)";
    if path.ends_with(gone) && !std::path::Path::new(std::ffi::OsStr::from_bytes(&path)).exists() {
        path.truncate(path.len() - gone.len());
    }
    Ok(OsString::from_vec(path))
}

/// The process before this one, as the new one sees it.
pub(super) struct Old {
    stream: BufReader<UnixStream>,
}

/// What it left.
pub(super) struct Estate {
    pub(super) packed: Vec<Packed>,
    /// How long ago it was taken out.
    pub(super) ago: Duration,
}

impl Old {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Says that everything is ready but for what the old process has, and takes that. Blocks.
    pub(super) fn receive(&mut self) -> Result<Estate, HandOverError> {
        self.say(&ToOld::Ready)?;
        let (taken, count) = match self.hear()? {
            ToNew::State(taken, count) => (taken, count),
            ToNew::Call(..) | ToNew::Reply(..) => {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            }
        };
        // A number from the wire: what does not come is not waited for.
        let mut packed = Vec::new();
        for _ in 0..count {
            packed.push(self.hear()?);
        }
        Ok(Estate { packed, ago: monotonic().saturating_sub(taken) })
    }

    /// From here on this process answers for the tokens, and may accept.
    pub(super) fn started(&mut self) -> Result<(), HandOverError> {
        Ok(self.say(&ToOld::Started)?)
    }

    fn say(&mut self, message: &ToOld) -> io::Result<()> {
        self.stream.get_mut().write_all(&line(message)?)
    }

    fn hear<T: for<'a> Deserialize<'a>>(&mut self) -> Result<T, HandOverError> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Answers what the old sessions ask, and asks about them, until the old process has ended.
    pub(super) async fn serve(
        self,
        store: Arc<dyn Store>,
        mut wishes: mpsc::Receiver<Wish>,
    ) -> io::Result<()> {
        // It says nothing between `Started` and its first call that could be in the buffer.
        let stream = self.stream.into_inner();
        stream.set_nonblocking(true)?;
        let (reader, mut writer) = tokio::net::UnixStream::from_std(stream)?.into_split();
        let mut lines = tokio::io::BufReader::new(reader).lines();
        let mut waiting = HashMap::new();
        let mut next: u64 = 0;
        loop {
            // Both are cancel-safe.
            let message = tokio::select! {
                said = lines.next_line() => match said? {
                    None => return Ok(()),
                    Some(said) => match serde_json::from_str(&said)? {
                        ToNew::Call(id, call) => ToOld::Answer(id, perform(&*store, call).await),
                        ToNew::Reply(id, reply) => {
                            waiting.remove(&id).map(|asker: oneshot::Sender<_>| asker.send(reply));
                            continue;
                        }
                        ToNew::State(..) => continue,
                    },
                },
                Some((question, answer)) = wishes.recv() => {
                    // Who has stopped waiting is not waited for.
                    waiting.retain(|_, asker| !asker.is_closed());
                    let id = answer.map(|asker| {
                        next += 1;
                        waiting.insert(next, asker);
                        next
                    });
                    ToOld::Ask(id, question)
                }
            };
            writer.write_all(&line(&message)?).await?;
        }
    }
}
