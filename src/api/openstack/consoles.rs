//! Consoles: `POST /servers/{id}/remote-consoles` (2.6 and above) and the older server actions.

use hyper::StatusCode;

use crate::auth::{Caller, policy};
use crate::config::{Dialect, Kind, Target};
use crate::ids::Protocol;
use crate::tokens::Options;

use super::super::Core;
use super::super::answer::Body;
use super::super::body::{Named, Sent};
use super::super::issue::{Ask, By};
use super::super::trail::Trail;
use super::super::url::Template;
use super::fault::Fault;
use super::microversion::Microversion;
use super::schema::{self, Field};
use super::servers;

const POLICY: &str = "os_compute_api:os-remote-consoles";

/// The versions at which the schema of `remote-consoles` changed.
const FIRST: Microversion = Microversion(6);
const MKS: Microversion = Microversion(8);
const SPICE_DIRECT: Microversion = Microversion(99);

const PROTOCOLS: &[&str] = &["vnc", "spice", "serial", "rdp", "mks"];
const TYPES: &[&str] = &["novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5", "webmks", "spice-direct"];

/// What all that make a console go by.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) core: &'a Core,
    pub(super) caller: &'a Caller,
    pub(super) version: Microversion,
    /// Below `/v2`.
    pub(super) legacy: bool,
}

/// `POST /servers/{id}/remote-consoles`.
pub(super) async fn create(
    at: Context<'_>,
    id: &str,
    body: &Sent,
    trail: &mut Trail<'_>,
) -> Result<Body, Fault> {
    let (protocols, types) = match at.version {
        version if version >= SPICE_DIRECT => (5, 7),
        version if version >= MKS => (5, 6),
        _ => (4, 5),
    };
    let protocol = Field { name: "protocol", one_of: &PROTOCOLS[..protocols] };
    let kind = Field { name: "type", one_of: &TYPES[..types] };
    let [protocol, kind] = match body.named() {
        Some(Named { outer: "remote_console", protocol: Some(a), kind: Some(b) })
            if protocol.one_of.contains(&a) && kind.one_of.contains(&b) =>
        {
            [a, b]
        }
        _ => schema::check(&body.value(), "remote_console", [&protocol, &kind], at.legacy)?,
    };
    let url = open(at, id, trail, |_| Offer::of(at.core, protocol, kind)).await?;
    let fields = [("protocol", protocol), ("type", kind), ("url", &url)];
    Ok(Body::texts(Some("remote_console"), &fields))
}

/// Whether `remote-consoles` is there at all in this version.
pub(super) fn is_created_at(version: Microversion) -> bool {
    version >= FIRST
}

/// One of the older actions, and the console types its schema knows.
struct Action {
    name: &'static str,
    protocol: &'static str,
    types: &'static [&'static str],
}

/// `os-getMKSConsole` was never nova's; it has the form of the others.
const ACTIONS: &[Action] = &[
    Action { name: "os-getVNCConsole", protocol: "vnc", types: &["novnc", "xvpvnc"] },
    Action { name: "os-getSPICEConsole", protocol: "spice", types: &["spice-html5"] },
    Action { name: "os-getRDPConsole", protocol: "rdp", types: &[] },
    Action { name: SERIAL_ACTION, protocol: "serial", types: &["serial"] },
    Action { name: "os-getMKSConsole", protocol: "mks", types: &["webmks"] },
];

/// Nova's and OTC's alike.
const SERIAL_ACTION: &str = "os-getSerialConsole";

/// `POST /servers/{id}/action`. Nova serves these up to 2.5; clients of OTC, and the SDK with the version it
/// negotiated, send them with any, so any will do.
pub(super) async fn action(
    at: Context<'_>,
    id: &str,
    body: &Sent,
    trail: &mut Trail<'_>,
) -> Result<Body, Fault> {
    let name = body.only_name().ok_or_else(Fault::malformed_body)?;
    let known = |action: &&Action| {
        action.name == name && (at.core.serves(Dialect::Openstack) || action.name == SERIAL_ACTION)
    };
    let action = ACTIONS
        .iter()
        .find(known)
        .ok_or_else(|| Fault::bad_request("no-action", format!("There is no such action: {name}")))?;
    let kind = match action.types {
        // RDP went with nova 29; its schema takes anything, and the answer is always the same.
        [] => "rdp-html5",
        types => match body.named() {
            Some(Named { protocol: None, kind: Some(kind), .. }) if types.contains(&kind) => kind,
            _ => {
                let field = Field { name: "type", one_of: types };
                let [kind] = schema::check(&body.value(), action.name, [&field], at.legacy)?;
                kind
            }
        },
    };
    let offer = |target: &Target| {
        let otc =
            action.name == SERIAL_ACTION && target.kind == Kind::Baremetal && at.core.serves(Dialect::Otc);
        match otc {
            true => {
                let template = &at.core.settings.urls.otc_serial;
                let options = Options::default();
                Ok(Offer { dialect: Dialect::Otc, protocol: Protocol::Serial, template, options })
            }
            false => Offer::of(at.core, action.protocol, kind),
        }
    };
    let url = open(at, id, trail, offer).await?;
    Ok(Body::texts(Some("console"), &[("type", kind), ("url", &url)]))
}

/// A console type we can give out.
struct Offer<'a> {
    /// Whose URL and lifetime it has.
    dialect: Dialect,
    protocol: Protocol,
    template: &'a Template,
    options: Options,
}

impl<'a> Offer<'a> {
    /// What serves this pair, if it is a pair and has a URL template.
    fn of(core: &'a Core, protocol: &str, kind: &str) -> Result<Self, Fault> {
        let urls = &core.settings.urls;
        let invalid = || Err(Fault::bad_request("bad-pair", format!("Invalid console type {kind}")));
        let (protocol, template) = match (protocol, kind) {
            ("vnc", "novnc") => (Protocol::Vnc, Some(&urls.openstack_novnc)),
            ("serial", "serial") => (Protocol::Serial, Some(&urls.openstack_serial)),
            ("spice", "spice-html5") => (Protocol::Spice, urls.openstack_spice.as_ref()),
            // The native protocol needs a proxy of its own, which asks us where a token leads.
            ("spice", "spice-direct") => (Protocol::Spice, urls.openstack_spice_direct.as_ref()),
            ("mks", "webmks") => (Protocol::Mks, urls.openstack_mks.as_ref()),
            ("rdp", _) => return Err(unavailable("rdp")),
            _ => return invalid(),
        };
        let template = template.ok_or_else(|| unavailable(kind))?;
        let options = Options { direct: kind == "spice-direct", ..Options::default() };
        Ok(Self { dialect: Dialect::Openstack, protocol, template, options })
    }
}

fn unavailable(kind: &str) -> Fault {
    Fault::bad_request("not-offered", format!("Unavailable console type {kind}."))
}

/// From a checked body to a URL: the server, the policy, the type, then the server's state and abilities.
async fn open<'a>(
    at: Context<'a>,
    id: &str,
    trail: &mut Trail<'_>,
    offer: impl FnOnce(&Target) -> Result<Offer<'a>, Fault>,
) -> Result<String, Fault> {
    let entry = servers::find(at.core, at.caller, id)?;
    if !policy::may_open_console(at.caller, &entry.target.project) {
        return Err(Fault::forbidden(POLICY));
    }
    let Offer { dialect, protocol, template, options } = offer(&entry.target)?;
    (trail.dialect, trail.protocol) = (dialect, Some(protocol));
    let ask = Ask {
        request: trail.request,
        entry: &entry,
        protocol,
        by: By::Caller(at.caller),
        via: trail.via(),
        ttl: at.core.settings.lifetimes.get(&dialect).copied(),
        options,
        template,
    };
    let issued = at.core.issue(&ask).await.map_err(|error| {
        // The lifetime is our own configuration's; a caller can neither choose nor mend it.
        let fault = Fault::issue(&error, id);
        let ours = fault.cause == "lifetime";
        if ours { Fault::new(StatusCode::INTERNAL_SERVER_ERROR, fault.cause, fault.message) } else { fault }
    })?;
    Ok(trail.issued(issued))
}
