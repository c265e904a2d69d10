//! The hubs of this process, by target: made by the first viewer, or at the start for lines that are always
//! captured, and ended when their target is another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, info};
use uuid::Uuid;

use crate::config::{Target, Viewers};
use crate::ids::{Generation, Protocol, TargetId};
use crate::targets::{ConnectError, DIAL, DialPolicy, Inventory, connect, reconnecting};

use super::drive::drive;
use super::{Hub, Watcher};

/// How long a viewer waits for the one who dials the line already, and then dials itself.
const TURN: Duration = Duration::from_secs(5);

/// Captured lines dialled at once: after a start all are, and terminal servers have hundreds each.
const AT_ONCE: usize = 32;

/// A line that is captured is dialled again for as long as it is one.
const FOR_EVER: Duration = Duration::from_secs(366 * 86_400);

/// All hubs.
#[derive(Debug)]
pub(in crate::proxy) struct Hubs {
    inventory: Arc<Inventory>,
    dial: DialPolicy,
    lines: Mutex<HashMap<TargetId, Arc<Line>>>,
    captures: Arc<Semaphore>,
}

/// One target's, whether there is a hub at the moment or not.
#[derive(Debug, Default)]
struct Line {
    hub: Mutex<Option<Arc<Hub>>>,
    /// Held by who dials.
    turn: tokio::sync::Mutex<()>,
}

impl Line {
    /// The hub as it is: of this generation, and not ended.
    fn hub(&self, generation: Generation) -> Option<Arc<Hub>> {
        let hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        let hub = hub.as_ref().filter(|hub| hub.generation == generation)?;
        (!hub.lock().ended).then(|| Arc::clone(hub))
    }
}

impl Hubs {
    pub(in crate::proxy) fn new(inventory: Arc<Inventory>, dial: DialPolicy) -> Arc<Self> {
        let captures = Arc::new(Semaphore::new(AT_ONCE));
        Arc::new(Self { inventory, dial, lines: Mutex::default(), captures })
    }

    /// A place at the target's hub, which is made if there is none.
    pub(in crate::proxy) async fn place(
        self: &Arc<Self>,
        target: &Target,
        generation: Generation,
        viewer: Uuid,
    ) -> Result<(Arc<Hub>, Watcher), ConnectError> {
        loop {
            let hub = self.hub(target, generation).await?;
            // It may have ended between the two; then there is another.
            if let Some(watcher) = hub.place(viewer) {
                return Ok((hub, watcher));
            }
        }
    }

    async fn hub(
        self: &Arc<Self>,
        target: &Target,
        generation: Generation,
    ) -> Result<Arc<Hub>, ConnectError> {
        let line = self.line(&target.id);
        if let Some(hub) = line.hub(generation) {
            return Ok(hub);
        }
        let turn = timeout(TURN, line.turn.lock()).await;
        let _turn = turn.map_err(|_| ConnectError::Timeout(target.id.to_string()))?;
        if let Some(hub) = line.hub(generation) {
            return Ok(hub);
        }
        let endpoint = target.endpoint(Protocol::Serial);
        let endpoint = endpoint.ok_or_else(|| ConnectError::NoAddress(target.id.to_string()))?;
        let stream = connect(endpoint, &self.dial).await?;
        let settings = target.serial_hub;
        let patience = target.serial_reconnect.filter(|_| !settings.capture);
        let stream = match patience.or(settings.capture.then_some(FOR_EVER)) {
            Some(patience) => reconnecting(stream, endpoint, &self.dial, patience),
            None => stream,
        };
        let abilities = (stream.breaker(), stream.resizer());
        let hub = Arc::new(Hub::new((target.id.clone(), generation), settings, abilities));
        let before = line.hub.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&hub));
        if let Some(before) = before {
            before.end();
        }
        info!(target = %target.id, capture = settings.capture, "a hub has begun");
        tokio::spawn(drive(Arc::clone(&hub), stream));
        Ok(hub)
    }

    fn line(&self, target: &TargetId) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lines.entry(target.clone()).or_default())
    }

    /// Looks after them all: ends those whose target is gone or another, and begins those that are always
    /// captured and are not there. To be called every few seconds, on a runtime that lasts.
    pub(in crate::proxy) fn tend(self: &Arc<Self>) {
        self.end_strangers();
        let captured = |target: &Target| target.serial_hub.capture && wants_hub(target);
        for entry in self.inventory.select(captured) {
            let target = &entry.target;
            let line = self.line(&target.id);
            if line.hub(entry.generation).is_some() || line.turn.try_lock().is_err() {
                continue;
            }
            // What gets no turn now gets it with a later look.
            let Ok(permit) = Arc::clone(&self.captures).try_acquire_owned() else { return };
            let (hubs, entry) = (Arc::clone(self), Arc::clone(&entry));
            tokio::spawn(async move {
                let begun = timeout(DIAL + TURN, hubs.hub(&entry.target, entry.generation)).await;
                if let Ok(Err(error)) = begun {
                    debug!(target = %entry.target.id, %error, "a line to capture was not reached");
                }
                drop(permit);
            });
        }
    }

    fn end_strangers(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|target, line| {
            let entry = self.inventory.find(target);
            let entry = entry.filter(|entry| wants_hub(&entry.target));
            let hub = line.hub.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(hub) = hub.filter(|hub| !hub.lock().ended) else {
                // Nobody dials it either, for then there would be another reference.
                return Arc::strong_count(line) > 1;
            };
            let same = entry.is_some_and(|entry| entry.generation == hub.generation);
            if !same {
                hub.end();
            }
            same
        });
    }

    /// Ends all, for the process ends; or only those that nobody watches, for another process follows.
    pub(in crate::proxy) fn end_all(&self, watched: bool) {
        for line in self.lines.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if let Some(hub) = &*line.hub.lock().unwrap_or_else(PoisonError::into_inner)
                && (watched || hub.lock().places.is_empty())
            {
                hub.end();
            }
        }
    }
}

/// Whether the target's serial line has a hub, as it is now.
fn wants_hub(target: &Target) -> bool {
    target.serial.is_some() && target.serial_viewers == Viewers::Hub && target.console_ready()
}
