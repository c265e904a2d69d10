//! Listeners that another process opened for us: the one before this one, at a hot restart, or systemd.
//!
//! Both pass descriptors from 3 on, their number in `LISTEN_FDS` and their names in `LISTEN_FDNAMES`
//! (sd_listen_fds(3)).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketType};

/// The name of the connection to the process before this one.
pub const CONTROL: &str = "handover";

/// What was passed on to this process. The default is nothing.
#[derive(Debug, Default)]
pub struct Heritage {
    listeners: Vec<(String, SocketAddr, TcpListener)>,
    control: Option<UnixStream>,
}

impl Heritage {
    /// Takes what there is, once, before there are other threads: it changes the environment.
    ///
    /// # Errors
    /// If a descriptor is no listening TCP socket.
    pub fn take() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = ListenFd::from_env();
        let mut heritage = Self::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            if name == CONTROL {
                let (family, kind) = (AddressFamily::UNIX.as_raw().into(), SocketType::STREAM.as_raw());
                let kind = i32::try_from(kind).unwrap_or_default();
                heritage.control = passed.take_custom(index, family, kind, "Unix stream socket")?;
            } else if let Some(listener) = passed.take_tcp_listener(index)? {
                heritage.listeners.push((name, listener.local_addr()?, listener));
            }
        }
        Ok(heritage)
    }

    /// The listener for this role at this address; port 0 is whichever the role had.
    pub fn listener(&mut self, role: &str, address: SocketAddr) -> Option<TcpListener> {
        let role = name(role);
        let fits = |(theirs, at, _): &(String, SocketAddr, TcpListener)| {
            *at == address || (address.port() == 0 && at.ip() == address.ip() && *theirs == role)
        };
        let at = self.listeners.iter().position(fits)?;
        Some(self.listeners.swap_remove(at).2)
    }

    /// The connection to the process before this one, if there is one.
    pub fn control(&mut self) -> Option<UnixStream> {
        self.control.take()
    }
}

/// A role as one word, which colons separate from others.
pub fn name(role: &str) -> String {
    role.replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_address_or_for_any_port_by_its_role() {
        let open = |role: &str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            (name(role), listener.local_addr().unwrap(), listener)
        };
        let mut heritage = Heritage { listeners: vec![open("api"), open("api and proxy")], control: None };
        let at = heritage.listeners[0].1;
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(heritage.listener("proxy", any).is_none());
        assert!(heritage.listener("api and proxy", "[::1]:0".parse().unwrap()).is_none());
        assert!(heritage.listener("api and proxy", any).is_some());
        assert_eq!(heritage.listener("proxy", at).unwrap().local_addr().unwrap(), at, "whatever it was for");
        assert!(heritage.listener("api", at).is_none(), "once");
    }
}
