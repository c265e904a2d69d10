//! Fixed tokens of the configuration in the header `X-Auth-Token`.

use hyper::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::FixedToken;

use super::{AuthError, Caller};

/// The header OpenStack and Huawei clients send a token in.
const HEADER: &str = "x-auth-token";

/// The tokens by their hashes.
pub(super) struct FixedTokens(Vec<FixedToken>);

impl FixedTokens {
    pub(super) fn new(tokens: Vec<FixedToken>) -> Self {
        Self(tokens)
    }

    /// Hashes what was sent and compares it with every entry, so that time tells neither how much of a guess
    /// was right nor which entry it met.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let mut sent = headers.get_all(HEADER).iter();
        let (Some(token), None) = (sent.next(), sent.next()) else {
            // None, or two that could mean different callers to us and to a gateway before us.
            return Err(AuthError::Unauthenticated);
        };
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = Choice::from(0);
        let mut index = 0_u32;
        for (at, entry) in (0_u32..).zip(&self.0) {
            let same = entry.sha256.ct_eq(&hash);
            index.conditional_assign(&at, same & !found);
            found |= same;
        }
        match self.0.get(index as usize) {
            Some(entry) if bool::from(found) => Ok(Caller {
                user: entry.user.clone(),
                project: entry.project.clone(),
                roles: entry.roles.clone(),
            }),
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
    use super::*;

    fn entry(token: &str, user: &str) -> FixedToken {
        let sha256 = Sha256::digest(token.as_bytes()).into();
        FixedToken { sha256, user: user.into(), project: "p".into(), roles: vec!["member".into()] }
    }

    fn check(tokens: &[(&str, &str)], sent: &[&str], expected: Option<&str>) {
        let fixed = FixedTokens::new(tokens.iter().map(|(token, user)| entry(token, user)).collect());
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append("X-Auth-Token", value.parse().unwrap());
        }
        let found = fixed.authenticate(&headers).ok().map(|caller| caller.user);
        assert_eq!(found.as_ref().map(|user| user.as_str()), expected, "{sent:?}");
    }

    #[test]
    fn the_token_names_its_user_and_nobody_else() {
        let tokens = [("one", "a"), ("two", "b"), ("three", "c")];
        check(&tokens, &["one"], Some("a"));
        check(&tokens, &["two"], Some("b"));
        check(&tokens, &["three"], Some("c"));
        check(&tokens, &["four"], None);
        check(&tokens, &["on"], None);
        check(&tokens, &["one "], None);
        check(&tokens, &[""], None);
        check(&tokens, &[], None);
        check(&[], &["one"], None);
        check(&[], &[""], None);
    }

    #[test]
    fn two_headers_are_no_credential() {
        check(&[("one", "a")], &["one", "one"], None);
        check(&[("one", "a")], &["x", "one"], None);
    }

    #[test]
    fn of_two_entries_alike_the_first_counts() {
        check(&[("x", "z"), ("one", "a"), ("one", "b")], &["one"], Some("a"));
    }

    #[test]
    fn debug_shows_no_hash() {
        assert_eq!(format!("{:?}", FixedTokens::new(vec![entry("one", "a")])), "FixedTokens(1)");
    }
}
