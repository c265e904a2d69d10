//! Whether a session is recorded, and what of its opening is.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{Record, Target};
use crate::relay::record::{RecordError, Recorder, Recording, Wanted};

use super::Proxy;
use super::gate::Entered;
use super::greet;
use super::refusal::Refusal;
use super::sessions::Seat;

/// Begins the session's recording, if grant, target or configuration want one. The strictest of them decides.
pub(super) async fn begin(proxy: &Proxy, seat: &Seat, target: &Target) -> Result<Option<Recording>, Refusal> {
    let session = &seat.session;
    let protocol = session.grant.protocol;
    let by_default = || proxy.recorder.as_ref().map_or(Record::Off, Recorder::default_policy);
    let policy = target.record.unwrap_or_else(by_default).max(session.grant.options.record);
    if policy == Record::Off {
        return Ok(None);
    }
    let begun = match proxy.recorder.clone() {
        None => Err(RecordError::Unconfigured),
        Some(recorder) => {
            let grant = Arc::clone(&session.grant);
            let wanted = Wanted { session: session.id, grant, source: session.source, policy };
            // The disk decides how long this takes; other sessions of this worker must not wait for it.
            let begun = tokio::task::spawn_blocking(move || recorder.begin(&wanted)).await;
            begun.unwrap_or_else(|crash| Err(RecordError::Begin(crash.into())))
        }
    };
    match begun {
        Ok(recording) => {
            // Set nowhere else: the session is new.
            let _ = session.recorded.set(recording.running());
            Ok(Some(recording))
        }
        // What is said over SPICE and MKS has no form that could be played: only who insists is refused.
        Err(error) if may_go_on(proxy, policy, &error) => {
            tracing::warn!(session = %session.id, target = %session.grant.target, %error, "session not recorded");
            Ok(None)
        }
        Err(error) => Err(Refusal::Unrecorded(error, protocol)),
    }
}

fn may_go_on(proxy: &Proxy, policy: Record, error: &RecordError) -> bool {
    let unfit = matches!(error, RecordError::Protocol(_) | RecordError::Unconfigured);
    let tolerant = proxy.recorder.as_ref().is_none_or(|recorder| recorder.may_go_on(policy));
    policy != Record::Required && (unfit || tolerant)
}

/// What of the greeting is recorded, of security nothing; gives back what the target sent beyond it.
pub(super) fn greeting(entered: &Entered, greeting: greet::Viewed) -> Vec<u8> {
    if let Some(recording) = &entered.recording {
        let (mut tape, now) = (recording.tape(), Instant::now());
        tape.server_init(now, &greeting.server_init);
        tape.up(now, &greeting.sent);
    }
    greeting.early
}
