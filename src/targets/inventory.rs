//! The servers known now: an immutable snapshot, replaced whole. Readers never wait for a reload.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

use crate::config::{Endpoint, Kind, Target};
use crate::ids::{Generation, ProjectId, TargetId};

/// One server as the inventory holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The server.
    pub target: Target,
    /// Its incarnation: a grant is good for this one only.
    pub generation: Generation,
}

/// What a replacement did, ids in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Not there before.
    pub added: Vec<TargetId>,
    /// There before and after, with something different.
    pub changed: Vec<TargetId>,
    /// Those of `changed` with another generation: their grants are void.
    pub moved: Vec<TargetId>,
    /// No longer there: their grants are void.
    pub removed: Vec<TargetId>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// All servers, found by id or by project and name.
#[derive(Debug, Default)]
pub struct Inventory(ArcSwap<Snapshot>);

#[derive(Debug, Default)]
struct Snapshot {
    by_id: HashMap<TargetId, Arc<Entry>>,
    by_project: HashMap<ProjectId, Project>,
}

/// One project's servers, by name and then id, so that equal names are neighbours.
#[derive(Clone, Debug)]
struct Project(Arc<[Arc<Entry>]>);

impl Inventory {
    /// An inventory of `targets`. Their ids are unique, as configuration sees to; else the last counts.
    pub fn new(targets: Vec<Target>) -> Self {
        Self(ArcSwap::from_pointee(Snapshot::new(targets)))
    }

    /// The server of that id, whoever's it is.
    pub fn find(&self, id: &TargetId) -> Option<Arc<Entry>> {
        self.0.load().by_id.get(id).cloned()
    }

    /// The server of that id, as somebody wrote it.
    pub fn look_up(&self, id: &str) -> Option<Arc<Entry>> {
        self.0.load().by_id.get(id).cloned()
    }

    /// The servers of that name within a project; names need not be unique.
    pub fn find_by_name(&self, project: &ProjectId, name: &str) -> Vec<Arc<Entry>> {
        let snapshot = self.0.load();
        let Some(Project(entries)) = snapshot.by_project.get(project) else {
            return Vec::new();
        };
        let first = entries.partition_point(|entry| entry.target.name.as_str() < name);
        entries[first..].iter().take_while(|entry| entry.target.name == name).cloned().collect()
    }

    /// A project's servers, by name and then id.
    pub fn list(&self, project: &ProjectId) -> Arc<[Arc<Entry>]> {
        self.0.load().by_project.get(project).map_or_else(Arc::default, |Project(entries)| entries.clone())
    }

    /// How many servers there are.
    pub fn len(&self) -> usize {
        self.0.load().by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts `targets` in the place of all there were and says what that changed. Of callers at the same time
    /// each sees the changes against the one before it.
    pub fn replace(&self, targets: Vec<Target>) -> Changes {
        let new = Arc::new(Snapshot::new(targets));
        let old = self.0.swap(Arc::clone(&new));
        changes(&old, &new)
    }

    /// All servers, by id.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.0.load().by_id.values().cloned().collect();
        all.sort_unstable_by(|a, b| a.target.id.cmp(&b.target.id));
        all
    }

    /// The servers that `wanted` picks, in no order.
    pub fn select(&self, wanted: impl Fn(&Target) -> bool) -> Vec<Arc<Entry>> {
        self.0.load().by_id.values().filter(|entry| wanted(&entry.target)).cloned().collect()
    }

    /// Puts `target` in the place of the server of this id, or removes it. Only one caller at a time:
    /// [`super::Registry`] sees to it.
    pub(super) fn set(&self, id: &TargetId, target: Option<Target>) {
        let new = self.0.load().with(id, target);
        self.0.store(Arc::new(new));
    }
}

impl Snapshot {
    /// This one with one server changed; the others are shared, not copied.
    fn with(&self, id: &TargetId, target: Option<Target>) -> Self {
        let mut by_id = self.by_id.clone();
        let mut by_project = self.by_project.clone();
        let entry = target.map(|target| Arc::new(Entry { generation: generation(&target), target }));
        let old = match &entry {
            Some(entry) => by_id.insert(id.clone(), Arc::clone(entry)),
            None => by_id.remove(id),
        };
        if let Some(old) = old
            && let Some(Project(list)) = by_project.remove(&old.target.project)
        {
            let rest: Arc<[_]> = list.iter().filter(|other| other.target.id != *id).cloned().collect();
            if !rest.is_empty() {
                by_project.insert(old.target.project.clone(), Project(rest));
            }
        }
        if let Some(entry) = entry {
            let project = entry.target.project.clone();
            let list = by_project.get(&project).map(|Project(list)| list.to_vec()).unwrap_or_default();
            by_project.insert(project, Project::new(list.into_iter().chain([entry]).collect()));
        }
        Self { by_id, by_project }
    }

    fn new(targets: Vec<Target>) -> Self {
        let entry = |target: Target| Entry { generation: generation(&target), target };
        let by_id: HashMap<_, _> =
            targets.into_iter().map(|target| (target.id.clone(), Arc::new(entry(target)))).collect();
        let mut lists: HashMap<ProjectId, Vec<Arc<Entry>>> = HashMap::new();
        for entry in by_id.values() {
            lists.entry(entry.target.project.clone()).or_default().push(Arc::clone(entry));
        }
        let by_project = lists.into_iter().map(|(project, list)| (project, Project::new(list)));
        Self { by_project: by_project.collect(), by_id }
    }
}

impl Project {
    fn new(mut list: Vec<Arc<Entry>>) -> Self {
        list.sort_by(|a, b| (&a.target.name, &a.target.id).cmp(&(&b.target.name, &b.target.id)));
        Self(list.into())
    }
}

fn changes(old: &Snapshot, new: &Snapshot) -> Changes {
    let mut changes = Changes::default();
    for (id, after) in &new.by_id {
        match old.by_id.get(id) {
            None => changes.added.push(id.clone()),
            Some(before) if before == after => {}
            Some(before) => {
                changes.changed.push(id.clone());
                if before.generation != after.generation {
                    changes.moved.push(id.clone());
                }
            }
        }
    }
    changes.removed.extend(old.by_id.keys().filter(|id| !new.by_id.contains_key(*id)).cloned());
    for list in [&mut changes.added, &mut changes.changed, &mut changes.moved, &mut changes.removed] {
        list.sort_unstable();
    }
    changes
}

/// The incarnation of a server: the first 8 bytes of SHA-256 over id, project, kind and endpoints. A link
/// made for a server that was since removed and made anew elsewhere must not open what is there now; a new
/// name or power state leaves it the same machine.
pub fn generation(target: &Target) -> Generation {
    let mut hash = Sha256::new();
    let kind = match target.kind {
        Kind::Vm => "vm",
        Kind::Baremetal => "baremetal",
    };
    // Each field behind its length: no two different targets give the same bytes.
    let endpoint =
        |endpoint: &Option<Endpoint>| endpoint.as_ref().map(Endpoint::to_string).unwrap_or_default();
    let consoles = [&target.vnc, &target.serial, &target.spice, &target.mks].map(endpoint);
    let names = [target.id.as_str(), target.project.as_str(), kind];
    // Of a program the arguments are the address.
    let args = match &target.serial {
        Some(Endpoint::Command(program)) => program.args.as_slice(),
        _ => &[],
    };
    let consoles = consoles.iter().chain(args).map(String::as_str);
    for field in names.into_iter().chain(consoles) {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    Generation(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Config, State};

    /// A target as a file would give it; `more` are further lines.
    fn target(id: &str, project: &str, more: &str) -> Target {
        let text = format!("[[target]]\nid = \"{id}\"\nproject = \"{project}\"\n{more}");
        Config::parse(&text, Path::new("test.toml")).unwrap().targets.remove(0)
    }

    fn ids(list: &[Arc<Entry>]) -> Vec<&str> {
        list.iter().map(|entry| entry.target.id.as_str()).collect()
    }

    #[test]
    fn a_project_sees_its_own() {
        let inventory = Inventory::new(vec![
            target("3", "p", "name = \"b\""),
            target("2", "p", "name = \"b\""),
            target("1", "p", "name = \"c\""),
            target("4", "q", "name = \"b\""),
        ]);
        assert_eq!(ids(&inventory.list(&"p".into())), ["2", "3", "1"]);
        assert_eq!(ids(&inventory.list(&"q".into())), ["4"]);
        assert!(inventory.list(&"r".into()).is_empty());
        assert_eq!(ids(&inventory.find_by_name(&"p".into(), "b")), ["2", "3"]);
        assert_eq!(ids(&inventory.find_by_name(&"q".into(), "b")), ["4"]);
        assert!(inventory.find_by_name(&"q".into(), "c").is_empty());
        assert!(inventory.find_by_name(&"p".into(), "bb").is_empty());
        assert_eq!(inventory.find(&"4".into()).unwrap().target.project.as_str(), "q");
        assert_eq!(inventory.find(&"5".into()), None);
        assert_eq!(inventory.len(), 4);
    }

    #[test]
    fn a_replacement_says_what_it_did() {
        let vnc = "vnc = \"tcp://127.0.0.1:5901\"";
        let inventory = Inventory::new(vec![
            target("a", "p", vnc),
            target("b", "p", vnc),
            target("c", "p", ""),
            target("d", "p", ""),
        ]);
        let held = inventory.find(&"c".into()).unwrap();
        let mut stopped = target("a", "p", vnc);
        stopped.state = State::Stopped;
        let changes = inventory.replace(vec![
            stopped,
            target("b", "p", "vnc = \"tcp://127.0.0.1:5902\""),
            target("d", "p", ""),
            target("e", "p", ""),
        ]);
        let list = |ids: &[&str]| ids.iter().map(|id| TargetId::from(*id)).collect::<Vec<_>>();
        let expected = Changes {
            added: list(&["e"]),
            changed: list(&["a", "b"]),
            moved: list(&["b"]),
            removed: list(&["c"]),
        };
        assert_eq!(changes, expected);
        assert_eq!(inventory.find(&"c".into()), None);
        assert_eq!(held.target.id.as_str(), "c", "a reader keeps what it holds");
        let same = inventory.list(&"p".into()).iter().map(|entry| entry.target.clone()).collect();
        assert!(inventory.replace(same).is_empty());
    }

    #[test]
    fn a_generation_is_the_machine_and_its_place() {
        let base = target("a", "p", "vnc = \"tcp://10.0.0.1:1\"\nserial = \"unix:/s\"");
        let alike = "vnc = \"tcp://10.0.0.1:1\"\nserial = \"unix:/s\"\nname = \"n\"\nstate = \"stopped\"";
        assert_eq!(generation(&base), generation(&target("a", "p", alike)));
        let others = [
            target("b", "p", "vnc = \"tcp://10.0.0.1:1\"\nserial = \"unix:/s\""),
            target("a", "q", "vnc = \"tcp://10.0.0.1:1\"\nserial = \"unix:/s\""),
            target("a", "p", "vnc = \"tcp://10.0.0.1:2\"\nserial = \"unix:/s\""),
            target("a", "p", "vnc = \"tcp://10.0.0.1:1\"\nserial = \"unix:/t\""),
            target("a", "p", "vnc = \"tcp://10.0.0.1:1\""),
            target("a", "p", "serial = \"unix:/s\""),
            target("a", "p", "vnc = \"tcp://10.0.0.1:1\"\nserial = \"unix:/s\"\nspice = \"unix:/p\""),
            target("a", "p", "vnc = \"tcp://10.0.0.1:1\"\nserial = \"unix:/s\"\nmks = \"unix:/p\""),
            target("a", "p", "kind = \"baremetal\"\nvnc = \"tcp://10.0.0.1:1\"\nserial = \"unix:/s\""),
        ];
        let all: BTreeSet<u64> = others.iter().chain([&base]).map(|target| generation(target).0).collect();
        assert_eq!(all.len(), others.len() + 1);
    }

    #[test]
    fn a_generation_does_not_depend_on_the_build() {
        // sha256 of the length-prefixed fields "a", "p", "vm", "tcp://10.0.0.1:1", "", "", "", computed with Python.
        let target = target("a", "p", "vnc = \"tcp://10.0.0.1:1\"");
        assert_eq!(generation(&target), Generation(0xf578_8343_39e6_7a0e));
    }

    proptest! {
        /// However the inventory changes, old plus changes is new.
        #[test]
        fn changes_are_complete(before in any::<[Option<u8>; 6]>(), after in any::<[Option<u8>; 6]>()) {
            let base = target("a", "p", "");
            let make = |kinds: [Option<u8>; 6]| {
                kinds.into_iter().enumerate().filter_map(|(at, port)| port.map(|port| (at, port)))
                    .map(|(at, port)| Target {
                        id: at.to_string().into(),
                        vnc: Some(Endpoint::Unix(format!("/{}", port % 3).into())),
                        ..base.clone()
                    }).collect::<Vec<_>>()
            };
            let inventory = Inventory::new(make(before));
            let changes = inventory.replace(make(after));
            let mut ids: BTreeSet<TargetId> = make(before).into_iter().map(|target| target.id).collect();
            for id in &changes.removed {
                prop_assert!(ids.remove(id));
            }
            for id in &changes.added {
                prop_assert!(ids.insert(id.clone()));
            }
            prop_assert_eq!(ids, make(after).into_iter().map(|target| target.id).collect());
            for (at, (old, new)) in before.into_iter().zip(after).enumerate() {
                let differs = matches!((old, new), (Some(old), Some(new)) if old % 3 != new % 3);
                prop_assert_eq!(changes.changed.contains(&at.to_string().into()), differs);
                prop_assert_eq!(changes.moved.contains(&at.to_string().into()), differs);
            }
        }
    }
}
