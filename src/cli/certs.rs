//! `consolegate certs`: a development CA and server pair.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;

use crate::certs::{Files, Outcome, ensure};

use super::print;

/// Make development certificates.
#[derive(Debug, clap::Args)]
pub(super) struct Certs {
    /// Where to put ca.pem, server.pem and server.key.
    #[arg(long, value_name = "DIR", default_value = "certs/dev")]
    dir: PathBuf,
    /// Make new ones even if those there are still good.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &Certs) -> anyhow::Result<ExitCode> {
    let outcome = ensure(&arguments.dir, arguments.force, SystemTime::now())
        .context("development certificates were not made")?;
    let files = Files::within(&arguments.dir);
    let done = match outcome {
        Outcome::Made => "Made",
        Outcome::Kept => "Still good",
    };
    print::line(format_args!(
        "{done}: for localhost, 127.0.0.1 and ::1 only.\n\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\n\
         Clients trust {}, e.g. curl --cacert {}.",
        files.certificate.display(),
        files.key.display(),
        files.ca.display(),
        files.ca.display(),
    ));
    Ok(ExitCode::SUCCESS)
}
