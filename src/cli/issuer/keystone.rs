//! A login at Keystone v3: the token, and where the compute API is.

use anyhow::{Context as _, bail};
use http::Method as HttpMethod;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Http;
use super::environment::{Domain, Keystone, Method, Named};

/// What the catalogue may call the compute service.
const COMPUTE: &str = "compute";

/// What Keystone gave us.
pub(super) struct Ticket {
    pub(super) token: SecretString,
    /// The compute API, unless it was named already.
    pub(super) compute: Option<String>,
}

/// Logs in, and looks the compute API up if `look_up`.
pub(super) async fn log_in(http: &Http, keystone: &Keystone, look_up: bool) -> anyhow::Result<Ticket> {
    let body = request(keystone).to_string();
    let url = format!("{}/auth/tokens", keystone.url);
    let answer = http.call(HttpMethod::POST, &url, &[], Some(body)).await?;
    answer.success("Keystone refused the login")?;
    let token = answer.headers.get("x-subject-token").and_then(|value| value.to_str().ok());
    let token = token.with_context(|| format!("{}: the answer holds no token", keystone.url))?;
    let catalogue: Answer = serde_json::from_value(answer.json()).unwrap_or_default();
    let compute = if look_up { Some(endpoint(&catalogue.token.catalog, keystone)?) } else { None };
    Ok(Ticket { token: token.into(), compute })
}

/// <https://docs.openstack.org/api-ref/identity/v3/#authentication-and-token-management>
fn request(keystone: &Keystone) -> Value {
    let (identity, scoped) = match &keystone.method {
        Method::Password { user, password } => {
            let mut user = named(user);
            user["password"] = json!(password.expose_secret());
            (json!({"methods": ["password"], "password": {"user": user}}), true)
        }
        Method::Token(token) => (json!({"methods": ["token"], "token": {"id": token.expose_secret()}}), true),
        Method::ApplicationCredential { credential, user, secret } => {
            let mut shown = match credential {
                Named::Id(id) => json!({"id": id}),
                // By name it is the user's: there is no domain of its own.
                Named::Name { name, .. } => {
                    json!({"name": name, "user": user.as_ref().map(named)})
                }
            };
            shown["secret"] = json!(secret.expose_secret());
            (json!({"methods": ["application_credential"], "application_credential": shown}), false)
        }
    };
    let mut auth = json!({"identity": identity});
    // An application credential has its own project, and Keystone refuses to hear of one.
    if let (true, Some(project)) = (scoped, &keystone.project) {
        auth["scope"] = json!({"project": named(project)});
    }
    json!({"auth": auth})
}

fn named(named: &Named) -> Value {
    match named {
        Named::Id(id) => json!({"id": id}),
        Named::Name { name, domain: Domain::Id(id) } => json!({"name": name, "domain": {"id": id}}),
        Named::Name { name, domain: Domain::Name(domain) } => {
            json!({"name": name, "domain": {"name": domain}})
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    token: Token,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    url: String,
    #[serde(default)]
    region: Option<String>,
}

/// The compute service's URL for the wanted interface and region.
fn endpoint(catalogue: &[Service], keystone: &Keystone) -> anyhow::Result<String> {
    let services = catalogue.iter().filter(|service| service.kind == COMPUTE);
    let all: Vec<&Endpoint> = services.flat_map(|service| &service.endpoints).collect();
    let fits = |one: &&&Endpoint| {
        let region = keystone.region.as_ref().is_none_or(|region| one.region.as_ref() == Some(region));
        region && one.interface == keystone.interface
    };
    match all.iter().find(fits) {
        Some(one) => Ok(one.url.trim_end_matches('/').to_owned()),
        None if all.is_empty() => bail!(
            "the catalogue of {} has no service of type \"{COMPUTE}\" for this project: name it by --api, or \
             check OS_PROJECT_NAME",
            keystone.url
        ),
        None => {
            let known =
                all.iter().map(|one| format!("{} {}", one.region.as_deref().unwrap_or("-"), one.interface));
            bail!(
                "the catalogue of {} has no compute API for OS_REGION_NAME={} and OS_INTERFACE={}; it has {}",
                keystone.url,
                keystone.region.as_deref().unwrap_or(""),
                keystone.interface,
                known.collect::<Vec<_>>().join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(method: Method, region: Option<&str>) -> Keystone {
        let project = Some(Named::Name { name: "shop".into(), domain: Domain::Id("default".into()) });
        let (url, interface) = ("http://id/v3".to_owned(), "public".to_owned());
        Keystone { url, method, project, region: region.map(str::to_owned), interface }
    }

    /// The bodies of the API reference.
    #[test]
    fn logins_are_what_keystone_reads() {
        let user = Named::Name { name: "demo".into(), domain: Domain::Name("Default".into()) };
        let scope = json!({"project": {"name": "shop", "domain": {"id": "default"}}});
        let password = Method::Password { user, password: "p".into() };
        assert_eq!(
            request(&login(password, None)),
            json!({"auth": {"identity": {"methods": ["password"], "password": {"user":
                {"name": "demo", "domain": {"name": "Default"}, "password": "p"}}}, "scope": scope}})
        );
        let credential = Method::ApplicationCredential {
            credential: Named::Id("ac".into()),
            user: None,
            secret: "s".into(),
        };
        assert_eq!(
            request(&login(credential, None)),
            json!({"auth": {"identity": {"methods": ["application_credential"],
                "application_credential": {"id": "ac", "secret": "s"}}}})
        );
        assert_eq!(
            request(&login(Method::Token("t".into()), None)),
            json!({"auth": {"identity": {"methods": ["token"], "token": {"id": "t"}}, "scope": scope}})
        );
    }

    #[test]
    fn the_catalogue_is_searched_by_interface_and_region() {
        let answer = json!({"token": {"catalog": [
            {"type": "identity", "endpoints": [{"interface": "public", "region": "A", "url": "http://no"}]},
            {"type": "compute", "endpoints": [
                {"interface": "admin", "region": "A", "region_id": null, "url": "http://admin"},
                {"interface": "public", "region": "A", "url": "http://a/v2.1/"},
                {"interface": "public", "region": "B", "url": "http://b/v2.1"}]}]}});
        let catalogue: Answer = serde_json::from_value(answer).unwrap();
        let find = |region| endpoint(&catalogue.token.catalog, &login(Method::Token("t".into()), region));
        assert_eq!(find(None).unwrap(), "http://a/v2.1");
        assert_eq!(find(Some("B")).unwrap(), "http://b/v2.1");
        let error = find(Some("C")).unwrap_err().to_string();
        assert!(error.contains("it has A admin, A public, B public"), "{error}");
        let none = endpoint(&[], &login(Method::Token("t".into()), None)).unwrap_err().to_string();
        assert!(none.contains("no service of type"), "{none}");
    }
}
