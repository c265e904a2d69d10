//! `consolegate issue`: a console URL from the command line, asked of a running issuer as any client would.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::config::Config;
use crate::ids::Protocol;

use super::{ConfigFile, print};

/// The issuer answers in milliseconds; behind a slow identity service in seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// An answer is a URL in a little JSON.
const MAX_ANSWER: usize = 64 * 1024;

/// Ask a running issuer for a console URL.
///
/// The issuer is found through --api, else through the [listen] section of --config, else on its default
/// port of this machine.
#[derive(Debug, clap::Args)]
pub(super) struct Issue {
    /// The server's id or name.
    server: String,
    /// Which console: vnc or serial.
    #[arg(long, short, default_value = "vnc", value_parser = protocol)]
    protocol: Protocol,
    /// The issuer's base URL, e.g. https://console.example:8774/v2.1.
    #[arg(long, value_name = "URL", env = "CONSOLEGATE_API")]
    api: Option<String>,
    /// The certificate authority to trust, as PEM, beside the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the issuer's JSON instead of the URL alone.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// A protocol that has consoles here.
pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "vnc" => Ok(Protocol::Vnc),
        "serial" => Ok(Protocol::Serial),
        other => Err(format!("expected vnc or serial, found {other:?}")),
    }
}

pub(super) async fn run(arguments: Issue) -> anyhow::Result<ExitCode> {
    let base = match &arguments.api {
        Some(url) => url.clone(),
        None => issuer_of(&arguments)?,
    };
    let issuer = Issuer::new(&base, arguments.ca.as_deref())?;
    let id = issuer.server_id(&arguments.server).await?;
    let console = issuer.console(&id, arguments.protocol).await?;
    if arguments.json {
        print::line(&console.answer);
    } else {
        print::line(console.url());
    }
    Ok(ExitCode::SUCCESS)
}

fn issuer_of(arguments: &Issue) -> anyhow::Result<String> {
    let config = Config::load(arguments.file.config.as_deref())?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}/v2.1", config.listen.api))
}

type HttpsClient =
    Client<hyper_rustls::HttpsConnector<hyper_util::client::legacy::connect::HttpConnector>, Full<Bytes>>;

fn client(ca: Option<&std::path::Path>) -> anyhow::Result<HttpsClient> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let connector = match ca {
        None => builder.with_provider_and_native_roots(provider)?,
        Some(file) => builder.with_tls_config(trusting(file)?),
    };
    Ok(Client::builder(TokioExecutor::new()).build(connector.https_or_http().enable_http1().build()))
}

/// A client that trusts the authority in `file` and no other.
pub(super) fn trusting(file: &std::path::Path) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate.with_context(|| format!("{}: not a certificate", file.display()))?)?;
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // `load` takes the records into its own hands, as the proxy does: it must not be what is slow.
    config.enable_secret_extraction = true;
    Ok(config)
}

/// An issuer and our credential there.
pub(super) struct Issuer {
    client: HttpsClient,
    base: String,
    token: String,
}

/// The issuer's answer; the URL in it is a bearer secret.
pub(super) struct Console {
    answer: serde_json::Value,
}

impl Console {
    pub(super) fn url(&self) -> &str {
        self.answer.pointer("/remote_console/url").and_then(|url| url.as_str()).unwrap_or_default()
    }
}

impl Issuer {
    /// The issuer at `base`, with the credential in the environment.
    pub(super) fn new(base: &str, ca: Option<&std::path::Path>) -> anyhow::Result<Self> {
        let token = ["CONSOLEGATE_TOKEN", "OS_TOKEN"].into_iter().find_map(|name| std::env::var(name).ok());
        let token = token.context("no credential: put an X-Auth-Token into CONSOLEGATE_TOKEN")?;
        Ok(Self { client: client(ca)?, base: base.trim_end_matches('/').to_owned(), token })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for a console of the server with this id.
    pub(super) async fn console(&self, id: &str, protocol: Protocol) -> anyhow::Result<Console> {
        let kind = match protocol {
            Protocol::Serial => "serial",
            _ => "novnc",
        };
        let body = serde_json::json!({"remote_console": {"protocol": protocol.as_str(), "type": kind}});
        let answer = self.call(Method::POST, &format!("/servers/{id}/remote-consoles"), Some(&body)).await?;
        let console = Console { answer };
        if console.url().is_empty() {
            bail!("the issuer answered without a URL");
        }
        Ok(console)
    }

    /// The server's id: the argument itself, or that of the one server of this name.
    pub(super) async fn server_id(&self, server: &str) -> anyhow::Result<String> {
        let encoded = percent_encoding::utf8_percent_encode(server, percent_encoding::NON_ALPHANUMERIC);
        let answer = self.call(Method::GET, &format!("/servers?name=^{encoded}$"), None).await?;
        let found: Vec<&str> = answer["servers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| one["name"] == server)
            .filter_map(|one| one["id"].as_str())
            .collect();
        match found.as_slice() {
            [] => Ok(encoded.to_string()),
            [id] => Ok((*id).to_owned()),
            several => bail!("{} servers are named {server:?}: use an id, one of {several:?}", several.len()),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<serde_json::Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("X-Auth-Token", &self.token)
            .header("OpenStack-API-Version", "compute 2.6")
            .header("Content-Type", "application/json")
            .body(Full::from(body.map(ToString::to_string).unwrap_or_default()))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            anyhow::Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
        };
        let answered = tokio::time::timeout(DEADLINE, exchange).await;
        let (status, body) = answered
            .with_context(|| format!("no answer within {DEADLINE:?}"))
            .flatten()
            .with_context(|| format!("cannot ask the issuer at {} (is it running?)", self.base))?;
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            let fault = answer.as_object().and_then(|fault| fault.values().next());
            let message = fault.and_then(|fault| fault["message"].as_str()).unwrap_or("no reason given");
            bail!("the issuer refused: {status}: {message}");
        }
        Ok(answer)
    }
}
