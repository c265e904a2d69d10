//! `clouds.yaml`, for those who name a cloud in OS_CLOUD: the same things as variables have, by other names.
//!
//! Places and precedence are openstackclient's (<https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html>):
//! the first file that is found, `secure.yaml` over it, variables over both. Vendors' profiles are not known here.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Larger than the file of anybody with a hundred clouds; what is larger is another file.
const MAX_FILE: u64 = 1024 * 1024;

/// What is wrong with the file, and the remedy. Never what stands in it: it has passwords.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloudsError {
    #[error(
        "OS_CLOUD={cloud}, but there is no clouds.yaml: put it here, into ~/.config/openstack or /etc/openstack, or \
         set OS_CLIENT_CONFIG_FILE"
    )]
    NoFile { cloud: String },
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: more than {MAX_FILE} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}:{line}:{column}: not what a clouds.yaml has here: under clouds, a name each; auth with text", path.display())]
    Syntax { path: PathBuf, line: u64, column: u64 },
    #[error("OS_CLOUD={cloud}: {} has {known:?}", path.display())]
    Unknown { cloud: String, path: PathBuf, known: Vec<String> },
    #[error(
        "{}: cloud {cloud} says verify: false, but certificates are always checked: name the authority as cacert",
        path.display()
    )]
    Unverified { cloud: String, path: PathBuf },
}

/// A file's clouds, as far as we read them.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    clouds: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Auth,
    auth_type: Option<String>,
    region_name: Option<String>,
    interface: Option<String>,
    endpoint_type: Option<String>,
    identity_api_version: Option<String>,
    compute_api_version: Option<String>,
    compute_default_microversion: Option<String>,
    compute_endpoint_override: Option<String>,
    cacert: Option<String>,
    verify: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth_url: Option<String>,
    endpoint: Option<String>,
    token: Option<String>,
    username: Option<String>,
    user_id: Option<String>,
    password: Option<String>,
    application_credential_id: Option<String>,
    application_credential_name: Option<String>,
    application_credential_secret: Option<String>,
    project_id: Option<String>,
    project_name: Option<String>,
    tenant_id: Option<String>,
    tenant_name: Option<String>,
    user_domain_id: Option<String>,
    user_domain_name: Option<String>,
    project_domain_id: Option<String>,
    project_domain_name: Option<String>,
    default_domain: Option<String>,
}

/// A cloud, by the names that variables have. Not `Debug`: it has a password.
#[derive(Default)]
pub(super) struct Cloud(BTreeMap<&'static str, String>);

impl Cloud {
    /// The cloud that OS_CLOUD names, or one that says nothing: so also for who has a credential of our own kind, and
    /// means this program and no cloud.
    ///
    /// # Errors
    /// If there is no such cloud, or it cannot be read.
    pub(super) fn find(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, CloudsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let own =
            ["CONSOLEGATE_TOKEN", "CONSOLEGATE_USERNAME"].into_iter().any(|name| variable(name).is_some());
        let Some(cloud) = variable("OS_CLOUD").filter(|_| !own) else { return Ok(Self::default()) };
        let home = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = home.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")));
        let places: Vec<PathBuf> = [
            Some(PathBuf::from(".")),
            home.map(|home| home.join("openstack")),
            Some(PathBuf::from("/etc/openstack")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let find = |named: Option<String>, stem: &str| {
            let beside =
                |place: &PathBuf| ["yaml", "yml", "json"].map(|end| place.join(stem).with_extension(end));
            let named = named.into_iter().map(PathBuf::from);
            named.chain(places.iter().flat_map(beside)).find(|path| path.is_file())
        };
        let Some(path) = find(variable("OS_CLIENT_CONFIG_FILE"), "clouds") else {
            return Err(CloudsError::NoFile { cloud });
        };
        let mut clouds = read(&path)?;
        let Some(entry) = clouds.remove(&cloud) else {
            return Err(CloudsError::Unknown { cloud, path, known: clouds.into_keys().collect() });
        };
        if entry.verify == Some(false) {
            return Err(CloudsError::Unverified { cloud, path });
        }
        let mut variables = entry.variables();
        if let Some(path) = find(variable("OS_CLIENT_SECURE_FILE"), "secure") {
            variables.extend(read(&path)?.remove(&cloud).unwrap_or_default().variables());
        }
        Ok(Self(variables))
    }

    /// What it has for this variable.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Entry>, CloudsError> {
    let unreadable = |source| CloudsError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(CloudsError::TooLarge { path: path.to_owned() });
    }
    let read: Result<File, _> = serde_saphyr::from_str(&text);
    read.map(|file| file.clouds).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        CloudsError::Syntax { path: path.to_owned(), line, column }
    })
}

impl Entry {
    fn variables(self) -> BTreeMap<&'static str, String> {
        let auth = self.auth;
        let all = [
            ("OS_AUTH_URL", auth.auth_url),
            ("OS_ENDPOINT", auth.endpoint),
            ("OS_TOKEN", auth.token),
            ("OS_USERNAME", auth.username),
            ("OS_USER_ID", auth.user_id),
            ("OS_PASSWORD", auth.password),
            ("OS_APPLICATION_CREDENTIAL_ID", auth.application_credential_id),
            ("OS_APPLICATION_CREDENTIAL_NAME", auth.application_credential_name),
            ("OS_APPLICATION_CREDENTIAL_SECRET", auth.application_credential_secret),
            ("OS_PROJECT_ID", auth.project_id),
            ("OS_PROJECT_NAME", auth.project_name),
            ("OS_TENANT_ID", auth.tenant_id),
            ("OS_TENANT_NAME", auth.tenant_name),
            ("OS_USER_DOMAIN_ID", auth.user_domain_id),
            ("OS_USER_DOMAIN_NAME", auth.user_domain_name),
            ("OS_PROJECT_DOMAIN_ID", auth.project_domain_id),
            ("OS_PROJECT_DOMAIN_NAME", auth.project_domain_name),
            ("OS_DEFAULT_DOMAIN", auth.default_domain),
            ("OS_AUTH_TYPE", self.auth_type),
            ("OS_REGION_NAME", self.region_name),
            ("OS_INTERFACE", self.interface.or(self.endpoint_type)),
            ("OS_IDENTITY_API_VERSION", self.identity_api_version),
            ("OS_COMPUTE_API_VERSION", self.compute_default_microversion.or(self.compute_api_version)),
            ("OS_COMPUTE_ENDPOINT_OVERRIDE", self.compute_endpoint_override),
            ("OS_CACERT", self.cacert),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks for cloud `shop` among these files of a directory, which are named as variables would.
    fn find(clouds: &str, secure: &str) -> Result<Cloud, CloudsError> {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (clouds, secure) = (file("a.yaml", clouds), file("b.yaml", secure));
        Cloud::find(&|name| match name {
            "OS_CLOUD" => Some("shop".to_owned()),
            "OS_CLIENT_CONFIG_FILE" => Some(clouds.clone()),
            "OS_CLIENT_SECURE_FILE" => Some(secure.clone()),
            _ => None,
        })
    }

    fn refusal(clouds: &str) -> String {
        let error = find(clouds, "").err().expect("a refusal").to_string();
        error.split_once(".yaml").map_or(error.clone(), |(_, rest)| rest.to_owned())
    }

    #[test]
    fn a_cloud_says_what_variables_would() {
        let clouds = "clouds:\n  other: {auth: {}}\n  shop:\n    auth:\n      auth_url: https://id.example:5000\n      \
                      username: \"demo\"\n      password: changeme\n      project_name: 0042\n      user_domain_name: Default\n    \
                      region_name: RegionOne\n    interface: internal\n    compute_api_version: 2.60\n    identity_api_version: 3\n    \
                      cacert: /etc/ca.pem\n    verify: true\n    networks: [{name: net, routes_externally: true}]\n";
        let secure = "clouds:\n  shop:\n    auth:\n      password: 'p: w'\n";
        let cloud = find(clouds, secure).unwrap_or_else(|error| panic!("{error}"));
        let expected = [
            ("OS_AUTH_URL", "https://id.example:5000"),
            ("OS_CACERT", "/etc/ca.pem"),
            ("OS_COMPUTE_API_VERSION", "2.60"),
            ("OS_IDENTITY_API_VERSION", "3"),
            ("OS_INTERFACE", "internal"),
            ("OS_PASSWORD", "p: w"),
            ("OS_PROJECT_NAME", "0042"),
            ("OS_REGION_NAME", "RegionOne"),
            ("OS_USERNAME", "demo"),
            ("OS_USER_DOMAIN_NAME", "Default"),
        ];
        let said: Vec<_> = cloud.0.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(said, expected);
        assert_eq!(cloud.get("OS_USERNAME").as_deref(), Some("demo"));
    }

    #[test]
    fn nothing_is_read_unless_a_cloud_is_named() {
        let none = |name: &str| (name != "OS_CLOUD").then(|| "/nowhere".to_owned());
        assert!(Cloud::find(&none).is_ok_and(|cloud| cloud.0.is_empty()));
        let empty = |name: &str| (name == "OS_CLOUD").then(String::new);
        let own = |name: &str| ["OS_CLOUD", "CONSOLEGATE_TOKEN"].contains(&name).then(|| "x".to_owned());
        assert!(Cloud::find(&own).is_ok_and(|cloud| cloud.0.is_empty()));
        assert!(Cloud::find(&empty).is_ok_and(|cloud| cloud.0.is_empty()));
    }

    #[test]
    fn what_is_wrong_is_told_without_what_stands_there() {
        assert_eq!(refusal("clouds: {b: {}, a: {}}"), " has [\"a\", \"b\"]");
        assert!(refusal("clouds:\n  shop:\n    verify: false\n").contains("name the authority as cacert"));
        for broken in [
            "clouds:\n  shop:\n    auth:\n      password: [s3cret]\n",
            "clouds:\n  shop:\n    auth: s3cret\n",
            "clouds:\n  shop:\n    auth: {password: 's3cret\n",
        ] {
            let said = refusal(broken);
            assert!(!said.contains("s3cret") && said.starts_with(':'), "{said}");
        }
        let missing = |name: &str| match name {
            "OS_CLOUD" => Some("shop".to_owned()),
            "HOME" | "OS_CLIENT_CONFIG_FILE" => Some("/nowhere".to_owned()),
            _ => None,
        };
        assert!(matches!(Cloud::find(&missing), Err(CloudsError::NoFile { .. })));
    }
}
