//! Coming back after a dropped connection or a reload: the cookie that the 101 sets, and what becomes of it.
//!
//! A token opens one console, once, and a page that reconnects uses the same URL. So the 101 brings a secret in a
//! cookie that only this URL's requests carry; whoever brings it back within the grace takes the session over, the
//! half-dead connection that may still hold it included. The store has the secret's hash (`tokens/resume.rs`).
//!
//! Each time the secret is a fresh one. The cookie's name is HMAC-SHA256 of a fixed text under the token itself, in
//! 16 hex digits: every proxy finds it, without a key that a fleet would have to share, and it tells nothing of the
//! token or of the hash the store has it under.

use std::pin::pin;
use std::sync::{Arc, Once};
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Uri};
use tokio::task::JoinSet;
use tracing::{debug, info};

use crate::config::{self, TokenFormat};
use crate::ids::Protocol;
use crate::relay::End;
use crate::tokens::{Grant, Keep, Offer, Token, TokenKey};

use super::Proxy;
use super::session::Session;
use super::sessions::Sessions;

/// How often the store hears that a session still lives.
pub const RENEW: Duration = Duration::from_secs(20);

/// How much longer than the grace the store keeps a live session's viewer in mind: two renewals may fail. After a
/// proxy's sudden death its viewers have this much more time.
const SLACK: Duration = Duration::from_secs(60);

/// Sessions whose renewals are under way at the same time.
const BATCH: usize = 64;

/// Whether viewers may come back, and with what cookie.
#[derive(Debug)]
pub(super) struct Policy {
    settings: Option<config::Resume>,
    /// The secret never crosses a network in the clear.
    scope: Scope,
    attributes: &'static str,
    /// The public URL's path, without a slash at its end.
    prefix: String,
    said: Once,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Everybody,
    Loopback,
    Nobody,
}

/// What a viewer brings of an earlier time, and would be given.
#[derive(Debug)]
pub(super) struct Visit {
    /// The hash of the secret it has.
    pub(super) brought: Option<TokenKey>,
    next: Token,
    name: String,
    path: String,
    attributes: &'static str,
    settings: config::Resume,
}

impl Policy {
    pub(super) fn new(settings: Option<config::Resume>, proxy: &config::Proxy) -> Self {
        let origin = proxy.public_origin();
        let (scheme, place) = origin.split_once("://").unwrap_or(("", &origin));
        let host = host_of(place);
        let loopback = match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost",
        };
        let scope = match scheme {
            "https" => Scope::Everybody,
            _ if loopback => Scope::Loopback,
            _ => Scope::Nobody,
        };
        let strange = |source: &String| match source.split_once("://") {
            Some((_, place)) => host_of(place) != host,
            None => !source.starts_with('\''),
        };
        let framed = proxy.frame_ancestors.iter().any(strange);
        let rest = proxy.public_url.split_once("://").map_or("", |(_, rest)| rest);
        let prefix = rest.find('/').map_or("", |at| &rest[at..]).trim_end_matches('/').to_owned();
        Self {
            settings,
            scope,
            // A Strict cookie is not sent from inside a dashboard's frame.
            attributes: if framed { "SameSite=None; Partitioned" } else { "SameSite=Strict" },
            prefix,
            said: Once::new(),
        }
    }

    /// The time a viewer has to come back, if it may.
    fn grace(&self) -> Duration {
        self.settings.map_or(Duration::ZERO, |settings| settings.grace)
    }

    /// What this request has to do with coming back: `None`, if it is off for it.
    pub(super) fn visit(
        &self,
        token: &Token,
        (uri, headers): (&Uri, &HeaderMap),
        source: std::net::IpAddr,
    ) -> Option<Visit> {
        let settings = self.settings?;
        let allowed = match self.scope {
            Scope::Everybody => true,
            Scope::Loopback => source.is_loopback(),
            Scope::Nobody => false,
        };
        if !allowed {
            self.said.call_once(|| {
                info!(
                    "over plain HTTP only loopback resumes: viewers whose connection drops need a new link"
                );
            });
            return None;
        }
        let path = if uri.path().starts_with(&self.prefix) {
            uri.path().to_owned()
        } else {
            format!("{}{}", self.prefix, uri.path())
        };
        // What would end the attribute; no console's URL has it.
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            return None;
        }
        let name = token.resume_name();
        let brought = cookie(headers, &name).and_then(|value| Token::parse(value).ok());
        Some(Visit {
            brought: brought.map(|secret| secret.key()),
            // Without randomness there would be no nonces either; such a viewer may not come back.
            next: Token::generate(TokenFormat::Base64Url).ok()?,
            name,
            path,
            attributes: self.attributes,
            settings,
        })
    }
}

impl Visit {
    /// The hash of the secret that the viewer is given.
    pub(super) fn next(&self) -> TokenKey {
        self.next.key()
    }

    /// What a store is told at the token's confirm. A SPICE viewer's channels would each take the others over,
    /// and MKS has no client that asks again.
    pub(super) fn offer(&self, grant: &Grant, longest: Option<Duration>) -> Option<Offer> {
        let (Protocol::Vnc | Protocol::Serial) = grant.protocol else { return None };
        Some(Offer { secret: self.next(), times: self.settings.times, window: self.window(), longest })
    }

    /// How long the store keeps a viewer in mind whose session lives.
    pub(super) fn window(&self) -> Duration {
        self.settings.grace + SLACK
    }

    /// The `Set-Cookie` of the 101.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        let Self { next, name, path, attributes, .. } = self;
        let text = format!("{name}={}; Path={path}; HttpOnly; Secure; {attributes}", next.reveal());
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Host of `host[:port]`.
fn host_of(place: &str) -> &str {
    let place = place.split('/').next().unwrap_or(place);
    match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => place,
    }
}

/// The first cookie of this name: browsers send the one with the longest path first (RFC 6265 section 5.4).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Whether a viewer whose session ended so may come back: not around a limit, and not against somebody's will.
fn may_return(end: &End) -> bool {
    match end {
        End::TargetClosed | End::TargetFailed(_) | End::ViewerClosed | End::ViewerGone => true,
        // Who was cut off may come back through another proxy: the store knows what was revoked.
        End::Silent | End::Stalled(_) | End::Drain | End::Handshake(_) | End::CutOff => true,
        // Where it must be recorded it opens only if it can be.
        End::Recording => true,
        End::Idle | End::MaxSession | End::TakenOver | End::Revoked => false,
        End::ServerDeleted | End::ServerMoved | End::ServerRebuilt | End::ServerStopped => false,
        End::Protocol(_) | End::Control(_) | End::ViewOnly(_) | End::MainChannel => false,
    }
}

/// Waits until no session of this token is left here; ask for it to end first.
pub(super) async fn vacated(sessions: &Sessions, key: &TokenKey) {
    loop {
        let mut left = pin!(sessions.left());
        // From here on no leaving is missed.
        left.as_mut().enable();
        if !sessions.has(key) {
            return;
        }
        left.await;
    }
}

impl Proxy {
    /// Tells the store how long the ended session's viewer may come back, if at all.
    pub(super) async fn settle(&self, session: &Session, end: &End) {
        let Some(nonce) = session.comeback.get().copied() else { return };
        let (key, grant) = (session.key, Arc::clone(&session.grant));
        let told = if may_return(end) {
            self.store.keep(key, nonce, grant, self.resume.grace()).await.map(drop)
        } else {
            self.store.forget(key, nonce).await
        };
        if let Err(error) = told {
            debug!(%error, "how long the viewer may come back is left as it was");
        }
    }

    /// Tells the store of every live session whose viewer may come back, and ends those whose viewer has done so
    /// through another proxy.
    pub async fn renew(self: Arc<Self>) {
        let mut sessions =
            self.sessions.list().into_iter().filter(|session| session.comeback.get().is_some());
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < BATCH
                && let Some(session) = sessions.next()
            {
                under_way.spawn(Arc::clone(&self).renew_one(session));
            }
            if under_way.join_next().await.is_none() {
                return;
            }
        }
    }

    async fn renew_one(self: Arc<Self>, session: Arc<Session>) {
        let Some(nonce) = session.comeback.get().copied() else { return };
        // One that is about to end says so itself, and must not be contradicted.
        if session.is_stopped() {
            return;
        }
        let window = self.resume.grace() + SLACK;
        match self.store.keep(session.key, nonce, Arc::clone(&session.grant), window).await {
            Ok(Keep::Taken) => session.stop(End::TakenOver),
            Ok(Keep::Kept | Keep::Gone) => {}
            Err(error) => debug!(%error, session = %session.id, "not renewed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0fda3eca-8232-4249-9a62-550bce390258";
    const GRACE: config::Resume = config::Resume { grace: Duration::from_secs(60), times: 3 };

    fn policy(proxy: &str) -> Policy {
        let text = format!("[listen]\nallow_plain = true\n[proxy]\n{proxy}");
        let config = config::Config::parse(&text, std::path::Path::new("test.toml"));
        Policy::new(Some(GRACE), &config.unwrap_or_else(|error| panic!("{error}")).proxy)
    }

    fn visit(policy: &Policy, uri: &str, cookie: &str, source: &str) -> Option<Visit> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookie.parse().unwrap());
        let uri: Uri = uri.parse().unwrap();
        policy.visit(&Token::parse(TOKEN).unwrap(), (&uri, &headers), source.parse().unwrap())
    }

    #[test]
    fn the_cookie_is_named_by_the_token_and_bound_to_its_path() {
        let https = policy("public_url = \"https://console.example/gate\"");
        let found = visit(&https, "/gate/serial/?token=x", "a=b", "192.0.2.1").unwrap();
        assert_eq!(found.brought, None);
        let text = found.cookie().unwrap();
        assert!(text.is_sensitive());
        let text = text.to_str().unwrap();
        let (pair, attributes) = text.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/gate/serial/; HttpOnly; Secure; SameSite=Strict");
        let (name, secret) = pair.split_once('=').unwrap();
        let hex = name.strip_prefix("cg_resume_").unwrap();
        assert!(hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        assert_eq!(secret.len(), 43, "256 bits");
        let again =
            visit(&https, "/gate/?token=x", &format!("{name}0=x; a; {pair}; {name}=no"), "::1").unwrap();
        assert_eq!(again.brought, Some(Token::parse(secret).unwrap().key()));
        assert_ne!(again.next(), found.next(), "a fresh secret each time");
        let stripped = visit(&https, "/serial/", "", "::1").unwrap().cookie().unwrap();
        assert!(stripped.to_str().unwrap().contains("; Path=/gate/serial/;"), "as browsers see it");
        assert!(visit(&https, "/a;b/", "", "::1").is_none());
        assert!(!format!("{found:?}").contains(secret));
    }

    #[test]
    fn plain_http_is_for_loopback() {
        let local = policy("public_url = \"http://127.0.0.1:6080\"");
        assert!(visit(&local, "/", "", "127.0.0.1").is_some());
        assert!(visit(&local, "/", "", "192.0.2.1").is_none());
        for name in ["http://localhost:6080", "http://[::1]:6080"] {
            assert!(visit(&policy(&format!("public_url = \"{name}\"")), "/", "", "::1").is_some(), "{name}");
        }
        for name in ["http://console.example", "http://192.0.2.1:6080"] {
            assert!(visit(&policy(&format!("public_url = \"{name}\"")), "/", "", "::1").is_none(), "{name}");
        }
    }

    #[test]
    fn another_sites_frame_needs_a_cookie_that_is_sent_there() {
        let strict = |ancestors: &str| {
            let url = "public_url = \"https://console.example\"";
            policy(&format!("{url}\nframe_ancestors = [{ancestors}]")).attributes == "SameSite=Strict"
        };
        assert!(strict("") && strict("\"'self'\"") && strict("\"https://console.example:8443\""));
        assert!(!strict("\"'self'\", \"https://dashboard.example\"") && !strict("\"https://*.example\""));
    }

    #[test]
    fn nobody_comes_back_around_a_limit_or_against_a_will() {
        let returning = [End::ViewerGone, End::ViewerClosed, End::Drain, End::Silent, End::TargetClosed];
        assert!(returning.iter().all(may_return));
        let final_ones = [End::Idle, End::MaxSession, End::TakenOver, End::Revoked];
        assert!(!final_ones.iter().any(may_return));
    }
}
