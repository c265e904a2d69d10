//! `consolegate check`: is this configuration right?

use std::process::ExitCode;

use crate::config::{Config, ConfigError};

use super::{ConfigFile, print};

/// Check a configuration file.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Exit code 0 when it is right, 1 when it is not.
pub(super) fn run(arguments: &Check) -> anyhow::Result<ExitCode> {
    let loaded = Config::load(arguments.file.config.as_deref());
    let (code, errors, warnings) = match &loaded {
        Ok(config) => (ExitCode::SUCCESS, Vec::new(), lines(&config.warnings)),
        Err(ConfigError::Invalid(problems)) => (ExitCode::FAILURE, lines(problems), Vec::new()),
        Err(unreadable) => (ExitCode::FAILURE, vec![unreadable.to_string()], Vec::new()),
    };
    if arguments.json {
        let targets = loaded.as_ref().map_or(0, |config| config.targets.len());
        let ok = errors.is_empty();
        print::line(
            serde_json::json!({ "ok": ok, "targets": targets, "errors": errors, "warnings": warnings }),
        );
        return Ok(code);
    }
    for warning in &warnings {
        print::note(format_args!("warning: {warning}"));
    }
    for error in &errors {
        print::note(format_args!("error: {error}"));
    }
    if let Ok(config) = &loaded {
        print::line(format_args!("The configuration is right: {} target(s).", config.targets.len()));
    }
    Ok(code)
}

fn lines(problems: &[crate::config::Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
