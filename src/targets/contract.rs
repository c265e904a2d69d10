//! What every registrar keeps, whoever it is: run over the database and over the shared inventory.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{Target, target_from_json};
use crate::ids::TargetId;

use super::registrar::{Change, Expected, Registrar, RegistryError};
use super::registry::Registry;

/// A process with its registrar, and the target of [`in_file`] in a file.
pub(crate) struct Member {
    pub(crate) registry: Arc<Registry>,
    pub(crate) registrar: Arc<dyn Registrar>,
}

/// What every member has in a file.
pub(crate) fn in_file() -> Target {
    target("in-file", &json!({}))
}

/// A target with these settings.
pub(crate) fn target(id: &str, more: &Value) -> Target {
    let mut document = json!({"id": id, "project": "p"});
    more.as_object().unwrap().iter().for_each(|(key, value)| document[key] = value.clone());
    target_from_json(&document).unwrap()
}

fn vnc(port: u16) -> Value {
    json!({"vnc": format!("tcp://127.0.0.1:{port}")})
}

impl Member {
    pub(crate) async fn put(&self, target: Target) -> Result<Change, RegistryError> {
        self.registrar.put(target, Expected::Anything).await
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<Change, RegistryError> {
        self.registrar.remove(id.into(), Expected::Anything).await
    }

    pub(crate) fn revision(&self, id: &str) -> Expected {
        Expected::Revision(self.registry.revision(&id.into()).unwrap())
    }

    /// Where its VNC console is.
    pub(crate) fn place(&self, id: &str) -> Option<String> {
        let entry = self.registry.inventory().find(&TargetId::from(id))?;
        entry.target.vnc.as_ref().map(ToString::to_string)
    }
}

/// Each change is in force when it is answered, says what it did, and is made only on what was expected.
pub(crate) async fn changes(member: &Member) {
    let change = |created, void| Change { created, void };
    let put = async |target| member.put(target).await.unwrap();
    assert_eq!(put(target("a", &vnc(1))).await, change(true, false));
    assert_eq!(put(target("a", &vnc(1))).await, change(false, false));
    assert_eq!(put(target("a", &vnc(2))).await, change(false, true), "it is elsewhere");
    assert_eq!(member.place("a").as_deref(), Some("tcp://127.0.0.1:2"));
    let mut stopped = vnc(2);
    stopped["state"] = "stopped".into();
    assert_eq!(put(target("a", &stopped)).await, change(false, true), "it has no console now");
    assert_eq!(put(target("a", &vnc(2))).await, change(false, false));
    // With an expectation.
    let old = member.revision("a");
    let put = async |target, expected| member.registrar.put(target, expected).await;
    assert!(put(target("a", &vnc(3)), old.clone()).await.is_ok());
    for wrong in [old.clone(), Expected::Nothing] {
        let refused = put(target("a", &vnc(4)), wrong.clone()).await;
        assert!(matches!(refused, Err(RegistryError::Differs)), "{wrong:?} {refused:?}");
        if wrong == old {
            let refused = member.registrar.remove("a".into(), wrong).await;
            assert!(matches!(refused, Err(RegistryError::Differs)), "{refused:?}");
        }
    }
    assert_eq!(member.place("a").as_deref(), Some("tcp://127.0.0.1:3"), "what was refused did nothing");
    assert!(put(target("a", &vnc(3)), Expected::Something).await.is_ok());
    for absent in [Expected::Something, old] {
        assert!(matches!(put(target("b", &vnc(1)), absent).await, Err(RegistryError::Differs)));
    }
    assert!(put(target("b", &vnc(1)), Expected::Nothing).await.unwrap().created);
    // And gone.
    let now = member.revision("b");
    assert_eq!(member.registrar.remove("b".into(), now).await.unwrap(), change(false, true));
    assert_eq!(member.place("b"), None);
    assert!(matches!(member.remove("b").await, Err(RegistryError::Unknown)));
    assert!(matches!(member.remove("in-file").await, Err(RegistryError::InFile)));
    assert!(put(target("b", &vnc(1)), Expected::Nothing).await.unwrap().created, "it may come back");
    assert_eq!(member.remove("a").await.unwrap(), change(false, true));
    member.remove("b").await.unwrap();
}

/// Of many who expect the same revision one changes it.
pub(crate) async fn races(member: &Member) {
    member.put(target("raced", &vnc(1))).await.unwrap();
    for _ in 0..5 {
        let before = member.revision("raced");
        let racers = (10..18).map(|port| {
            let (registrar, expected) = (Arc::clone(&member.registrar), before.clone());
            tokio::spawn(async move { registrar.put(target("raced", &vnc(port)), expected).await })
        });
        let mut won = 0;
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                Ok(_) => won += 1,
                Err(RegistryError::Differs) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(won, 1);
    }
    member.remove("raced").await.unwrap();
}

/// Leaves some targets.
pub(crate) async fn kept(member: &Member) -> Vec<Target> {
    let full = json!({
        "name": "n", "kind": "baremetal", "zone": "z", "vnc": "tcp://h:1", "serial": "telnet://h:2",
        "serial_line": {"baud": 9600}, "vnc_security": {"types": ["vnc"], "password": "opensesa"},
    });
    let kept = [target("kept-1", &vnc(1)), target("kept-2", &full), target("kept-3", &json!({}))];
    for target in &kept {
        member.put(target.clone()).await.unwrap();
    }
    member.put(target("dropped", &vnc(1))).await.unwrap();
    member.remove("dropped").await.unwrap();
    kept.to_vec()
}

/// They are there, and no others, at a member that was started after that.
pub(crate) fn again(member: &Member, kept: &[Target]) {
    let all = member.registry.inventory().all();
    let mut expected = kept.to_vec();
    expected.push(in_file());
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(
        all.iter().map(|entry| &entry.target).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
}
