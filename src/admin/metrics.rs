//! `GET /metrics`: OpenMetrics text for Prometheus.

use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http_body_util::{Either, Full};

use crate::fleet::SharedInventory;
use crate::metrics::{self, Gauges};
use crate::proxy::Traffic;

use super::{Admin, Reply};

/// What was counted, and what is looked up now.
pub(super) fn respond(admin: &Admin, draining: bool) -> Reply {
    let Traffic { to_viewer, to_target, sessions } = admin.proxy.sessions().traffic();
    let now = Gauges {
        sessions,
        bytes_to_viewer: to_viewer,
        bytes_to_target: to_target,
        unauthenticated: admin.proxy.unauthenticated(),
        targets: admin.registry.inventory().len(),
        unusable_targets: admin.registry.unusable().len(),
        inventory_age: admin.inventory.as_ref().map(SharedInventory::age).unwrap_or_default(),
        draining,
        fenced: admin.roster.fenced(),
        audit: admin.audit.stats().map(|stats| (stats.lines, stats.lost, stats.waiting, stats.failing)),
    };
    let mut response = Reply::new(Either::Left(Full::from(admin.metrics.render(&now))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
