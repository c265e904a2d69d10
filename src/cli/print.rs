//! The one place that writes to stdout and stderr directly: what users asked for, and what went wrong.

/// A line the user asked for.
#[expect(clippy::print_stdout, reason = "this is the command's result")]
pub(super) fn line(text: impl std::fmt::Display) {
    println!("{text}");
}

/// A line about how it goes, beside the result.
#[expect(clippy::print_stderr, reason = "what users read, not what they asked for")]
pub(super) fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// What went wrong, with its causes.
pub(super) fn error(error: &anyhow::Error) {
    note(format_args!("error: {}", causes(error)));
}

/// An error and its causes, each once: many a message has that of its cause in it.
pub(super) fn causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut said, cause| {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            if !said.is_empty() {
                said += ": ";
            }
            said += &cause;
        }
        said
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("tokens.store: {0}")]
        struct Outer(#[from] std::io::Error);
        let outer = Outer(std::io::Error::other("too old"));
        assert_eq!(causes(&outer.into()), "tokens.store: too old");
        #[derive(Debug, thiserror::Error)]
        #[error("cannot listen: {0}. Choose another port")]
        struct Within(#[source] std::io::Error);
        let within = Within(std::io::Error::other("in use"));
        assert_eq!(causes(&within.into()), "cannot listen: in use. Choose another port");
        let with = Err::<(), _>(std::io::Error::other("no such file")).context("cannot read a.toml");
        assert_eq!(causes(&with.unwrap_err()), "cannot read a.toml: no such file");
    }
}
