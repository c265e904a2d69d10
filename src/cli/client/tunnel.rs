//! `consolegate tunnel`: a local port behind which a native VNC viewer finds a console.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cli::{issue, print};
use crate::ids::Protocol;

use super::exit::{self, Closed};
use super::socket::{Opened, Opener};
use super::{Source, Where};

/// Read from the viewer at a time: a paste, or a burst of pointer moves.
const CHUNK: usize = 16 * 1024;

/// How long the proxy may take to take ours.
const GOODBYE: Duration = Duration::from_secs(2);

/// Viewers in all; more is a proxy's work, not a tunnel's.
const MAX_VIEWERS: u32 = 1000;

/// Give a native VNC viewer a local port.
///
/// Listens on this machine, waits for a viewer, and opens the console for it: the link is spent then and not before,
/// and the viewer is asked for no password. The port has none either while it listens: until your viewer has it,
/// whoever else can use this machine may take it. After one viewer (--viewers) it closes.
///
///   consolegate tunnel --server vm1 --exec 'vncviewer {host}::{port}'
///   consolegate tunnel --server vm1 --exec 'remote-viewer vnc://{host}:{port}'
///
/// A serial console (--protocol serial, or its link) gives its bytes as they are, for programs that want a socket.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = exit::HELP)]
pub(in crate::cli) struct Tunnel {
    #[command(flatten)]
    place: Where,
    /// Which console --server asks for: vnc or serial.
    #[arg(long, short, default_value = "vnc", value_parser = issue::protocol)]
    protocol: Protocol,
    /// Where the viewer connects; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
    /// Listen on an address that other machines reach: whoever connects first has the console.
    #[arg(long)]
    anybody: bool,
    /// How many viewers in all, at once or one after the other; each has a link of its own, so more than one needs
    /// --server.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_VIEWERS as i64))]
    viewers: u32,
    /// Start this once the port is there, by the shell: {host} and {port} are where it is. When it ends, so does the
    /// tunnel, with its exit code.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
}

pub(in crate::cli) async fn run(arguments: Tunnel) -> anyhow::Result<ExitCode> {
    match tunnel(arguments).await {
        Ok(code) => Ok(code),
        Err(error) => {
            print::error(&error);
            Ok(exit::code_of(&error))
        }
    }
}

async fn tunnel(arguments: Tunnel) -> anyhow::Result<ExitCode> {
    let loopback = arguments.listen.ip().is_loopback();
    ensure!(
        loopback || arguments.anybody,
        "{} is reached by other machines: add --anybody",
        arguments.listen
    );
    let source = arguments.place.source(arguments.protocol)?;
    if arguments.viewers > 1 && !source.gives_new_ones() {
        bail!("a link opens one session: --viewers needs --server");
    }
    let mut signals = Signals::new()?;
    let doors = Arc::new(Doors { source, opener: arguments.place.opener()? });
    let listener = TcpListener::bind(arguments.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let at = listener.local_addr()?;
    print::line(format_args!("{}::{}", at.ip(), at.port()));
    let mut child = arguments.exec.as_deref().map(|command| start(command, at)).transpose()?;
    let served = tokio::select! {
        served = serve(listener, doors, arguments.viewers) => served.map(Ended::Viewers),
        status = ended(child.as_mut()) => Ok(Ended::Program(status?)),
        number = signals.next() => Ok(Ended::Signal(number)),
    };
    let code = match served? {
        Ended::Signal(number) => 128 + number,
        Ended::Program(status) => code_of(status),
        // A viewer may still show why its session ended.
        Ended::Viewers(code) if code == exit::DONE && child.is_some() => tokio::select! {
            status = ended(child.as_mut()) => code_of(status?),
            number = signals.next() => 128 + number,
        },
        Ended::Viewers(code) => code,
    };
    Ok(ExitCode::from(code))
}

enum Ended {
    Viewers(u8),
    Program(ExitStatus),
    Signal(u8),
}

/// What every viewer needs.
struct Doors {
    source: Source,
    opener: Opener,
}

/// Takes so many viewers, and waits until all have left; the last one's exit code.
async fn serve(listener: TcpListener, doors: Arc<Doors>, viewers: u32) -> anyhow::Result<u8> {
    let mut sessions = JoinSet::new();
    for _ in 0..viewers {
        let (viewer, _) = listener.accept().await.context("cannot accept a viewer")?;
        sessions.spawn(one(viewer, Arc::clone(&doors)));
    }
    // Others are refused by the system, not left waiting.
    drop(listener);
    let mut code = exit::DONE;
    while let Some(ended) = sessions.join_next().await {
        let closed = ended.context("a session")??;
        print::note(closed.prose());
        code = code.max(closed.exit());
    }
    Ok(code)
}

/// One viewer's session, from its connection to its end.
async fn one(viewer: TcpStream, doors: Arc<Doors>) -> anyhow::Result<Closed> {
    viewer.set_nodelay(true)?;
    let link = doors.source.next().await?;
    let url = link.reveal().to_owned().into();
    let opened = doors.opener.open(&link, &url, false, None).await?;
    print::note(format_args!("connected to {link}"));
    Ok(relay(viewer, opened).await)
}

/// Bytes both ways, each direction at its own pace: whoever does not take them is waited for.
async fn relay(viewer: TcpStream, opened: Opened) -> Closed {
    let (mut read, mut write) = viewer.into_split();
    let (mut up, mut down) = opened.socket.split();
    let upwards = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match read.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            if up.send(Message::binary(buffer[..count].to_vec())).await.is_err() {
                // The other direction knows why.
                std::future::pending::<()>().await;
            }
        }
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // The proxy may be gone; then the other direction says so.
        let _ = up.send(Message::Close(Some(goodbye))).await;
        std::future::pending::<()>().await;
    };
    let downwards = async {
        loop {
            let bytes = match down.next().await {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => text.as_bytes().to_vec().into(),
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.as_ref().map_or(1005, |frame| frame.code.into());
                    let reason = frame.map_or_else(String::new, |frame| frame.reason.as_str().to_owned());
                    return Closed { code: Some(code), reason };
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Closed::lost(error.to_string()),
                None => return Closed::lost(""),
            };
            if write.write_all(&bytes).await.is_err() {
                return Closed { code: Some(1000), reason: "the viewer left".to_owned() };
            }
        }
    };
    let closed = tokio::select! {
        () = upwards => Closed::lost(""),
        closed = downwards => closed,
    };
    // The answer to a goodbye, where there was one.
    let _ = tokio::time::timeout(GOODBYE, up.flush()).await;
    // What the viewer has not taken yet stays in the socket; its end follows it.
    let _ = write.shutdown().await;
    closed
}

/// The program of --exec. Host and port are ours, so that nothing of another's gets into the shell.
fn start(command: &str, at: SocketAddr) -> anyhow::Result<Child> {
    let command = command.replace("{host}", &at.ip().to_string()).replace("{port}", &at.port().to_string());
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(&command).stdin(Stdio::null()).kill_on_drop(true);
    shell.spawn().with_context(|| format!("cannot start {command:?}"))
}

async fn ended(child: Option<&mut Child>) -> std::io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

/// As the shell tells it.
fn code_of(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = status.signal().map(|number| 128 + number);
    u8::try_from(status.code().or(signal).unwrap_or(1)).unwrap_or(1)
}

/// Whatever asks a program to end.
struct Signals([(Signal, SignalKind); 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [a, b, c] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self([(signal(a)?, a), (signal(b)?, b), (signal(c)?, c)]))
    }

    async fn next(&mut self) -> u8 {
        let [(a, kind_a), (b, kind_b), (c, kind_c)] = &mut self.0;
        let kind = tokio::select! {
            _ = a.recv() => *kind_a,
            _ = b.recv() => *kind_b,
            _ = c.recv() => *kind_c,
        };
        u8::try_from(kind.as_raw_value()).unwrap_or(0)
    }
}
