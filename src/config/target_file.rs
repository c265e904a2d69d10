//! `[[target]]` tables, in the configuration file or in the inventory's own file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::recording::{Record, record};
use super::section::{Fault, Section};
use super::serial_file;
use super::serial_hub;
use super::target::{Endpoint, Kind, Os, State, Target, Viewers};
use super::units;
use super::vnc_file::{self, vnc_security};

/// The targets read so far and where each was written.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) list: Vec<Target>,
    places: HashMap<String, String>,
    files: vnc_file::Files,
    /// There is no `[recording]`, so no target may ask for it. Where only targets are read, nobody knows.
    pub(super) cannot_be_recorded: bool,
}

impl Targets {
    /// Reads every `[[target]]` of `root`.
    pub(super) fn read(&mut self, root: &Section<'_>) {
        for section in root.sections("target") {
            let mut target = target(&section, &mut self.files);
            let record = recorded(&section, self.cannot_be_recorded);
            target.iter_mut().for_each(|target| target.record = record);
            if let Some(target) = target.filter(|target| self.first(&section, target)) {
                self.list.push(target);
            }
            section.finish();
        }
    }

    fn first(&mut self, section: &Section<'_>, target: &Target) -> bool {
        match self.places.entry(target.id.to_string()) {
            Entry::Vacant(vacant) => {
                vacant.insert(section.place());
                true
            }
            Entry::Occupied(other) => {
                section.problem("id", format!("the target {} is at {} already", target.id, other.get()));
                false
            }
        }
    }
}

fn target(section: &Section<'_>, files: &mut vnc_file::Files) -> Option<Target> {
    let id = section.required("id", units::id);
    let name = section.text("name", units::name);
    let project = section.required("project", units::id);
    let kind = section.text("kind", kind).unwrap_or(Kind::Vm);
    let state = section.text("state", state).unwrap_or(State::Active);
    let os = section.text("os", os).unwrap_or(Os::Linux);
    // The names of a default OpenStack installation; URL templates need some.
    let zone = section.text("zone", units::word).unwrap_or_else(|| "nova".to_owned());
    let region = section.text("region", units::word).unwrap_or_else(|| "RegionOne".to_owned());
    let vnc = section.text("vnc", units::endpoint);
    let (serial, serial_reconnect) = serial_file::read(section);
    let spice = section.text("spice", units::endpoint);
    let mks = section.text("mks", units::endpoint);
    let consoles = [("vnc", &vnc), ("serial", &serial), ("spice", &spice), ("mks", &mks)];
    for (at, (key, endpoint)) in consoles.iter().enumerate() {
        let same = consoles[..at].iter().find(|(_, other)| endpoint.is_some() && other == endpoint);
        if let Some((other, _)) = same {
            section.problem(key, format!("is the same endpoint as {other}; a console speaks one protocol"));
        }
    }
    let vnc_viewers = section.text("vnc_viewers", viewers).unwrap_or(Viewers::Share);
    let serial_viewers = section.text("serial_viewers", serial_viewers).unwrap_or(Viewers::Deny);
    if matches!(serial, Some(Endpoint::Tty(..))) && !matches!(serial_viewers, Viewers::Deny | Viewers::Hub) {
        // The second is dialled before the first is ended, so that a dead line takes nobody's console away.
        section.problem("serial_viewers", "a tty: is open once, so it takes \"deny\" or \"hub\" only");
    }
    if serial.is_none() && serial_viewers == Viewers::Hub {
        section.problem(
            "serial_viewers",
            "\"hub\" is for a target with a serial endpoint; add serial, or remove this",
        );
    }
    let serial_hub = serial_hub::read(section, serial_viewers);
    let vnc_view_only = section.flag("vnc_view_only").unwrap_or(false);
    let vnc_security = vnc_security(section.section("vnc_security"), vnc.as_ref(), files);
    let id = id?;
    Some(Target {
        name: name.unwrap_or_else(|| id.clone()),
        id: id.into(),
        project: project?.into(),
        kind,
        state,
        os,
        zone,
        region,
        vnc,
        serial,
        spice,
        mks,
        vnc_viewers,
        serial_viewers,
        serial_reconnect,
        serial_hub,
        vnc_view_only,
        record: None,
        vnc_security,
    })
}

fn recorded(section: &Section<'_>, cannot: bool) -> Option<Record> {
    let record = section.text("record", record)?;
    if cannot && record != Record::Off {
        section.problem("record", "needs a place for recordings; add [recording] with its directory");
    }
    if record == Record::Required && ["spice", "mks"].iter().any(|key| section.has(key)) {
        let message =
            "is \"required\", and SPICE and MKS consoles cannot be recorded; remove those, or make it \"on\"";
        section.problem("record", message);
    }
    Some(record)
}

fn kind(text: &str) -> Result<Kind, Fault> {
    match text {
        "vm" => Ok(Kind::Vm),
        "baremetal" => Ok(Kind::Baremetal),
        _ => Err(Fault::expected("\"vm\" or \"baremetal\"")),
    }
}

fn state(text: &str) -> Result<State, Fault> {
    match text {
        "active" => Ok(State::Active),
        "building" => Ok(State::Building),
        "deleting" => Ok(State::Deleting),
        "migrating" => Ok(State::Migrating),
        "stopped" => Ok(State::Stopped),
        _ => Err(Fault::expected("\"active\", \"building\", \"deleting\", \"migrating\" or \"stopped\"")),
    }
}

fn os(text: &str) -> Result<Os, Fault> {
    match text {
        "linux" => Ok(Os::Linux),
        "windows" => Ok(Os::Windows),
        _ => Err(Fault::expected("\"linux\" or \"windows\"")),
    }
}

fn viewers(text: &str) -> Result<Viewers, Fault> {
    match text {
        "deny" => Ok(Viewers::Deny),
        "steal" => Ok(Viewers::Steal),
        "share" => Ok(Viewers::Share),
        _ => Err(Fault::expected("\"deny\", \"steal\" or \"share\"")),
    }
}

fn serial_viewers(text: &str) -> Result<Viewers, Fault> {
    match text {
        "hub" => Ok(Viewers::Hub),
        _ => viewers(text).map_err(|_| Fault::expected("\"deny\", \"steal\", \"share\" or \"hub\"")),
    }
}
