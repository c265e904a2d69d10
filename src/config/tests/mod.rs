//! What users meet: the mistakes, the files a configuration names, the example.

use std::path::Path;

use super::*;

mod credentials;
mod example;
mod files;
mod inventory;
mod mistakes;
mod token_store;
mod vnc;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let env = |name: &str| (name == "SET").then(|| "from-the-environment".to_owned());
    document::parse(Path::new("c.toml"), text, env, file::config)
}

fn errors(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("was accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// `text` gives exactly the one line `expected`, of which the file's name is left out.
#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(errors(text), format!("c.toml:{expected}"), "for:\n{text}");
}

/// A target with `line` in it, which is line 4.
#[track_caller]
fn check_target(line: &str, expected: &str) {
    check(&format!("[[target]]\nid = \"a\"\nproject = \"p\"\n{line}\n"), expected);
}
