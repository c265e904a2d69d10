//! The codes of the native API's refusals. Causes that other APIs share have the same code there; from 0101 on
//! they are this API's own. A code never changes its meaning.

/// The code of a cause, by its word in logs.
pub(super) fn code(word: &str) -> &'static str {
    CAUSES.iter().find(|(known, _)| *known == word).map_or("CONSOLE.0000", |(_, code)| code)
}

/// All there are, in the order of their codes.
pub(super) static CAUSES: &[(&str, &str)] = &[
    ("unauthenticated", "CONSOLE.0001"),
    ("policy", "CONSOLE.0003"),
    ("no-server", "CONSOLE.0004"),
    ("no-route", "CONSOLE.0005"),
    ("method", "CONSOLE.0006"),
    ("media-type", "CONSOLE.0007"),
    ("malformed-body", "CONSOLE.0008"),
    ("schema", "CONSOLE.0009"),
    ("not-offered", "CONSOLE.0012"),
    ("not-ready", "CONSOLE.0015"),
    ("no-console", "CONSOLE.0016"),
    ("outstanding", "CONSOLE.0019"),
    ("body-too-large", "CONSOLE.0020"),
    ("body-too-slow", "CONSOLE.0021"),
    ("store", "CONSOLE.0022"),
    ("generator", "CONSOLE.0023"),
    ("no-token", "CONSOLE.0025"),
    // The lifetime asked for is zero or above tokens.max_ttl.
    ("ttl", "CONSOLE.0101"),
    // View-only was asked for a protocol whose input cannot be filtered.
    ("view-only", "CONSOLE.0102"),
    // More than one use of a token.
    ("uses", "CONSOLE.0103"),
    // A recording of the session.
    ("record", "CONSOLE.0104"),
    // The token is the caller's project's, but another user's.
    ("not-owner", "CONSOLE.0105"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_words_are_unique() {
        assert!(CAUSES.windows(2).all(|pair| pair[0].1 < pair[1].1));
        let words: std::collections::BTreeSet<_> = CAUSES.iter().map(|(word, _)| word).collect();
        assert_eq!(words.len(), CAUSES.len());
    }
}
