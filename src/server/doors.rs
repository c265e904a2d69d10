//! Where a server listens: its sockets, bound or inherited, and who accepts from them.

use std::net::TcpListener;
use std::sync::Arc;

use tracing::info;

use crate::config::{Config, Proxy as ProxySettings};
use crate::net::inherit::Heritage;
use crate::net::listen::{Acceptor, bind};
use crate::net::workers::Workers;

use super::connection::Roles;
use super::{Role, ServerError};

/// The listeners in the order of their roles, as a server has them.
pub(super) type Listeners = Vec<(&'static str, TcpListener)>;

/// And those who accept from them.
pub(super) type Acceptors = Vec<(&'static str, Acceptor)>;

/// What accepting takes.
pub(super) struct Doors {
    pub(super) workers: Arc<Workers>,
    pub(super) tls: bool,
}

impl Doors {
    pub(super) fn open(&self, listeners: Listeners) -> Result<Acceptors, ServerError> {
        let open = |(index, (role, listener)): (usize, (&'static str, TcpListener))| {
            info!(address = %listener.local_addr()?, role, tls = self.tls, "listening");
            let workers = Arc::clone(&self.workers);
            let take = move |socket, peer| workers.hand_over(socket, peer, index);
            Ok((role, Acceptor::start(listener, role, take)?))
        };
        listeners.into_iter().enumerate().map(open).collect()
    }
}

/// Binds the role's listeners, one socket where addresses are equal, and puts the ports into the configuration.
pub(super) fn bind_all(
    config: &mut Config,
    role: Role,
    heritage: &mut Heritage,
) -> Result<Vec<(TcpListener, &'static str, Roles)>, ServerError> {
    let listen = config.listen.clone();
    let (api, proxy) = (role != Role::Proxy, role != Role::Issuer);
    let mut listeners = Vec::with_capacity(3);
    let mut add = |address, name, roles| {
        let inherited = heritage.listener(name, address);
        listeners.push((inherited.map_or_else(|| bind(address, name), Ok)?, name, roles));
        Ok::<_, ServerError>(())
    };
    if api && proxy && listen.api == listen.proxy {
        add(listen.api, "api and proxy", Roles { api, proxy, admin: false })?;
    } else {
        if api {
            add(listen.api, "api", Roles { api, ..Roles::default() })?;
        }
        if proxy {
            add(listen.proxy, "proxy", Roles { proxy, ..Roles::default() })?;
        }
    }
    add(listen.admin, "admin", Roles { admin: true, ..Roles::default() })?;
    // The default public URL follows the proxy's address, whose port may have been left to the system.
    let tls = config.tls.is_some();
    let follows = config.proxy.public_url == ProxySettings::default_public_url(listen.proxy, tls);
    for (listener, _, roles) in &listeners {
        let address = listener.local_addr()?;
        if roles.api {
            config.listen.api = address;
        }
        if roles.proxy {
            config.listen.proxy = address;
        }
        if roles.admin {
            config.listen.admin = address;
        }
    }
    if follows {
        config.proxy.public_url = ProxySettings::default_public_url(config.listen.proxy, tls);
    }
    Ok(listeners)
}
