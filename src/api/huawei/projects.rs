//! `GET /v3/projects` (IAM, "Querying Projects"): an SDK that was given no project id asks for it here, by the
//! name of its region, before its first call.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::auth::Caller;

use super::super::Core;

/// The caller's project, under the name that was asked for. With Huawei, a project of that name exists in each
/// region; here one project spans all regions, so any name is its own. Without a name: the regions of its servers.
pub(super) fn list(core: &Core, caller: &Caller, query: &str) -> Value {
    let value = |pair: &str| pair.strip_prefix("name=").map(|value| value.replace('+', " "));
    let asked = query.split('&').find_map(value).filter(|name| !name.is_empty());
    let names = match asked {
        Some(name) => BTreeSet::from([percent_decode_str(&name).decode_utf8_lossy().into_owned()]),
        None => {
            let servers = core.inventory.list(&caller.project);
            servers.iter().map(|entry| entry.target.region.clone()).collect()
        }
    };
    let project =
        |name: &String| json!({"id": caller.project, "name": name, "enabled": true, "is_domain": false});
    let projects: Vec<Value> = names.iter().map(project).collect();
    json!({"projects": projects, "links": {"self": null, "previous": null, "next": null}})
}
