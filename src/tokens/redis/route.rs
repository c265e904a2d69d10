//! Finds the server that decides, logs in, and looks whether it can be trusted with tokens.

use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection, PubSub};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates, TlsMode, Value,
};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use crate::config::{Reach, Redis, RedisNode, Secret};

use super::RedisSetupError;
use super::link::LinkError;
use super::vet::{Unsafe, vet};

/// How long a connection may take, login included: far beyond a data centre's round trip, and two of them fit
/// into [`super::DEADLINE`].
const CONNECT: Duration = Duration::from_millis(500);

/// How long an answer may take. A healthy Redis takes a millisecond; one that forks or swaps a few hundred.
pub(super) const REPLY: Duration = Duration::from_millis(700);

/// A way to the primary, or to all of them.
pub(super) enum Route {
    Single(Client),
    Sentinel {
        sentinels: Vec<Client>,
        service: String,
        login: RedisConnectionInfo,
        tls: Option<TlsCertificates>,
    },
    /// And the nodes to begin with, each alone.
    Cluster(Box<ClusterClient>, Vec<Client>),
}

/// An open connection, which any number of calls share.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Route {
    pub(super) fn new(settings: &Redis) -> Result<Self, RedisSetupError> {
        let root_cert = match &settings.ca {
            Some(path) => {
                let unreadable = |source| RedisSetupError::Ca { path: path.clone(), source };
                Some(std::fs::read(path).map_err(unreadable)?)
            }
            None => None,
        };
        let tls = settings.tls.then_some(TlsCertificates { client_tls: None, root_cert });
        let login = login(settings.username.as_deref(), settings.password.as_ref());
        let login = login.set_db(i64::from(settings.database));
        match &settings.reach {
            Reach::Single(node) => Ok(Self::Single(client(node, &login, tls.as_ref())?)),
            Reach::Sentinel { nodes, service } => {
                let sentinel =
                    self::login(settings.sentinel_username.as_deref(), settings.sentinel_password.as_ref());
                let sentinels = nodes.iter().map(|node| client(node, &sentinel, tls.as_ref()));
                let sentinels = sentinels.collect::<Result<_, _>>()?;
                Ok(Self::Sentinel { sentinels, service: service.clone(), login, tls })
            }
            Reach::Cluster(nodes) => {
                let alone = nodes.iter().map(|node| client(node, &login, tls.as_ref()));
                let alone = alone.collect::<Result<_, _>>()?;
                cluster(nodes, settings, tls).map(|client| Self::Cluster(Box::new(client), alone))
            }
        }
    }

    /// Whether tokens are on different servers, so that a call can have one token's keys at most.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(..))
    }

    /// A connection to a primary that passed the checks.
    pub(super) async fn connect(&self) -> Result<Connection, LinkError> {
        match self {
            Self::Single(client) => single(client).await,
            Self::Sentinel { sentinels, service, login, tls } => {
                let mut last = LinkError::Service(service.clone());
                for sentinel in sentinels {
                    match by_sentinel(sentinel, service, login, tls.as_ref()).await {
                        Ok(connection) => return Ok(connection),
                        Err(error @ LinkError::Unsafe(_)) if !error.is_demotion() => return Err(error),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Self::Cluster(client, _) => {
                let mut connection = client.get_async_connection().await?;
                let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let reports = connection.route_command(redis::cmd("INFO"), everywhere).await?;
                let Value::Map(reports) = reports else { return Err(Unsafe::NoCluster.into()) };
                for (_, report) in reports {
                    let report: String = redis::from_redis_value(report).map_err(RedisError::from)?;
                    vet(&report, true)?;
                }
                Ok(Connection::Cluster(connection))
            }
        }
    }

    /// A connection for subscriptions alone: to the primary, or to any of a cluster's nodes, which all hear what one
    /// of them is told.
    pub(super) async fn subscription(&self) -> Result<PubSub, LinkError> {
        match self {
            Self::Single(client) => Ok(client.get_async_pubsub().await?),
            Self::Sentinel { sentinels, service, login, tls } => {
                let mut last = LinkError::Service(service.clone());
                for sentinel in sentinels {
                    match named(sentinel, service, login, tls.as_ref()).await {
                        Ok(client) => return Ok(client.get_async_pubsub().await?),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Self::Cluster(_, nodes) => {
                let mut last = LinkError::from(Unsafe::NoCluster);
                for node in nodes {
                    match timeout(CONNECT, node.get_async_pubsub()).await {
                        Ok(Ok(subscription)) => return Ok(subscription),
                        Ok(Err(error)) => last = error.into(),
                        Err(_late) => {}
                    }
                }
                Err(last)
            }
        }
    }
}

fn login(username: Option<&str>, password: Option<&Secret>) -> RedisConnectionInfo {
    // CLIENT SETINFO would be one more command for the ACL to allow.
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    match password {
        Some(password) => login.set_password(password.expose_secret()),
        None => login,
    }
}

fn address(node: &RedisNode, tls: bool) -> ConnectionAddr {
    let (host, port) = (node.host.clone(), node.port);
    match tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    }
}

fn info(node: &RedisNode, tls: bool) -> Result<ConnectionInfo, RedisError> {
    address(node, tls).into_connection_info()
}

fn client(
    node: &RedisNode,
    login: &RedisConnectionInfo,
    tls: Option<&TlsCertificates>,
) -> Result<Client, RedisError> {
    let info = info(node, tls.is_some())?.set_redis_settings(login.clone());
    match tls {
        Some(tls) => Client::build_with_tls(info, tls.clone()),
        None => Client::open(info),
    }
}

fn cluster(
    nodes: &[RedisNode],
    settings: &Redis,
    tls: Option<TlsCertificates>,
) -> Result<ClusterClient, RedisSetupError> {
    let nodes = nodes.iter().map(|node| info(node, settings.tls)).collect::<Result<Vec<_>, _>>()?;
    // A call that is sent again is safe (its nonce is the same), but there is time for few.
    let mut builder = ClusterClientBuilder::new(nodes)
        .retries(3)
        .min_retry_wait(20)
        .max_retry_wait(200)
        .connection_timeout(CONNECT)
        .response_timeout(REPLY)
        .overall_response_timeout(Some(2 * REPLY));
    if let Some(username) = &settings.username {
        builder = builder.username(username);
    }
    if let Some(password) = &settings.password {
        builder = builder.password(password.expose_secret());
    }
    if let Some(tls) = tls {
        builder = builder.tls(TlsMode::Secure).certs(tls);
    }
    Ok(builder.build()?)
}

async fn open(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let limits =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(REPLY));
    client.get_multiplexed_async_connection_with_config(&limits).await
}

async fn single(client: &Client) -> Result<Connection, LinkError> {
    let mut connection = open(client).await?;
    let report: String = redis::cmd("INFO").query_async(&mut connection).await?;
    vet(&report, false)?;
    Ok(Connection::Single(connection))
}

async fn by_sentinel(
    sentinel: &Client,
    service: &str,
    login: &RedisConnectionInfo,
    tls: Option<&TlsCertificates>,
) -> Result<Connection, LinkError> {
    // A Sentinel that has not heard of a failover yet names the old primary; the checks see through that.
    single(&named(sentinel, service, login, tls).await?).await
}

/// The server that a Sentinel names.
async fn named(
    sentinel: &Client,
    service: &str,
    login: &RedisConnectionInfo,
    tls: Option<&TlsCertificates>,
) -> Result<Client, LinkError> {
    let mut asked = open(sentinel).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let answer: Option<(String, u16)> = question.query_async(&mut asked).await?;
    let (host, port) = answer.ok_or_else(|| LinkError::Service(service.to_owned()))?;
    Ok(client(&RedisNode { host, port }, login, tls)?)
}

impl Connection {
    /// Sends a command and waits for its answer. Errors within one are left there: of several steps each has its own.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Single(connection) => match connection.req_packed_command(command).await? {
                Value::ServerError(error) => Err(error.into()),
                answer => Ok(answer),
            },
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}
