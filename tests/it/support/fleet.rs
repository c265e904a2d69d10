//! A fleet of issuer and proxies over one store, in this process, and what their admin listeners say.

use std::net::SocketAddr;

use consolegate::ids::Protocol;
use consolegate::server::Role;
use serde_json::{Value, json};

use super::server::{ADMIN_TOKEN, Running, Socket, config, http, open};
use super::{viewer, within};

/// Two servers, and the admin listener's token.
pub(crate) const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
pub(crate) const OTHER: &str = "6c1f2a90-0000-4000-8000-000000000002";
pub(crate) const ADMIN: &str = "an-admin-listeners-token";

/// Proxies and an issuer without one; `more` is what all of them are told beside their targets.
pub(crate) struct Fleet {
    pub(crate) issuer: Running,
    pub(crate) proxies: Vec<Running>,
}

/// A process of the fleet called `name`, over the Redis at `url`.
pub(crate) fn process(name: &str, url: &str, more: &str, role: Role) -> Running {
    let text = format!(
        "[proxy]\nname = \"{name}\"\n[admin]\ntoken = \"{ADMIN}\"\n[tokens]\nstore = \"{url}\"\n{more}"
    );
    Running::in_role(config(&text), role)
}

impl Fleet {
    /// Over the Redis at `url`.
    pub(crate) fn start(url: &str, proxies: usize, more: &str) -> Self {
        let name = |n: usize| format!("proxy-{n}");
        Self {
            issuer: process("issuer", url, more, Role::Issuer),
            proxies: (0..proxies).map(|n| process(&name(n), url, more, Role::Proxy)).collect(),
        }
    }

    /// A serial console of `server` at a proxy; or the refusal's status.
    pub(crate) async fn open(&self, proxy: usize, server: &str) -> Result<Socket, u16> {
        let token = self.issuer.token(server, Protocol::Serial).await;
        let mut socket = open(&self.proxies[proxy].ws(&token), &[]).await?.0;
        viewer::echo(&mut socket, b"login: ").await;
        Ok(socket)
    }
}

/// The admin listener's answer.
pub(crate) async fn admin(at: SocketAddr, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let headers = format!("Authorization: Bearer {ADMIN}\r\n");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = http(at, method, path, &headers, &body).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// The sessions that a process lists.
pub(crate) async fn sessions(at: SocketAddr) -> Vec<Value> {
    let (status, listed) = admin(at, "GET", "/v1/sessions", &Value::Null).await;
    assert_eq!((status, &listed["complete"]), (200, &json!(true)), "{listed}");
    listed["sessions"].as_array().unwrap().clone()
}

/// Waits until a process lists so many.
pub(crate) async fn until_listed(at: SocketAddr, count: usize) -> Vec<Value> {
    let look = async {
        loop {
            let listed = sessions(at).await;
            if listed.len() == count {
                return listed;
            }
        }
    };
    within(&format!("{count} sessions"), look).await
}

/// `POST /console/v1/tokens/revoke` at the issuer.
pub(crate) async fn revoke(fleet: &Fleet, body: &Value) -> Value {
    let headers = format!("X-Auth-Token: {ADMIN_TOKEN}\r\nContent-Type: application/json\r\n");
    let path = "/console/v1/tokens/revoke";
    let answer = http(fleet.issuer.at.api, "POST", path, &headers, &body.to_string()).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<Value>(body).unwrap()["revoked"].clone()
}
