//! What the shared store keeps of a spent token while its viewer may come back.

use std::sync::Arc;
use std::time::Duration;

use crate::tokens::{Confirm, Grant, Keep, LEASE, Nonce, Offer, Resumed, StoreError, TokenKey};

use super::names::TokenNames;
use super::script::Step;
use super::{SLACK, Steps, hex, ms, parse, strange};

/// How much longer than it has to be a live session's token is noted where revocations look.
const AHEAD: Duration = Duration::from_secs(600);

/// What a confirm is told of the viewer's way back.
pub(super) fn arguments(offer: &Offer) -> [String; 4] {
    // 0 is no limit; a session that may last no time at all lasts a millisecond.
    let longest = offer.longest.map_or(0, |longest| ms(longest).max(1));
    [secret(&offer.secret), offer.times.to_string(), ms(offer.window).to_string(), longest.to_string()]
}

/// The hash in hexadecimal, as keys have it.
fn secret(hash: &TokenKey) -> String {
    TokenNames::new(hash).hash
}

impl Steps {
    pub(super) async fn resume(
        &self,
        names: &TokenNames,
        [brought, next]: [TokenKey; 2],
        nonce: Nonce,
    ) -> Result<Option<Resumed>, StoreError> {
        let mut resume = self.script(Step::Resume, names);
        resume.arg(secret(&brought)).arg(secret(&next)).arg(hex(nonce)).arg(ms(LEASE)).arg(ms(SLACK));
        let answer: Vec<String> = self.call(&resume).await?;
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

    pub(super) async fn kept(&self, names: &TokenNames) -> Result<Option<Arc<Grant>>, StoreError> {
        let found: Option<String> = self.call(&self.script(Step::Kept, names)).await?;
        found.map(|grant| parse(&grant).map(Arc::new)).transpose()
    }

    pub(super) async fn resumed(
        &self,
        names: &TokenNames,
        nonce: Nonce,
        window: Duration,
    ) -> Result<Confirm, StoreError> {
        let mut resumed = self.script(Step::Resumed, names);
        resumed.arg(hex(nonce)).arg(ms(window)).arg(ms(SLACK));
        match self.call::<String>(&resumed).await?.as_str() {
            "confirmed" => Ok(Confirm::Confirmed),
            "lost" => Ok(Confirm::Lost),
            other => Err(strange(other)),
        }
    }

    /// Where revocations look it stands as long: noted first, so that it is never kept without being found; and well
    /// ahead, so that this is one call nearly always.
    pub(super) async fn keep(
        &self,
        names: &TokenNames,
        nonce: Nonce,
        grant: &Grant,
        window: Duration,
    ) -> Result<Keep, StoreError> {
        for noted in [Duration::ZERO, window + AHEAD] {
            if !noted.is_zero() {
                self.note(names, grant, noted).await?;
            }
            let mut keep = self.script(Step::Keep, names);
            keep.arg(hex(nonce)).arg(ms(window)).arg(ms(SLACK)).arg(ms(noted));
            match self.call::<String>(&keep).await?.as_str() {
                "kept" => return Ok(Keep::Kept),
                "taken" => return Ok(Keep::Taken),
                "gone" => return Ok(Keep::Gone),
                "unnoted" => {}
                other => return Err(strange(other)),
            }
        }
        Err(strange("a token that was noted and is not"))
    }

    pub(super) async fn forget(&self, names: &TokenNames, nonce: Nonce) -> Result<(), StoreError> {
        let mut forget = self.script(Step::Forget, names);
        forget.arg(hex(nonce));
        self.call::<String>(&forget).await.map(drop)
    }
}
