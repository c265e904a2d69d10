//! Fixed tokens of the configuration in the header `X-Auth-Token`.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::FixedToken;

use super::policy::Policy;
use super::{AuthError, Caller};

/// The tokens by their hashes, and whom each stands for.
pub(super) struct FixedTokens(Vec<([u8; 32], Arc<Caller>)>);

impl FixedTokens {
    pub(super) fn new(tokens: Vec<FixedToken>, policy: &Policy) -> Self {
        let entry = |token: FixedToken| {
            let FixedToken { sha256, user, project, roles } = token;
            (sha256, policy.caller(user, project, roles))
        };
        Self(tokens.into_iter().map(entry).collect())
    }

    /// Hashes what was sent and compares it with every entry, so that time tells neither how much of a guess
    /// was right nor which entry it met.
    pub(super) fn find(&self, token: &[u8]) -> Result<Arc<Caller>, AuthError> {
        if self.0.is_empty() {
            return Err(AuthError::Unauthenticated);
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let mut found = Choice::from(0);
        let mut index = 0_u32;
        for (at, (sha256, _)) in (0_u32..).zip(&self.0) {
            let same = sha256.ct_eq(&hash);
            index.conditional_assign(&at, same & !found);
            found |= same;
        }
        match self.0.get(index as usize) {
            Some((_, caller)) if bool::from(found) => Ok(caller.clone()),
            _ => Err(AuthError::Unauthenticated),
        }
    }
}

impl std::fmt::Debug for FixedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FixedTokens({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Role;

    use super::*;

    fn entry(token: &str, user: &str) -> FixedToken {
        let sha256 = Sha256::digest(token.as_bytes()).into();
        FixedToken { sha256, user: user.into(), project: "p".into(), roles: vec!["member".into()] }
    }

    fn fixed(tokens: &[(&str, &str)]) -> FixedTokens {
        let tokens = tokens.iter().map(|(token, user)| entry(token, user)).collect();
        FixedTokens::new(tokens, &Policy::new(Role::defaults()))
    }

    fn check(tokens: &[(&str, &str)], sent: &str, expected: Option<&str>) {
        let found = fixed(tokens).find(sent.as_bytes()).ok().map(|caller| caller.user.clone());
        assert_eq!(found.as_ref().map(|user| user.as_str()), expected, "{sent:?}");
    }

    #[test]
    fn the_token_names_its_user_and_nobody_else() {
        let tokens = [("one", "a"), ("two", "b"), ("three", "c")];
        check(&tokens, "one", Some("a"));
        check(&tokens, "two", Some("b"));
        check(&tokens, "three", Some("c"));
        check(&tokens, "four", None);
        check(&tokens, "on", None);
        check(&tokens, "one ", None);
        check(&tokens, "", None);
        check(&[], "one", None);
        check(&[], "", None);
    }

    #[test]
    fn of_two_entries_alike_the_first_counts() {
        check(&[("x", "z"), ("one", "a"), ("one", "b")], "one", Some("a"));
    }

    #[test]
    fn debug_shows_no_hash() {
        assert_eq!(format!("{:?}", fixed(&[("one", "a")])), "FixedTokens(1)");
    }
}
