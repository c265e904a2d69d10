//! One target as the inventory names it, resolved: what server, whose, where its consoles are.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::ids::{ProjectId, Protocol, TargetId};

use super::serial_hub::SerialHub;
use super::serial_line::{LineSettings, Program, ServerCheck};
use super::{Record, Secret, VncSecurity};

/// A server with one or more console endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server's id in the cloud's own API.
    pub id: TargetId,
    /// The server's name; need not be unique.
    pub name: String,
    /// Who may see it.
    pub project: ProjectId,
    /// Virtual machine or bare metal; decides which dialects see it.
    pub kind: Kind,
    /// Life-cycle state.
    pub state: State,
    /// Operating system; Windows on bare metal has no serial login in the BMS dialect.
    pub os: Os,
    /// `{zone}` in URL templates.
    pub zone: String,
    /// `{region}` in URL templates.
    pub region: String,
    /// Where the VNC console is.
    pub vnc: Option<Endpoint>,
    /// Where the serial console is.
    pub serial: Option<Endpoint>,
    /// Where the SPICE server is.
    pub spice: Option<Endpoint>,
    /// Where the MKS (VMware) console is.
    pub mks: Option<Endpoint>,
    /// What a second VNC viewer does.
    pub vnc_viewers: Viewers,
    /// What a second serial viewer does.
    pub serial_viewers: Viewers,
    /// How long a lost serial line is dialled again before its session ends; `None`: the session ends at once.
    pub serial_reconnect: Option<Duration>,
    /// What is kept of a line that viewers share by a hub.
    pub serial_hub: SerialHub,
    /// Whether VNC viewers may only watch, whatever their grant says.
    pub vnc_view_only: bool,
    /// Whether its sessions are recorded; `None`: as `[recording]` says.
    pub record: Option<Record>,
    /// How we authenticate to the VNC target.
    pub vnc_security: VncSecurity,
}

impl Target {
    /// The endpoint that serves `protocol`, if the target has one.
    pub fn endpoint(&self, protocol: Protocol) -> Option<&Endpoint> {
        match protocol {
            Protocol::Vnc => self.vnc.as_ref(),
            Protocol::Serial => self.serial.as_ref(),
            Protocol::Spice => self.spice.as_ref(),
            Protocol::Mks => self.mks.as_ref(),
        }
    }

    /// Whether its consoles may be opened in its present state. A stopped vm has none; a stopped bare-metal
    /// server keeps its own: watching it power on is what it is for.
    pub fn console_ready(&self) -> bool {
        match self.state {
            State::Active => true,
            State::Stopped => self.kind == Kind::Baremetal,
            State::Building | State::Deleting | State::Migrating => false,
        }
    }

    /// How long a lost connection of `protocol` is dialled again.
    pub fn reconnect(&self, protocol: Protocol) -> Option<Duration> {
        self.serial_reconnect.filter(|_| protocol == Protocol::Serial)
    }

    /// What a second viewer of `protocol` does.
    pub fn viewers(&self, protocol: Protocol) -> Viewers {
        match protocol {
            Protocol::Serial => self.serial_viewers,
            Protocol::Vnc | Protocol::Spice | Protocol::Mks => self.vnc_viewers,
        }
    }
}

/// Virtual machine or bare metal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A virtual machine: seen by OpenStack and ECS.
    Vm,
    /// A physical server: seen by OpenStack, OTC, BMS and CloudDC.
    Baremetal,
}

/// Life-cycle state of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Running, or at least there.
    Active,
    /// Being made.
    Building,
    /// Being removed.
    Deleting,
    /// On its way to another host.
    Migrating,
    /// Powered off.
    Stopped,
}

/// Operating system family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux and its kin.
    Linux,
    /// Windows.
    Windows,
}

/// What happens when a second viewer opens a target that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewers {
    /// The second is refused.
    Deny,
    /// The second takes over, the first is ended.
    Steal,
    /// Both stay.
    Share,
    /// Both stay on one connection, and one of them types; serial consoles only.
    Hub,
}

/// Where a console is. All but the first two are for serial consoles only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP port: `tcp://host:port`.
    Tcp(Host, u16),
    /// A Unix socket: `unix:/path`.
    Unix(PathBuf),
    /// TLS over TCP: `tls://host:port`.
    Tls(Host, u16, ServerCheck),
    /// Telnet over TCP, with RFC 2217 where the server has it: `telnet://host:port`.
    Telnet(Host, u16, LineSettings),
    /// A serial port of this machine: `tty:/dev/ttyS0`.
    Tty(PathBuf, LineSettings),
    /// A program on a pty of its own: `command:/path/of/program`.
    Command(Program),
}

/// A host name or a literal address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Resolved at dial time.
    Name(String),
    /// Dialled as it is.
    Ip(IpAddr),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// As it is written in the inventory, without the settings that stand beside it.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, host, port) = match self {
            Self::Tcp(host, port) => ("tcp", host, port),
            Self::Tls(host, port, _) => ("tls", host, port),
            Self::Telnet(host, port, _) => ("telnet", host, port),
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
            Self::Tty(path, _) => return write!(f, "tty:{}", path.display()),
            Self::Command(program) => return write!(f, "command:{}", program.path.display()),
        };
        match host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "{scheme}://[{ip}]:{port}"),
            host => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// The credential of the admin listener.
#[derive(Clone, Debug, Default)]
pub struct Admin {
    /// Bearer token; absent: one is made at start and printed once.
    pub token: Option<Secret>,
}
