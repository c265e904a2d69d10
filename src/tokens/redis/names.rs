//! The keys of the store, by which ACLs and cluster slots tell things apart.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::json::hex;
use crate::once::Deed;
use crate::tokens::{Grant, Revoke, TokenKey};

/// What would end a hash tag, or a line of `redis-cli`.
const ODD: &AsciiSet = &CONTROLS.add(b'{').add(b'}').add(b'%').add(b' ').add(b'"').add(b'\\');

/// What a token's keys begin with, in the order in which scripts have them.
pub(super) const OF_A_TOKEN: [&str; 3] =
    ["consolegate:token:{", "consolegate:claim:{", "consolegate:resume:{"];

/// The keys of one token. What stands in braces decides a cluster's slot: all are on one node.
pub(super) struct TokenNames {
    /// SHA-256 of the token, in hexadecimal.
    pub(super) hash: String,
    /// The token, which issuers write.
    pub(super) token: String,
    /// Its claim or tombstone, which proxies write.
    pub(super) claim: String,
    /// Who may come back to its session, which proxies write.
    comeback: String,
}

impl TokenNames {
    pub(super) fn new(key: &TokenKey) -> Self {
        Self::of(text(key.as_bytes()))
    }

    pub(super) fn of(hash: String) -> Self {
        let [token, claim, comeback] = OF_A_TOKEN.map(|kind| format!("{kind}{hash}}}"));
        Self { hash, token, claim, comeback }
    }

    pub(super) fn all(&self) -> [&str; 3] {
        [&self.token, &self.claim, &self.comeback]
    }
}

/// A signature of this access key that was good, which issuers write.
pub(super) fn signed(whose: &str, deed: &Deed) -> String {
    format!("consolegate:signed:{}:{{{}}}", utf8_percent_encode(whose, ODD), text(deed))
}

/// A token's hash as its keys have it.
pub(super) fn hash(key: &TokenKey) -> [u8; 64] {
    let mut digits = [0; 64];
    for (place, byte) in digits.chunks_exact_mut(2).zip(key.as_bytes()) {
        place.copy_from_slice(&hex(*byte));
    }
    digits
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| hex(*byte)).map(char::from).collect()
}

/// The indexes that a grant's token is in.
pub(super) fn indexes(grant: &Grant) -> [String; 3] {
    [
        index("target", grant.target.as_str()),
        index("project", grant.project.as_str()),
        index("user", grant.user.as_str()),
    ]
}

/// The index that names what is to be revoked; a single token needs none.
pub(super) fn index_of(which: &Revoke) -> Option<String> {
    let name = match which {
        Revoke::Token(_) => return None,
        Revoke::Target(id) => id.as_str(),
        Revoke::Project(id) => id.as_str(),
        Revoke::User(id) => id.as_str(),
    };
    Some(index(which.kind(), name))
}

/// A target's tokens that are counted as outstanding.
pub(super) fn seats(grant: &Grant) -> String {
    let target = utf8_percent_encode(grant.target.as_str(), ODD);
    format!("consolegate:seats:{{{target}}}")
}

/// The proxies, by the end of their leases; by its tag every key about live sessions is on one node.
pub(super) const PROXIES: &str = "consolegate:live:{fleet}:proxies";

/// The log of what ends sessions, which issuers write as well. With the sessions' tag: its time is theirs.
pub(super) const LOG: &str = "consolegate:log:{fleet}";

/// Where it is said that the log has grown.
pub(super) const BELL: &str = "consolegate:log";

/// What every script about registered targets is sent with; by its tag they are all on one node of a cluster.
pub(super) const TARGETS: &str = "consolegate:targets:{targets}:head";

/// Where it is said that registered targets have changed.
pub(super) const TARGETS_BELL: &str = "consolegate:targets";

/// A proxy's live sessions.
pub(super) fn sessions(proxy: &str) -> String {
    format!("consolegate:live:{{fleet}}:sessions:{proxy}")
}

/// What a proxy's live sessions have moved.
pub(super) fn traffic(proxy: &str) -> String {
    format!("consolegate:live:{{fleet}}:traffic:{proxy}")
}

/// What follows the tag in the name of a set that sessions are counted by.
pub(super) fn counted(kind: &str, name: &str) -> String {
    format!("{kind}:{}", utf8_percent_encode(name, ODD))
}

fn index(kind: &str, name: &str) -> String {
    format!("consolegate:index:{kind}:{{{}}}", utf8_percent_encode(name, ODD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_braces() {
        let names = TokenNames::new(&TokenKey::from([0xab; 32]));
        assert_eq!(names.token, format!("consolegate:token:{{{}}}", "ab".repeat(32)));
        assert_eq!(names.claim, format!("consolegate:claim:{{{}}}", "ab".repeat(32)));
        assert_eq!(names.all()[2], format!("consolegate:resume:{{{}}}", "ab".repeat(32)));
        let user = index_of(&Revoke::User("a}b {ü%".into())).unwrap();
        assert_eq!(user, "consolegate:index:user:{a%7Db%20%7B%C3%BC%25}");
        let target = index_of(&Revoke::Target("vm-1".into())).unwrap();
        assert_eq!(target, "consolegate:index:target:{vm-1}");
        let signed = signed("A{K}", &[0xcd; 32]);
        assert_eq!(signed, format!("consolegate:signed:A%7BK%7D:{{{}}}", "cd".repeat(32)));
    }
}
