//! What the memory store keeps of a spent token while its viewer may come back.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Confirm, Grant, Keep, LEASE, Nonce, Offer, Resumed, TokenKey};
use super::pack::PackedComeback;
use super::table::nanos;

/// Times are nanoseconds of the store's clock; of `holder` and secrets `tokens/resume.rs` tells the story.
#[derive(Debug)]
pub(super) struct Comeback {
    grant: Arc<Grant>,
    holder: Nonce,
    /// The holder has yet to open the console.
    pending: bool,
    current: TokenKey,
    previous: TokenKey,
    /// How often the viewer may still come back.
    left: u32,
    until: u64,
    ends: u64,
}

impl Comeback {
    pub(super) fn new(grant: &Arc<Grant>, holder: Nonce, offer: &Offer, now: u64) -> Self {
        Self {
            grant: Arc::clone(grant),
            holder,
            pending: false,
            current: offer.secret,
            previous: offer.secret,
            left: offer.times,
            until: now.saturating_add(nanos(offer.window)),
            ends: offer.longest.map_or(u64::MAX, |longest| now.saturating_add(nanos(longest))),
        }
    }

    pub(super) fn pack(&self, now: u64) -> PackedComeback {
        let left = |at: u64| Duration::from_nanos(at.saturating_sub(now));
        PackedComeback {
            grant: Arc::clone(&self.grant),
            holder: self.holder,
            pending: self.pending,
            current: self.current,
            previous: self.previous,
            left: self.left,
            until: left(self.until),
            ends: (self.ends != u64::MAX).then(|| left(self.ends)),
        }
    }

    /// `at` says when what was left is over.
    pub(super) fn unpack(packed: PackedComeback, at: impl Fn(Duration) -> u64) -> Self {
        let PackedComeback { grant, holder, pending, current, previous, left, until, ends } = packed;
        let (until, ends) = (at(until), ends.map_or(u64::MAX, at));
        Self { grant, holder, pending, current, previous, left, until, ends }
    }

    pub(super) fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    pub(super) fn until(&self) -> u64 {
        self.until
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.until || now >= self.ends
    }

    pub(super) fn resume(
        &mut self,
        (secret, next): (TokenKey, TokenKey),
        nonce: Nonce,
        now: u64,
    ) -> Option<Resumed> {
        if self.left == 0 || (secret != self.current && secret != self.previous) {
            return None;
        }
        self.previous = secret;
        self.current = next;
        (self.holder, self.pending) = (nonce, true);
        // A console that does not answer does not use up the viewer's time.
        self.until = self.until.max(now.saturating_add(nanos(LEASE)));
        let longest = (self.ends != u64::MAX).then(|| Duration::from_nanos(self.ends - now));
        Some(Resumed { grant: Arc::clone(&self.grant), longest })
    }

    pub(super) fn resumed(&mut self, nonce: Nonce, window: Duration, now: u64) -> Confirm {
        if self.holder != nonce {
            return Confirm::Lost;
        }
        if std::mem::take(&mut self.pending) {
            self.left -= 1;
            self.until = now.saturating_add(nanos(window));
        }
        Confirm::Confirmed
    }

    pub(super) fn keep(&mut self, nonce: Nonce, window: Duration, now: u64) -> Keep {
        if self.holder != nonce {
            return Keep::Taken;
        }
        self.until = now.saturating_add(nanos(window));
        Keep::Kept
    }

    pub(super) fn forget(&mut self, nonce: Nonce) {
        if self.holder == nonce {
            self.until = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_weighs_what_the_documentation_says() {
        assert!(size_of::<Comeback>() <= 128, "{}", size_of::<Comeback>());
    }
}
