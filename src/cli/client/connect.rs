//! `consolegate connect`: a serial console in the terminal, or for a script.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use tokio::time::sleep;

use crate::cli::print;
use crate::ids::Protocol;

use super::backoff::Backoff;
use super::escape::{Escape, EscapeKey};
use super::exit;
use super::session::{End, Place, Session};
use super::socket::{Opened, Opener};
use super::streams::{Input, Output};
use super::terminal::Raw;
use super::{Source, Where};

/// Open a serial console in this terminal.
///
/// What you type goes to the console, but for Ctrl-]: Ctrl-] . leaves, Ctrl-] ? lists the other keys. Where the server
/// of a link from --server is lost, a new link is asked for; a link given as URL opens one session, and again only
/// where the proxy lets a lost session be resumed.
///
/// Without a terminal, standard input is typed as it is and the output is printed as it is:
///
///   printf 'uname -a\n' | consolegate connect --server bm1 --until '# '
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(in crate::cli) struct Connect {
    #[command(flatten)]
    place: Where,
    /// The key before this program's own letters: ^] or any other ^ and letter; one character such as ~, which counts
    /// at the beginning of a line; or none. Where keys do not come from a terminal, none is the default.
    #[arg(long, value_name = "KEY")]
    escape: Option<EscapeKey>,
    /// Append what the console says to this file, as it comes; made for its owner only.
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Leave once the console has said this text.
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// After the end of standard input, leave when the console has been silent for so long.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    linger: Duration,
    /// For how long a lost session is tried again; 0s is not at all.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    reconnect: Duration,
}

/// What a row of sessions has in common.
struct Connection {
    door: Door,
    session: Session,
    reconnect: Duration,
}

/// What opens sessions.
struct Door {
    source: Source,
    opener: Opener,
    /// What lets the same link open the session again.
    resume: Option<SecretString>,
}

pub(in crate::cli) async fn run(arguments: Connect) -> anyhow::Result<ExitCode> {
    match connect(arguments).await {
        Ok(code) => Ok(code),
        Err(error) => {
            print::error(&error);
            Ok(exit::code_of(&error))
        }
    }
}

async fn connect(arguments: Connect) -> anyhow::Result<ExitCode> {
    let source = arguments.place.source(Protocol::Serial)?;
    if let Source::Link(link) = &source
        && link.protocol == Some(Protocol::Vnc)
    {
        bail!("{link}: this link leads to a VNC console, which no terminal shows; use `consolegate tunnel`");
    }
    let opener = arguments.place.opener()?;
    let mut input = Input::start(arguments.place.is_stdin()).context("standard input")?;
    let output = Output::start(arguments.log_file.as_deref())?;
    let interactive = input.tty.is_some();
    let key =
        arguments.escape.unwrap_or(if interactive { EscapeKey::Control(0x1d) } else { EscapeKey::None });
    let tty = input.tty.take();
    let session = Session::new(input, output, Escape::new(key), arguments.until, arguments.linger)?;
    let door = Door { source, opener, resume: None };
    let mut connection = Connection { door, session, reconnect: arguments.reconnect };
    // The first connection is made before the terminal is touched: what goes wrong is said as usual.
    let first = match connection.session.during(connection.door.open(None)).await? {
        Ok(opened) => opened?,
        Err(end) => return connection.finish(Ok(end)).await,
    };
    if let Some(tty) = tty {
        connection.session.terminal = Some(Raw::enter(tty).context("the terminal")?);
        // The terminal is raw: a line does not begin at its beginning by itself.
        let (at, key) = (first.1, key.name());
        print::note(format_args!("Connected to {at}. {key} . leaves, {key} ? helps.\r"));
    }
    let end = connection.keep(first.0).await;
    connection.finish(end).await
}

impl Door {
    /// Opens the next session; with its place, for people.
    async fn open(&mut self, place: Option<&Place>) -> anyhow::Result<(Opened, String)> {
        let link = self.source.next().await?;
        let offset = place.map(|place| ("offset", place.offset.to_string()));
        let line = place.and_then(|place| place.line.clone()).map(|line| ("line", line));
        let url = link.reveal_with(offset.into_iter().chain(line));
        let opened = self.opener.open(&link, &url, true, self.resume.as_ref()).await?;
        if opened.resume.is_some() && !self.source.gives_new_ones() {
            self.resume = opened.resume.clone();
        }
        Ok((opened, link.to_string()))
    }

    /// Whether there may be another session after this one.
    fn reopens(&self) -> bool {
        self.source.gives_new_ones() || self.resume.is_some()
    }
}

impl Connection {
    /// Runs sessions until one is the last.
    async fn keep(&mut self, first: Opened) -> anyhow::Result<End> {
        let mut next = first;
        loop {
            self.session.may_reconnect = self.door.reopens();
            let end = self.session.run(next).await?;
            let wanted = match &end {
                End::Again => true,
                End::Closed(closed) => closed.passes(),
                _ => false,
            };
            if !wanted || !self.session.may_reconnect {
                return Ok(end);
            }
            if let End::Closed(closed) = &end {
                self.session.note(&closed.prose());
            }
            match self.again(end).await? {
                Ok(opened) => next = opened,
                Err(end) => return Ok(end),
            }
        }
    }

    /// Tries until there is a session again, the user leaves, or the time is up.
    async fn again(&mut self, lost: End) -> anyhow::Result<Result<Opened, End>> {
        let mut backoff = Backoff::new(self.reconnect);
        loop {
            let Some(wait) = backoff.wait() else { return Ok(Err(lost)) };
            let place = self.session.place().cloned();
            let attempt = async {
                sleep(wait).await;
                self.door.open(place.as_ref()).await
            };
            let opened = match self.session.during(attempt).await? {
                Ok(opened) => opened,
                Err(end) => return Ok(Err(end)),
            };
            match opened {
                Ok((opened, at)) => {
                    self.session.note(&format!("connected to {at} again"));
                    return Ok(Ok(opened));
                }
                Err(error) if exit::may_pass(&error) => self.session.note(&format!("{error:#}")),
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts the terminal back, then says how it ended.
    async fn finish(mut self, end: anyhow::Result<End>) -> anyhow::Result<ExitCode> {
        let interactive = self.session.terminal.is_some();
        drop(self.session.terminal.take());
        let code = match &end {
            Ok(End::Signal(number)) => 128 + number,
            Ok(End::Closed(closed)) => {
                if interactive || closed.exit() != exit::DONE {
                    print::note(format_args!("\n{}", closed.prose()));
                }
                closed.exit()
            }
            Ok(_) => {
                if interactive {
                    print::note("\nleft the console");
                }
                exit::DONE
            }
            Err(_) => exit::DONE,
        };
        // A signal does not wait for whoever reads our output.
        if !matches!(end, Ok(End::Signal(_))) {
            self.session.into_output().finish().await?;
        }
        end.map(|_| ExitCode::from(code))
    }
}
