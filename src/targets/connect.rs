//! Dialling a console: all addresses of a name, each checked, the first that answers; ports opened, commands run.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::{Endpoint, Host};
use crate::net::listen::tune;
use crate::net::secure::{SecureError, secure};
use crate::net::stream::TargetStream;

use super::command::CommandLine;
use super::dial_policy::{DialPolicy, Forbidden};
use super::telnet::TelnetLine;
use super::tty::TtyLine;

/// Name look-up and connect together, all addresses. A console's host is near; longer means down.
pub const DIAL: Duration = Duration::from_secs(5);

/// Head start of one address over the next (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses tried of one name; more would be a mistake in the DNS or an attack with it.
const MAX_ADDRESSES: usize = 8;

/// Why a target was not reached. The endpoint is for operators' logs; viewers are told less.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name did not resolve.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's reason.
        source: io::Error,
    },
    /// The name resolves to nothing.
    #[error("{0} has no address")]
    NoAddress(String),
    /// No address may be dialled.
    #[error("{address} is never dialled: {reason}")]
    Forbidden {
        /// The address.
        address: SocketAddr,
        /// Which rule.
        reason: Forbidden,
    },
    /// Every address refused; the last reason.
    #[error("cannot connect to {address}: {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The Unix socket refused.
    #[error("cannot connect to {}: {source}", path.display())]
    Unix {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no secure connection to it.
    #[error("no TLS with {endpoint}: {source}")]
    Secure {
        /// The endpoint.
        endpoint: String,
        /// What is wrong, with its certificate perhaps.
        source: SecureError,
    },
    /// The serial port cannot be opened or set.
    #[error("cannot open {}: {source}", path.display())]
    Tty {
        /// The port.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The command cannot be run.
    #[error("cannot run {}: {source}", path.display())]
    Command {
        /// The program.
        path: PathBuf,
        /// The system's reason.
        source: pty_process::Error,
    },
    /// Nothing answered in time.
    #[error("no answer from {0} within {DIAL:?}")]
    Timeout(String),
}

/// Connects to `endpoint` within [`DIAL`].
pub async fn connect(endpoint: &Endpoint, policy: &DialPolicy) -> Result<TargetStream, ConnectError> {
    let dial = async {
        match endpoint {
            Endpoint::Unix(path) => connect_unix(path).await,
            Endpoint::Tcp(host, port) => {
                connect_tcp(resolve(host, *port).await?, policy).await.map(TargetStream::Tcp)
            }
            Endpoint::Tls(host, port, check) => {
                let socket = connect_tcp(resolve(host, *port).await?, policy).await?;
                let secured = secure(socket, host, check).await;
                let failed = |source| ConnectError::Secure { endpoint: endpoint.to_string(), source };
                Ok(TargetStream::Secure(Box::new(secured.map_err(failed)?)))
            }
            Endpoint::Telnet(host, port, line) => {
                let socket = connect_tcp(resolve(host, *port).await?, policy).await?;
                Ok(TargetStream::Line(Box::new(TelnetLine::new(socket, line))))
            }
            Endpoint::Tty(path, line) => {
                let failed = |source| ConnectError::Tty { path: path.clone(), source };
                Ok(TargetStream::Line(Box::new(TtyLine::open(path, line).map_err(failed)?)))
            }
            Endpoint::Command(program) => {
                let failed = |source| ConnectError::Command { path: program.path.clone(), source };
                Ok(TargetStream::Line(Box::new(CommandLine::start(program).map_err(failed)?)))
            }
        }
    };
    timeout(DIAL, dial).await.unwrap_or_else(|_| Err(ConnectError::Timeout(endpoint.to_string())))
}

async fn connect_unix(path: &Path) -> Result<TargetStream, ConnectError> {
    let connected = UnixStream::connect(path).await;
    connected.map(TargetStream::Unix).map_err(|source| ConnectError::Unix { path: path.to_owned(), source })
}

async fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    match host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            let found = found.map_err(|source| ConnectError::Resolve { host: name.clone(), source })?;
            let addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
            if addresses.is_empty() { Err(ConnectError::NoAddress(name.clone())) } else { Ok(addresses) }
        }
    }
}

async fn dial(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let connected = TcpStream::connect(address).await.and_then(|socket| {
        tune(&socket)?;
        Ok(socket)
    });
    connected.map_err(|source| ConnectError::Tcp { address, source })
}

/// Starts one attempt after another, a little apart, and takes the first that succeeds (RFC 8305).
async fn connect_tcp(addresses: Vec<SocketAddr>, policy: &DialPolicy) -> Result<TcpStream, ConnectError> {
    // Most targets are one address: no race, no task.
    if let [address] = addresses[..] {
        policy.check(address).map_err(|reason| ConnectError::Forbidden { address, reason })?;
        return dial(address).await;
    }
    let mut attempts = JoinSet::new();
    let mut last_error = None;
    for address in addresses {
        if let Err(reason) = policy.check(address) {
            last_error = Some(ConnectError::Forbidden { address, reason });
            continue;
        }
        let head_start = STAGGER * u32::try_from(attempts.len()).unwrap_or(0);
        attempts.spawn(async move {
            sleep(head_start).await;
            dial(address).await
        });
    }
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last_error = Some(error),
            Err(_cancelled) => {}
        }
    }
    Err(last_error.unwrap_or_else(|| ConnectError::NoAddress("the target".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_with_one_dead_address_still_connects() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = listener.local_addr().unwrap();
        let dead = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let policy = DialPolicy::default();
        assert!(connect_tcp(vec![dead, live], &policy).await.is_ok());
        let error = connect_tcp(vec![dead], &policy).await.unwrap_err();
        assert!(error.to_string().contains(&dead.to_string()), "{error}");
    }

    #[tokio::test]
    async fn forbidden_addresses_are_not_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        let endpoint = Endpoint::Tcp(Host::Name("localhost".into()), own.port());
        let policy = DialPolicy::new(vec![own, SocketAddr::new("::1".parse().unwrap(), own.port())]);
        assert!(matches!(connect(&endpoint, &policy).await, Err(ConnectError::Forbidden { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_socket_is_named() {
        let endpoint = Endpoint::Unix("/nonexistent/console.sock".into());
        let error = connect(&endpoint, &DialPolicy::default()).await.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/console.sock"), "{error}");
    }
}
