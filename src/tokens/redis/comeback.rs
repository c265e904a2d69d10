//! What the shared store keeps of a spent token while its viewer may come back.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use crate::tokens::{Grant, Keep, LEASE, Nonce, Offer, Resumed, StoreError, TokenKey};

use super::call::Call;
use super::names::TokenNames;
use super::script::Step;
use super::{SLACK, Steps, ms, parse, strange, word, words};

/// How much longer than it has to be a live session's token is noted where revocations look.
const AHEAD: Duration = Duration::from_secs(600);

/// A confirm that says how the viewer may come back.
pub(super) fn confirm(key: &TokenKey, nonce: Nonce, offer: &Offer) -> Call {
    // 0 is no limit; a session that may last no time at all lasts a millisecond.
    let longest = offer.longest.map_or(0, |longest| ms(longest).max(1));
    let confirm = Call::token(Step::Confirm, key, 3).nonce(nonce).hash(&offer.secret);
    confirm.number(offer.times).number(ms(offer.window)).number(longest)
}

pub(super) fn resume(key: &TokenKey, [brought, next]: [TokenKey; 2], nonce: Nonce) -> Call {
    let resume = Call::token(Step::Resume, key, 3).hash(&brought).hash(&next).nonce(nonce);
    resume.number(ms(LEASE)).number(ms(SLACK))
}

pub(super) fn kept(answer: Value) -> Result<Option<Arc<Grant>>, StoreError> {
    match answer {
        Value::Nil => Ok(None),
        grant => Ok(Some(Arc::new(parse(&word(grant)?)?))),
    }
}

/// `noted`: for how long from now it was just put where revocations look.
pub(super) fn keep(key: &TokenKey, nonce: Nonce, window: Duration, noted: Duration) -> Call {
    let keep = Call::token(Step::Keep, key, 3).nonce(nonce);
    keep.number(ms(window)).number(ms(SLACK)).number(ms(noted))
}

/// `None`: it has to be noted for longer first.
pub(super) fn how_kept(answer: Value) -> Result<Option<Keep>, StoreError> {
    match word(answer)?.as_str() {
        "kept" => Ok(Some(Keep::Kept)),
        "taken" => Ok(Some(Keep::Taken)),
        "gone" => Ok(Some(Keep::Gone)),
        "unnoted" => Ok(None),
        other => Err(strange(other)),
    }
}

impl Steps {
    pub(super) fn back(&self, answer: Value) -> Result<Option<Resumed>, StoreError> {
        let answer = words(answer)?;
        let answer: Vec<&str> = answer.iter().map(String::as_str).collect();
        match answer[..] {
            ["resumed", grant, longest] => {
                let longest = if longest.is_empty() { None } else { Some(longest.parse().map_err(strange)?) };
                let grant = Arc::new(parse(grant)?);
                Ok(Some(Resumed { grant, longest: longest.map(Duration::from_millis) }))
            }
            ["refused"] => Ok(None),
            ["fenced"] => {
                self.count_fenced("resume");
                Ok(None)
            }
            _ => Err(strange("an unknown answer to a resume")),
        }
    }

    /// Where revocations look it stands as long: noted first, so that it is never kept without being found; and well
    /// ahead, so that this is needed once in a while.
    pub(super) async fn keep_noted(
        &self,
        key: &TokenKey,
        nonce: Nonce,
        grant: &Grant,
        window: Duration,
    ) -> Result<Keep, StoreError> {
        let noted = window + AHEAD;
        self.note(&TokenNames::new(key), grant, noted).await?;
        let kept = how_kept(self.ask(keep(key, nonce, window, noted)).await?)?;
        kept.ok_or_else(|| strange("a token that was noted and is not"))
    }
}
