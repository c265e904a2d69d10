//! `[api]` and `[urls]`: which dialects are answered, for how long their links work, and how they look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::section::{Fault, Section};
use super::{Dialect, Tokens, Urls, units};

/// The dialects of this version; all are on unless the configuration says otherwise.
const DIALECTS: [Dialect; 6] = [
    Dialect::Openstack,
    Dialect::Otc,
    Dialect::HuaweiBms,
    Dialect::HuaweiClouddc,
    Dialect::HuaweiEcs,
    Dialect::Native,
];

/// `[api]`: the dialects that are on, and the lifetime of each one's tokens.
pub(super) fn api(section: Section<'_>, tokens: &Tokens) -> (BTreeSet<Dialect>, BTreeMap<Dialect, Duration>) {
    let dialects = section.texts("dialects", dialect);
    if section.clean() && dialects.as_ref().is_some_and(Vec::is_empty) {
        section.problem("dialects", "expected at least one dialect, \"openstack\", found an empty list");
    }
    let lifetimes = lifetimes(section.section("ttl"), tokens);
    section.finish();
    (dialects.map_or_else(|| DIALECTS.into(), |list| list.into_iter().collect()), lifetimes)
}

fn dialect(text: &str) -> Result<Dialect, Fault> {
    let known = DIALECTS.into_iter().find(|dialect| dialect.as_str() == text);
    let names = DIALECTS.map(|dialect| format!("\"{}\"", dialect.as_str()));
    known.ok_or_else(|| Fault::expected(&names.join(", ")))
}

/// `[api.ttl]`: one setting a dialect, `tokens.ttl` where none is written.
fn lifetimes(section: Section<'_>, tokens: &Tokens) -> BTreeMap<Dialect, Duration> {
    let mut lifetimes = BTreeMap::new();
    for dialect in DIALECTS {
        let ttl = section.text(dialect.as_str(), units::duration).unwrap_or(tokens.ttl);
        // The default's own mistake is told at tokens.ttl.
        if ttl > tokens.max_ttl && ttl != tokens.ttl {
            let max = humantime::format_duration(tokens.max_ttl);
            let message = format!("is longer than tokens.max_ttl, {max}; shorten it or raise that");
            section.problem(dialect.as_str(), message);
        }
        lifetimes.insert(dialect, ttl);
    }
    section.finish();
    lifetimes
}

/// `[urls]`: the defaults are the forms that clients, dashboards and the clouds' own documents know.
pub(super) fn urls(section: Section<'_>) -> Urls {
    let template =
        |key, default: &str| section.text(key, units::template).unwrap_or_else(|| default.to_owned());
    let urls = Urls {
        openstack_novnc: template("openstack_novnc", "{public_url}/vnc_lite.html?path=%3Ftoken%3D{token}"),
        openstack_serial: template("openstack_serial", "{public_ws_url}/?token={token}"),
        otc_serial: template("otc_serial", "{public_url}/?token={token}"),
        huawei_bms_serial: template(
            "huawei_bms_serial",
            "{public_url}/serial/{zone}.{region}/?token={token}",
        ),
        huawei_clouddc_vnc: template(
            "huawei_clouddc_vnc",
            "{public_url}/vnc/{zone}.{region}/vnc_auto.html?token={token}&compression=9&quality=0&resize=scale",
        ),
        huawei_ecs_vnc: template(
            "huawei_ecs_vnc",
            "{public_url}/vnc_auto.html?token={token}&lang=EN&tLength=70",
        ),
        openstack_spice: section.text("openstack_spice", units::template),
        openstack_spice_direct: section.text("openstack_spice_direct", units::template),
        openstack_mks: section.text("openstack_mks", units::template),
    };
    section.finish();
    urls
}
