//! `POST /console/v1/servers/{id}/consoles`: a console's URL, with what narrows it.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

use crate::auth::policy;
use crate::config::{Dialect, Permission, Record};
use crate::ids::{GrantId, Protocol};
use crate::json::{Fields, name};
use crate::tokens::{Options, Sharing};

use super::super::Core;
use super::super::answer::Body;
use super::super::issue::{Ask, By};
use super::super::page_template;
use super::super::trail::Trail;
use super::{Context, Refusal};

/// The body. Every field but the protocol may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    protocol: Protocol,
    /// Seconds.
    ttl: Option<u64>,
    #[serde(default)]
    view_only: bool,
    client_address: Option<IpAddr>,
    #[serde(default = "one")]
    uses: u64,
    #[serde(default)]
    record: WantedRecord,
    #[serde(default)]
    enforce_expiry: bool,
    viewers: Option<Sharing>,
}

/// `true` and `false` for short.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum WantedRecord {
    Flag(bool),
    Word(Record),
}

impl Default for WantedRecord {
    fn default() -> Self {
        Self::Flag(false)
    }
}

impl From<WantedRecord> for Record {
    fn from(wanted: WantedRecord) -> Self {
        match wanted {
            WantedRecord::Flag(false) => Self::Off,
            WantedRecord::Flag(true) => Self::On,
            WantedRecord::Word(word) => word,
        }
    }
}

fn one() -> u64 {
    1
}

/// Issues the URL; it is in this answer and nowhere else.
pub(super) async fn create<'a>(
    at: &Context<'_>,
    id: &'a str,
    wanted: &Wanted,
    trail: &mut Trail<'a>,
) -> Result<Body, Refusal> {
    let core = at.core;
    trail.target = Some(id);
    trail.protocol = Some(wanted.protocol);
    let entry = core.inventory.look_up(id);
    let entry = entry.filter(|entry| policy::may_see(at.caller, &entry.target.project));
    let entry = entry.ok_or_else(Refusal::no_server)?;
    if !policy::may(at.caller, Permission::NativeIssue, &entry.target.project) {
        return Err(Refusal::forbidden(Permission::NativeIssue));
    }
    let options = wanted.options(core)?;
    let protocol = wanted.protocol;
    let template = page_template(&core.settings.urls, protocol).ok_or_else(|| {
        Refusal::bad("not-offered", format!("No URL template is configured for {protocol} consoles."))
    })?;
    let ttl = match wanted.ttl {
        Some(seconds) => Duration::from_secs(seconds),
        None => core.settings.lifetimes.get(&Dialect::Native).copied().unwrap_or(core.settings.tokens.ttl),
    };
    let ask = Ask {
        request: trail.request,
        entry: &entry,
        protocol,
        by: By::Caller(at.caller),
        via: trail.via(),
        ttl: Some(ttl),
        options,
        template,
    };
    let issued = core.issue(&ask).await?;
    let (id, url) = (issued.grant, trail.issued(issued));
    let console = Console {
        id,
        url: &url,
        server_id: entry.target.id.as_str(),
        protocol,
        expires_in: ttl.as_secs(),
        view_only: options.view_only,
        enforce_expiry: options.enforce_expiry,
        client_address: options.client_address,
        viewers: options.viewers,
        record: core.recorded(&entry.target, protocol, &options),
    };
    Ok(console.body())
}

/// What was granted.
struct Console<'a> {
    id: GrantId,
    url: &'a str,
    server_id: &'a str,
    protocol: Protocol,
    /// Seconds.
    expires_in: u64,
    view_only: bool,
    enforce_expiry: bool,
    client_address: Option<IpAddr>,
    viewers: Option<Sharing>,
    record: Record,
}

impl Console<'_> {
    /// Made as a line of the log is: a serializer takes a thirtieth of the whole request more.
    fn body(&self) -> Body {
        // Room for one with a long URL.
        let mut text = String::with_capacity(512);
        text.push_str("{\"console\":{\"id\":\"");
        text.push_str(self.id.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        text.push('"');
        let mut fields = Fields(&mut text);
        fields.text(name!("url"), Some(self.url));
        fields.text(name!("server_id"), Some(self.server_id));
        fields.word(name!("protocol"), Some(self.protocol.as_str()));
        fields.number(name!("expires_in"), Some(self.expires_in));
        fields.flag(name!("view_only"), self.view_only);
        fields.flag(name!("enforce_expiry"), self.enforce_expiry);
        match self.client_address {
            None => fields.null(name!("client_address")),
            address => fields.address(name!("client_address"), address),
        }
        match self.viewers {
            None => fields.null(name!("viewers")),
            viewers => fields.word(name!("viewers"), viewers.map(Sharing::as_str)),
        }
        fields.number(name!("uses"), Some(1));
        fields.word(name!("record"), Some(self.record.as_str()));
        text.push_str("}}");
        text.into()
    }
}

impl Wanted {
    /// What the proxy will enforce; the rest is refused, never taken and forgotten.
    fn options(&self, core: &Core) -> Result<Options, Refusal> {
        if self.uses != 1 {
            return Err(Refusal::bad("uses", "A token works once: uses must be 1."));
        }
        let record = Record::from(self.record);
        if record != Record::Off {
            if core.settings.record.is_none() {
                return Err(Refusal::bad("record", "No place for recordings is configured here."));
            }
            if !matches!(self.protocol, Protocol::Serial | Protocol::Vnc) {
                let message = format!("{} consoles cannot be recorded.", self.protocol);
                return Err(Refusal::bad("record", message));
            }
        }
        if self.view_only && !matches!(self.protocol, Protocol::Serial | Protocol::Vnc) {
            let message = format!(
                "view_only is kept for VNC and serial consoles; {} input is not filtered.",
                self.protocol
            );
            return Err(Refusal::bad("view-only", message));
        }
        Ok(Options {
            view_only: self.view_only,
            enforce_expiry: self.enforce_expiry,
            client_address: self.client_address.map(|address| address.to_canonical()),
            record,
            direct: false,
            viewers: self.viewers,
        })
    }
}
