//! One console in the terminal: keys up, output down, messages beside them, signals.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::cli::print;

use super::control::{self, Hello, Role, Told};
use super::escape::{Command, Escape, Typed};
use super::exit::Closed;
use super::outgoing::{Outgoing, goodbye};
use super::socket::Opened;
use super::streams::{Input, Output};
use super::terminal::{self, Raw};
use super::until::Until;

/// Typed bytes that wait for a console that takes none. A terminal's user hears a bell beyond it; a pipe waits.
const MAX_WAITING: usize = 64 * 1024;

/// The first bytes of an RFB server.
const RFB: &[u8] = b"RFB 003.";

/// Why there is no more to do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The user left, or a script had all it wanted.
    Left,
    /// The user wants a new connection.
    Again,
    Closed(Closed),
    Signal(u8),
}

/// How much of the console's output has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// Which output that is, in the proxy's own words.
    pub(super) line: Option<String>,
}

/// Keys, output and signals, which outlive connections.
pub(super) struct Session {
    input: Input,
    /// Whether there is more to type.
    typing: bool,
    output: Output,
    escape: Escape,
    signals: mpsc::Receiver<SignalKind>,
    pub(super) terminal: Option<Raw>,
    until: Option<Until>,
    linger: Duration,
    hello: Option<Hello>,
    role: Role,
    /// Whether the user knows that keys go nowhere.
    warned: bool,
    /// Whether a new connection can be had.
    pub(super) may_reconnect: bool,
    /// Of the next byte, where the proxy counts them.
    place: Option<Place>,
    received: u64,
}

impl Session {
    pub(super) fn new(
        input: Input,
        output: Output,
        escape: Escape,
        until: Option<String>,
        linger: Duration,
    ) -> io::Result<Self> {
        let signals = listen()?;
        let until = until.filter(|text| !text.is_empty()).map(|text| Until::new(text.into_bytes()));
        Ok(Self {
            input,
            typing: true,
            output,
            escape,
            signals,
            terminal: None,
            until,
            linger,
            hello: None,
            role: Role::Writer,
            warned: false,
            may_reconnect: false,
            place: None,
            received: 0,
        })
    }

    /// Where to go on, where the proxy counts.
    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    pub(super) fn into_output(self) -> Output {
        self.output
    }

    /// A line of our own between what the console says.
    pub(super) fn note(&self, text: &str) {
        if self.terminal.is_some() {
            // The terminal is raw: lines do not end by themselves.
            let text = text.replace('\n', "\r\n");
            print::note(format_args!("\r\n\x1b[0m-- {text}\r"));
        } else {
            print::note(format_args!("-- {text}"));
        }
    }

    /// Relays until something ends it.
    ///
    /// # Errors
    /// If this side's input or output fails.
    pub(super) async fn run(&mut self, opened: Opened) -> anyhow::Result<End> {
        let control = opened.control;
        (self.hello, self.role) = (None, Role::Writer);
        let (sink, mut stream) = opened.socket.split();
        let mut up = Outgoing::new(sink);
        let mut down: Option<Vec<u8>> = None;
        let mut heard = Instant::now();
        loop {
            let may_type = self.typing && (self.terminal.is_some() || up.waiting() < MAX_WAITING);
            let leaves = !self.typing && self.until.is_none() && down.is_none() && !up.is_dirty();
            // Each branch may be dropped half-way: nothing is taken that is not acted on.
            let end = tokio::select! {
                biased;
                number = self.signals.recv() => self.on_signal(number, &mut up)?,
                sent = up.send(), if up.is_dirty() => sent.err().map(|error| End::Closed(lost(&error))),
                permit = self.output.room(), if down.is_some() => match (permit, down.take()) {
                    (Some(permit), Some(bytes)) => {
                        permit.send(bytes);
                        None
                    }
                    _ => Some(End::Left),
                },
                message = stream.next(), if down.is_none() => {
                    heard = Instant::now();
                    self.on_message(message, control, (&mut up, &mut down))?
                },
                typed = self.input.next(), if may_type => {
                    heard = Instant::now();
                    self.on_typed(typed, control, &mut up)?
                },
                () = sleep_until(heard + self.linger), if leaves => Some(End::Left),
            };
            if self.until.as_ref().is_some_and(|until| until.found) && down.is_none() {
                return Ok(goodbye(up, End::Left).await);
            }
            match end {
                Some(end @ End::Closed(_)) => {
                    self.deliver(down).await;
                    // The answer to a goodbye, where there was one.
                    up.flush().await;
                    return Ok(end);
                }
                Some(end) => {
                    if end == End::Again {
                        // It was counted: what comes next goes on behind it.
                        self.deliver(down).await;
                    }
                    return Ok(goodbye(up, end).await);
                }
                None => {}
            }
        }
    }

    /// The last bytes, before the end is told.
    async fn deliver(&self, down: Option<Vec<u8>>) {
        if let (Some(bytes), Some(permit)) = (down, self.output.room().await) {
            permit.send(bytes);
        }
    }

    fn on_message(
        &mut self,
        message: Option<Result<Message, WsError>>,
        control: bool,
        (up, down): (&mut Outgoing, &mut Option<Vec<u8>>),
    ) -> anyhow::Result<Option<End>> {
        match message {
            None => return Ok(Some(End::Closed(Closed::lost("")))),
            Some(Err(error)) => return Ok(Some(End::Closed(lost(&error)))),
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                    (frame.code.into(), frame.reason.as_str().to_owned())
                });
                return Ok(Some(End::Closed(Closed { code: Some(code), reason })));
            }
            Some(Ok(Message::Text(text))) if control => self.on_told(&text, up),
            Some(Ok(Message::Text(text))) => self.on_bytes(text.as_bytes().to_vec(), down)?,
            Some(Ok(Message::Binary(bytes))) => self.on_bytes(bytes.to_vec(), down)?,
            // Pongs are the library's; it answers by itself.
            Some(Ok(_)) => {}
        }
        Ok(None)
    }

    fn on_bytes(&mut self, bytes: Vec<u8>, down: &mut Option<Vec<u8>>) -> anyhow::Result<()> {
        if self.received == 0 && bytes.starts_with(RFB) {
            anyhow::bail!(
                "a VNC console is at the other end, which no terminal shows; use `consolegate tunnel`"
            );
        }
        self.received += bytes.len() as u64;
        if let Some(place) = &mut self.place {
            place.offset += bytes.len() as u64;
        }
        if let Some(until) = &mut self.until {
            until.feed(&bytes);
        }
        if !bytes.is_empty() {
            *down = Some(bytes);
        }
        Ok(())
    }

    fn on_told(&mut self, text: &str, up: &mut Outgoing) {
        let Some(told) = Told::parse(text) else { return };
        if let Some(prose) = told.prose() {
            self.note(&prose);
        }
        match told {
            Told::Hello(hello) => {
                self.role = hello.role;
                self.place = hello.offset.map(|offset| Place { offset, line: hello.line.clone() });
                self.hello = Some(hello);
                self.send_size(up);
            }
            Told::Role { role, .. } => (self.role, self.warned) = (role, false),
            Told::Gap { bytes } => {
                if let Some(place) = &mut self.place {
                    place.offset += bytes;
                }
            }
            _ => {}
        }
    }

    fn on_typed(
        &mut self,
        typed: Option<io::Result<Vec<u8>>>,
        control: bool,
        up: &mut Outgoing,
    ) -> anyhow::Result<Option<End>> {
        let Some(typed) = typed.transpose()? else {
            self.typing = false;
            // A terminal that ends was hung up on.
            return Ok(self.terminal.is_some().then_some(End::Left));
        };
        for piece in self.escape.feed(&typed) {
            match piece {
                Typed::Text(_) if self.watches() => {
                    if !std::mem::replace(&mut self.warned, true) {
                        self.note("you are watching; the escape key and t takes the keyboard, a asks for it");
                    }
                }
                Typed::Text(text) if self.terminal.is_some() && up.waiting() + text.len() > MAX_WAITING => {
                    self.note("the console takes nothing; what you typed is lost\x07");
                }
                Typed::Text(text) => up.push(Message::Binary(text.into())),
                Typed::Command(command) => {
                    if let Some(end) = self.on_command(command, control, up)? {
                        return Ok(Some(end));
                    }
                }
            }
        }
        Ok(None)
    }

    fn on_command(
        &mut self,
        command: Command,
        control: bool,
        up: &mut Outgoing,
    ) -> anyhow::Result<Option<End>> {
        let hello = self.hello.clone().unwrap_or_default();
        match command {
            Command::Quit => return Ok(Some(End::Left)),
            Command::Reconnect if self.may_reconnect => return Ok(Some(End::Again)),
            Command::Reconnect => {
                self.note("this link opens one session; ask for a new one, or use --server")
            }
            Command::Help => self.note(&self.escape.key().help()),
            Command::Suspend => self.suspend()?,
            Command::Status => self.note(&self.status()),
            Command::Break if control && hello.takes_break => {
                up.push(Message::text(control::simple("break").to_string()));
                self.note("break sent");
            }
            Command::Break => self.note("a break cannot be sent here: this line, or its proxy, has none"),
            Command::Ask | Command::Take | Command::Give if !control => {
                self.note("this console is not shared: its proxy knows no keyboard to pass on");
            }
            Command::Ask => up.push(Message::text(control::simple("ask").to_string())),
            Command::Take => up.push(Message::text(control::simple("take").to_string())),
            Command::Give => up.push(Message::text(control::simple("give").to_string())),
        }
        Ok(None)
    }

    /// Whether what is typed goes nowhere.
    fn watches(&self) -> bool {
        self.role == Role::Watcher || self.hello.as_ref().is_some_and(|hello| hello.view_only)
    }

    fn status(&self) -> String {
        let role = if self.watches() { "you are watching" } else { "the keyboard is yours" };
        let (viewers, recorded) = self.hello.as_ref().map_or((1, false), |h| (h.viewers.max(1), h.recording));
        let recorded = if recorded { "; recorded" } else { "" };
        format!("{} bytes received; {role}; {viewers} here when you came{recorded}", self.received)
    }

    fn suspend(&mut self) -> io::Result<()> {
        match &mut self.terminal {
            Some(terminal) => terminal.suspend(),
            None => terminal::stop(),
        }
    }

    /// Tells the terminal's size, where the console's end is a terminal, too.
    fn send_size(&self, up: &mut Outgoing) {
        let wanted = self.hello.as_ref().is_some_and(|hello| hello.resize);
        if let Some(size) = self.terminal.as_ref().and_then(Raw::size).filter(|_| wanted) {
            up.push(Message::text(control::resize(size).to_string()));
        }
    }

    fn on_signal(&mut self, signal: Option<SignalKind>, up: &mut Outgoing) -> anyhow::Result<Option<End>> {
        match signal {
            Some(kind) if kind == SignalKind::window_change() => {
                self.send_size(up);
                Ok(None)
            }
            other => self.steered(other),
        }
    }

    /// A signal that is not about the session.
    fn steered(&mut self, signal: Option<SignalKind>) -> anyhow::Result<Option<End>> {
        let Some(kind) = signal else { return Ok(None) };
        let raw = kind.as_raw_value();
        if raw == Signal::TSTP.as_raw() {
            self.suspend()?;
        } else if raw == Signal::CONT.as_raw() {
            if let Some(terminal) = &mut self.terminal {
                terminal.again()?;
            }
        } else if kind != SignalKind::window_change() {
            return Ok(Some(End::Signal(u8::try_from(raw).unwrap_or(0))));
        }
        Ok(None)
    }

    /// Does something beside the session, such as opening one; what is typed meanwhile is lost, but for the way out.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<Result<T, End>> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(Ok(done)),
                signal = self.signals.recv() => {
                    if let Some(end) = self.steered(signal)? {
                        return Ok(Err(end));
                    }
                }
                typed = self.input.next(), if self.typing && self.terminal.is_some() => {
                    let Some(typed) = typed.transpose()? else { return Ok(Err(End::Left)) };
                    let pieces = self.escape.feed(&typed);
                    if pieces.contains(&Typed::Command(Command::Quit)) {
                        return Ok(Err(End::Left));
                    }
                }
            }
        }
    }
}

fn lost(error: &WsError) -> Closed {
    match error {
        WsError::Io(error) => Closed::lost(error.to_string()),
        WsError::Protocol(error) => Closed::lost(error.to_string()),
        _ => Closed::lost(""),
    }
}

/// Signals that end or steer a session, in one queue.
fn listen() -> io::Result<mpsc::Receiver<SignalKind>> {
    let (sender, receiver) = mpsc::channel(4);
    let steering = [Signal::TSTP, Signal::CONT].map(|signal| SignalKind::from_raw(signal.as_raw()));
    let ending = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    for kind in steering.into_iter().chain(ending).chain([SignalKind::window_change()]) {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // Ends with the session's end.
                if sender.send(kind).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}
