//! `GET /os-console-auth-tokens/{token}`: where a token leads, for the cloud's administrators.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::auth::{Caller, policy};
use crate::config::{Endpoint, Permission};
use crate::tokens::Token;

use super::super::Core;
use super::fault::Fault;
use super::microversion::Microversion;

const POLICY: &str = "os_compute_api:os-console-auth-tokens";

/// The first version for all console types; before, only RDP was known, which nova no longer has.
const ALL_TYPES: Microversion = Microversion(31);

/// The first version that tells of native SPICE clients' TLS port.
const TLS_PORT: Microversion = Microversion(99);

/// Tells the server and its console's address. Looking does not use the token up.
pub(super) async fn show(
    core: &Core,
    caller: &Caller,
    version: Microversion,
    token: &str,
) -> Result<Value, Fault> {
    if version < ALL_TYPES {
        return Err(Fault::bare_bad_request("microversion"));
    }
    if !policy::holds(caller, Permission::ConsoleAuthTokens) {
        return Err(Fault::forbidden(POLICY));
    }
    let unknown = || Fault::new(StatusCode::NOT_FOUND, "no-token", "Token not found");
    let key = Token::parse(token).map_err(|_| unknown())?.key();
    let peek = core.store.peek(key).await.map_err(|_| Fault::unavailable("store"))?;
    let grant = peek.ok_or_else(unknown)?.grant;
    if !policy::may(caller, Permission::ConsoleAuthTokens, &grant.project) {
        return Err(unknown());
    }
    // The server may have gone or moved since: then the token opens nothing.
    let entry = core.inventory.find(&grant.target).filter(|entry| entry.generation == grant.generation);
    let entry = entry.ok_or_else(unknown)?;
    let (host, port) = match entry.target.endpoint(grant.protocol).ok_or_else(unknown)? {
        Endpoint::Tcp(host, port) | Endpoint::Tls(host, port, _) | Endpoint::Telnet(host, port, _) => {
            (Some(host.to_string()), *port)
        }
        // Nova's schema wants a number; a console without host and port has none.
        Endpoint::Unix(_) | Endpoint::Tty(..) | Endpoint::Command(_) => (None, 0),
    };
    let mut console = json!({
        "instance_uuid": grant.target,
        "host": host,
        "port": port,
        "internal_access_path": null,
    });
    if version >= TLS_PORT && grant.options.direct {
        // A target has one SPICE port, which is plain.
        console["tls_port"] = Value::Null;
    }
    Ok(json!({"console": console}))
}
