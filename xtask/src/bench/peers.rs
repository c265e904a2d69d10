//! The proxies under test, ours and others: how each is started, and where viewers reach it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::parts::Parts;

/// How long a proxy may take to listen: Python with numpy needs a second on a busy machine.
const START: Duration = Duration::from_secs(20);

/// The credential of the issuer under test; it lives as long as the run.
const TOKEN: &str = "a-token-for-the-benchmark-only";

/// Servers in our inventory; sessions are spread over them, as they are in a cloud.
const SERVERS: usize = 64;

/// The server whose console is taken for a screen.
pub(super) const SCREEN: &str = "screen";

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Consolegate,
    RawCopy,
    TokioCopy,
    Websockify,
    Websocat,
    Haproxy,
    Nginx,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Consolegate => "consolegate",
            Self::RawCopy => "raw copy loop",
            Self::TokioCopy => "tokio copy",
            Self::Websockify => "websockify",
            Self::Websocat => "websocat",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }

    /// Whether it speaks WebSocket itself; the others relay bytes as they are.
    fn is_websocket(self) -> bool {
        matches!(self, Self::Consolegate | Self::Websockify | Self::Websocat)
    }
}

/// A proxy that runs; dropping it ends it.
pub(super) struct Running {
    child: Child,
    /// What `consolegate load` is told to reach it.
    pub(super) arguments: Vec<String>,
}

impl Running {
    pub(super) fn new(child: Child) -> Self {
        Self { child, arguments: vec![] }
    }

    /// Starts `command` with nothing to read and its words in `log`.
    pub(super) fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Self::new(command.spawn().with_context(|| format!("cannot start {command:?}"))?))
    }

    /// Where it is reached: a proxy's own address, our issuer's.
    pub(super) fn url(&self) -> &str {
        self.arguments.get(1).map_or("", String::as_str)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM first: a master process ends its workers, websockify its children. `kill` is the shell's
        // own word for it; a process that has ended already is fine.
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free port of this machine's loopback; somebody else could take it before it is used, and then the start
/// fails with its reason.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?)
}

/// Starts `peer` in front of `console`, with `cores` threads where it can have several.
pub(super) fn start(
    peer: Peer,
    tls: bool,
    cores: usize,
    console: SocketAddr,
    parts: &Parts,
) -> Result<Running> {
    let listen = free_address()?;
    let dir = parts.dir.join(peer.name().replace(' ', "-"));
    fs::create_dir_all(&dir)?;
    let command = match peer {
        Peer::Consolegate => consolegate(&dir, tls, cores, listen, console, parts)?,
        Peer::RawCopy => relay(&parts.raw_copy, listen, console),
        Peer::TokioCopy => relay(&parts.tokio_copy, listen, console),
        Peer::Websockify => websockify(tls, listen, console, parts),
        Peer::Websocat => {
            let mut command = Command::new(parts.websocat.as_ref().context("websocat was not built")?);
            command.args(["--binary", "--buffer-size", "65536"]);
            command.args([format!("ws-listen:{listen}"), format!("tcp:{console}")]);
            command
        }
        Peer::Haproxy => haproxy(&dir, tls, cores, listen, console, parts)?,
        Peer::Nginx => nginx(&dir, tls, cores, listen, console, parts)?,
    };
    let log = dir.join("log");
    let mut running = Running::spawn(command, &log)?;
    let scheme = match (peer.is_websocket(), tls) {
        (true, false) => "ws",
        (true, true) => "wss",
        (false, false) => "tcp",
        (false, true) => "tls",
    };
    running.arguments = vec!["--url".into(), format!("{scheme}://{listen}/")];
    if peer == Peer::Consolegate {
        let http = if tls { "https" } else { "http" };
        running.arguments = vec!["--api".into(), format!("{http}://{listen}/v2.1")];
        running.arguments.extend((0..SERVERS).flat_map(|n| ["--server".to_owned(), format!("load-{n}")]));
    }
    if tls {
        running.arguments.extend(["--ca".into(), parts.certs.join("ca.pem").display().to_string()]);
    }
    await_listener(&mut running, listen, &log)?;
    Ok(running)
}

pub(super) fn await_listener(running: &mut Running, listen: SocketAddr, log: &Path) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        if TcpStream::connect(listen).is_ok() {
            // The probe's own session ends before anything is measured.
            std::thread::sleep(Duration::from_millis(200));
            return Ok(());
        }
        if running.child.try_wait()?.is_some() || Instant::now() > deadline {
            bail!("it does not listen; its words are in {}", log.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The environment of `consolegate load`.
pub(super) fn credential() -> (&'static str, &'static str) {
    ("CONSOLEGATE_TOKEN", TOKEN)
}

fn relay(program: &Path, listen: SocketAddr, console: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.args([listen.to_string(), console.to_string()]);
    command
}

fn consolegate(
    dir: &Path,
    tls: bool,
    cores: usize,
    listen: SocketAddr,
    console: SocketAddr,
    parts: &Parts,
) -> Result<Command> {
    let mut text = format!(
        "[listen]\napi = \"{listen}\"\nproxy = \"{listen}\"\nadmin = \"127.0.0.1:0\"\n\
         [proxy]\nworkers = {cores}\nallowed_origins = [\"{}\"]\n\
         [limits]\nsessions_per_target = 0\nissue_per_second = 0\noutstanding_per_target = 0\n\
         [[auth.token]]\ntoken_env = \"CONSOLEGATE_TOKEN\"\nuser = \"bench\"\nproject = \"bench\"\n",
        parts.page
    );
    if tls {
        text += &format!(
            "[tls]\ncertificate = \"{0}/server.pem\"\nkey = \"{0}/server.key\"\n",
            parts.certs.display()
        );
    }
    for n in 0..SERVERS {
        text += &format!(
            "[[target]]\nid = \"load-{n}\"\nproject = \"bench\"\nserial = \"tcp://{console}\"\n\
             serial_viewers = \"share\"\n"
        );
    }
    text += &format!("[[target]]\nid = \"{SCREEN}\"\nproject = \"bench\"\nvnc = \"tcp://{console}\"\n");
    let file = dir.join("consolegate.toml");
    fs::write(&file, text)?;
    let mut command = Command::new(&parts.consolegate);
    command.args(["serve", "--config"]).arg(file).env(credential().0, credential().1);
    Ok(command)
}

fn websockify(tls: bool, listen: SocketAddr, console: SocketAddr, parts: &Parts) -> Command {
    let mut command = Command::new(parts.venv.join("bin/websockify"));
    if tls {
        command.arg("--ssl-only");
        command.arg("--cert").arg(parts.certs.join("server.pem"));
        command.arg("--key").arg(parts.certs.join("server.key"));
    }
    command.args([listen.to_string(), console.to_string()]);
    command
}

fn haproxy(
    dir: &Path,
    tls: bool,
    cores: usize,
    listen: SocketAddr,
    console: SocketAddr,
    parts: &Parts,
) -> Result<Command> {
    let mut bind = format!("bind {listen}");
    if tls {
        // HAProxy wants both in one file.
        let both = dir.join("both.pem");
        let pair = [fs::read(parts.certs.join("server.pem"))?, fs::read(parts.certs.join("server.key"))?];
        fs::write(&both, pair.concat())?;
        bind += &format!(" ssl crt {}", both.display());
    }
    let text = format!(
        "global\n  nbthread {cores}\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 10m\n  timeout server 10m\nfrontend f\n  {bind}\n  default_backend b\nbackend b\n  \
         server s {console}\n"
    );
    let file = dir.join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.args(["-db", "-f"]).arg(file);
    Ok(command)
}

fn nginx(
    dir: &Path,
    tls: bool,
    cores: usize,
    listen: SocketAddr,
    console: SocketAddr,
    parts: &Parts,
) -> Result<Command> {
    let (mut ssl, mut pair) = ("", String::new());
    if tls {
        ssl = " ssl";
        pair = format!(
            "ssl_certificate {0}/server.pem; ssl_certificate_key {0}/server.key; ssl_protocols TLSv1.3;",
            parts.certs.display()
        );
    }
    // As root, nginx would give its workers away to a user that may not read the key.
    let user = if crate::setup::apt::is_root() { "user root;" } else { "" };
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n{user} daemon off; pid {0}/pid; \
         error_log {0}/error.log; worker_processes {cores};\nevents {{ worker_connections 20000; }}\n\
         stream {{ proxy_buffer_size 60k; server {{ listen {listen}{ssl}; {pair} proxy_pass {console}; }} }}\n",
        dir.display()
    );
    let file: PathBuf = dir.join("nginx.conf");
    fs::write(&file, text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(file);
    Ok(command)
}
