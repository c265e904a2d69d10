//! What becomes of consoles when their server changes.

use crate::config::State;
use crate::targets::{Entry, Inventory};
use crate::tokens::{Grant, Why};

/// Why the consoles of a server end that has become `entry`; `None` is a server that is gone.
pub fn why(entry: Option<&Entry>) -> Why {
    match entry.map(|entry| (entry.target.state, entry.target.console_ready())) {
        None | Some((State::Deleting, _)) => Why::Deleted,
        Some((State::Building, _)) => Why::Rebuilt,
        // The power state of bare metal ends nothing: watching it is what its console is for.
        Some((State::Stopped, false)) => Why::Stopped,
        Some((State::Stopped | State::Active | State::Migrating, _)) => Why::Moved,
    }
}

/// Why a console that was opened with `grant` has to end, if it has to.
pub fn void(inventory: &Inventory, grant: &Grant) -> Option<Why> {
    let entry = inventory.find(&grant.target);
    let same = entry.as_deref().is_some_and(|entry| {
        entry.generation == grant.generation
            && entry.target.project == grant.project
            && entry.target.console_ready()
    });
    (!same).then(|| why(entry.as_deref()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::target_from_json;
    use crate::tokens::contract;

    use super::*;

    #[test]
    fn each_change_has_its_reason_and_the_power_of_bare_metal_is_none() {
        let inventory = Inventory::default();
        let become_ = |document: Value| {
            let mut document = document;
            document["id"] = json!("a");
            document["project"] = json!("p");
            inventory.replace(vec![target_from_json(&document).unwrap()]);
        };
        let vnc = |port: u16| format!("tcp://127.0.0.1:{port}");
        for (kind, state, port, expected) in [
            ("vm", "active", 1, None),
            ("vm", "active", 2, Some(Why::Moved)),
            ("vm", "stopped", 1, Some(Why::Stopped)),
            ("vm", "building", 1, Some(Why::Rebuilt)),
            ("vm", "migrating", 1, Some(Why::Moved)),
            ("vm", "deleting", 1, Some(Why::Deleted)),
            ("baremetal", "stopped", 1, None),
            ("baremetal", "stopped", 2, Some(Why::Moved)),
            ("baremetal", "building", 1, Some(Why::Rebuilt)),
        ] {
            become_(json!({"kind": kind, "vnc": vnc(1)}));
            let generation = inventory.find(&"a".into()).unwrap().generation;
            let grant = Grant { target: "a".into(), project: "p".into(), generation, ..contract::grant() };
            become_(json!({"kind": kind, "state": state, "vnc": vnc(port)}));
            assert_eq!(void(&inventory, &grant), expected, "{kind} {state} {port}");
            inventory.replace(vec![]);
            assert_eq!(void(&inventory, &grant), Some(Why::Deleted));
        }
    }
}
