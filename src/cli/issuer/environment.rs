//! Who we are and whom we ask, from the environment: the variables of openstackclient, and a few of our own.

use std::fmt;

use secrecy::SecretString;

/// Microversion 2.6 brought `remote-consoles`; every cloud of this century has it.
const VERSION: &str = "2.6";

/// What the environment says.
#[derive(Debug)]
pub(super) struct Environment {
    /// The compute API, where it is named and not looked up.
    pub(super) base: Option<String>,
    pub(super) login: Login,
    pub(super) version: Version,
}

/// How we show who we are.
#[derive(Debug)]
pub(super) enum Login {
    /// A value of `X-Auth-Token` that the issuer knows.
    Token(SecretString),
    /// HTTP Basic.
    Basic { user: String, password: SecretString },
    /// A token that Keystone gives us.
    Keystone(Box<Keystone>),
}

/// A login at an OpenStack identity service, v3.
#[derive(Debug)]
pub(super) struct Keystone {
    /// Ends in `/v3`.
    pub(super) url: String,
    pub(super) method: Method,
    /// The project, where the method does not bring its own.
    pub(super) project: Option<Named>,
    /// Of the compute service's endpoints.
    pub(super) region: Option<String>,
    pub(super) interface: String,
}

/// What Keystone is shown.
#[derive(Debug)]
pub(super) enum Method {
    Password { user: Named, password: SecretString },
    ApplicationCredential { credential: Named, user: Option<Named>, secret: SecretString },
    Token(SecretString),
}

/// Something by its id, or by its name in a domain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    Id(String),
    Name { name: String, domain: Domain },
}

/// A domain by its id or name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Domain {
    Id(String),
    Name(String),
}

/// Which compute API is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Before 2.6: the actions `os-getVNCConsole` and `os-getSerialConsole`.
    Actions(String),
    /// `remote-consoles`.
    Remote(String),
}

impl Version {
    /// For the header `OpenStack-API-Version`.
    pub(super) fn header(&self) -> String {
        let (Self::Actions(version) | Self::Remote(version)) = self;
        format!("compute {version}")
    }
}

/// What is missing or wrong, and the remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum EnvironmentError {
    #[error(
        "no credential in the environment: source your cloud's openrc (OS_AUTH_URL and what it goes with), or set \
         OS_CLOUD to a name in your clouds.yaml, or \
         CONSOLEGATE_API with CONSOLEGATE_TOKEN, or with CONSOLEGATE_USERNAME and CONSOLEGATE_PASSWORD"
    )]
    Nothing,
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("this credential needs the compute API's URL: set --api, CONSOLEGATE_API or OS_ENDPOINT")]
    NoBase,
    #[error("OS_AUTH_TYPE={0}: expected password, v3applicationcredential, token, http_basic or admin_token")]
    AuthType(String),
    #[error("OS_IDENTITY_API_VERSION={0}: only 3 is spoken")]
    IdentityVersion(String),
    #[error("OS_COMPUTE_API_VERSION={0}: expected a microversion such as 2.96, or 2.latest")]
    ComputeVersion(String),
}

/// Looks variables up; an empty one is none, as openrc files leave them.
struct Variables<'l>(&'l dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    fn need(&self, name: &'static str) -> Result<String, EnvironmentError> {
        self.get(name).ok_or(EnvironmentError::Missing(name))
    }

    fn secret(&self, name: &'static str) -> Result<SecretString, EnvironmentError> {
        self.need(name).map(Into::into)
    }

    /// `OS_{kind}_ID`, else `OS_{kind}_NAME` in its domain.
    fn named(&self, id: &str, name: &[&str], domain: &str) -> Option<Named> {
        if let Some(id) = self.get(id) {
            return Some(Named::Id(id));
        }
        let name = self.first(name)?;
        let domain = match (self.get(&format!("OS_{domain}_ID")), self.get(&format!("OS_{domain}_NAME"))) {
            (Some(id), _) => Domain::Id(id),
            (None, Some(name)) => Domain::Name(name),
            (None, None) => Domain::Id(self.get("OS_DEFAULT_DOMAIN").unwrap_or_else(|| "default".to_owned())),
        };
        Some(Named::Name { name, domain })
    }
}

impl Environment {
    /// Reads the variables; `api` is what the command line says of the compute API.
    pub(super) fn read(
        api: Option<&str>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, EnvironmentError> {
        let variables = Variables(lookup);
        let base = api
            .map(str::to_owned)
            .or_else(|| variables.first(&["CONSOLEGATE_API", "OS_COMPUTE_ENDPOINT_OVERRIDE", "OS_ENDPOINT"]))
            .map(|base| base.trim_end_matches('/').to_owned());
        let login = login(&variables, base.is_some())?;
        if base.is_none() && !matches!(login, Login::Keystone(_)) {
            return Err(EnvironmentError::NoBase);
        }
        let version = version(variables.get("OS_COMPUTE_API_VERSION"))?;
        Ok(Self { base, login, version })
    }
}

/// Our own variables come first: who sets them means this program.
fn login(variables: &Variables<'_>, has_base: bool) -> Result<Login, EnvironmentError> {
    if let Some(token) = variables.get("CONSOLEGATE_TOKEN") {
        return Ok(Login::Token(token.into()));
    }
    if let Some(user) = variables.get("CONSOLEGATE_USERNAME") {
        return Ok(Login::Basic { user, password: variables.secret("CONSOLEGATE_PASSWORD")? });
    }
    let kind = variables.get("OS_AUTH_TYPE");
    match kind.as_deref() {
        Some("http_basic") => Ok(Login::Basic {
            user: variables.need("OS_USERNAME")?,
            password: variables.secret("OS_PASSWORD")?,
        }),
        Some("admin_token") => Ok(Login::Token(variables.secret("OS_TOKEN")?)),
        Some(_) => keystone(variables, kind),
        None if variables.get("OS_AUTH_URL").is_some() => keystone(variables, None),
        None if has_base && variables.get("OS_TOKEN").is_some() => {
            Ok(Login::Token(variables.secret("OS_TOKEN")?))
        }
        None => Err(EnvironmentError::Nothing),
    }
}

fn keystone(variables: &Variables<'_>, kind: Option<String>) -> Result<Login, EnvironmentError> {
    if let Some(version) =
        variables.get("OS_IDENTITY_API_VERSION").filter(|v| !matches!(v.as_str(), "3" | "3.0"))
    {
        return Err(EnvironmentError::IdentityVersion(version));
    }
    let url = variables.need("OS_AUTH_URL")?;
    let url = url.trim_end_matches('/');
    let url = if url.ends_with("/v3") { url.to_owned() } else { format!("{url}/v3") };
    let user = || variables.named("OS_USER_ID", &["OS_USERNAME"], "USER_DOMAIN");
    let credential = || {
        let id = variables.get("OS_APPLICATION_CREDENTIAL_ID").map(Named::Id);
        id.or_else(|| variables.named("", &["OS_APPLICATION_CREDENTIAL_NAME"], "USER_DOMAIN"))
    };
    let kind = match kind.as_deref() {
        Some("password" | "v3password") => "password",
        Some("v3applicationcredential") => "application credential",
        Some("token" | "v3token") => "token",
        Some(other) => return Err(EnvironmentError::AuthType(other.to_owned())),
        None if credential().is_some() => "application credential",
        None if variables.get("OS_TOKEN").is_some() => "token",
        None => "password",
    };
    let method = match kind {
        "password" => Method::Password {
            user: user().ok_or(EnvironmentError::Missing("OS_USERNAME"))?,
            password: variables.secret("OS_PASSWORD")?,
        },
        "token" => Method::Token(variables.secret("OS_TOKEN")?),
        _ => Method::ApplicationCredential {
            credential: credential().ok_or(EnvironmentError::Missing("OS_APPLICATION_CREDENTIAL_ID"))?,
            user: user(),
            secret: variables.secret("OS_APPLICATION_CREDENTIAL_SECRET")?,
        },
    };
    let projects = ["OS_PROJECT_NAME", "OS_TENANT_NAME"];
    let project = variables.get("OS_TENANT_ID").map(Named::Id);
    let project = variables.named("OS_PROJECT_ID", &projects, "PROJECT_DOMAIN").or(project);
    let region = variables.get("OS_REGION_NAME");
    let interface = variables.first(&["OS_INTERFACE", "OS_ENDPOINT_TYPE"]);
    let interface =
        interface.map_or_else(|| "public".to_owned(), |name| name.trim_end_matches("URL").to_owned());
    Ok(Login::Keystone(Box::new(Keystone { url, method, project, region, interface })))
}

fn version(written: Option<String>) -> Result<Version, EnvironmentError> {
    let Some(written) = written else { return Ok(Version::Remote(VERSION.to_owned())) };
    if matches!(written.as_str(), "latest" | "2.latest") {
        return Ok(Version::Remote("latest".to_owned()));
    }
    let minor =
        if written == "2" { Some(1) } else { written.strip_prefix("2.").and_then(|m| m.parse::<u16>().ok()) };
    match minor {
        None => Err(EnvironmentError::ComputeVersion(written)),
        Some(minor @ 0..6) => Ok(Version::Actions(format!("2.{}", minor.max(1)))),
        Some(minor) => Ok(Version::Remote(format!("2.{minor}"))),
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("a fixed token"),
            Self::Basic { user, .. } => write!(f, "user {user}"),
            Self::Keystone(keystone) => write!(f, "a login at {}", keystone.url),
        }
    }
}

#[cfg(test)]
mod tests;
