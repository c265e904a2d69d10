//! `[auth.*]` and `[[auth.*]]`: the credentials and roles as users write them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::auth::{AccessKey, Auth, BasicUser, FixedToken, Keystone, Permission, Role};
use super::secret::{self, Written};
use super::section::{Fault, Section};
use super::{GeneratedCredentials, Listen, Secret, units};

/// A look-up takes Keystone 0.2 to 0.3 s, our login before it as long again; ten times that is not slow but gone.
const KEYSTONE_TIMEOUT: Duration = Duration::from_secs(5);

/// A caller must not wait for longer than HTTP clients do.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A token that was revoked works for as long. One look-up a minute and caller costs Keystone little; the links
/// that were issued meanwhile live longer anyway.
const KEYSTONE_CACHE_TTL: Duration = Duration::from_secs(60);

/// Keystone's own default life of a token; beyond it nothing would be looked up twice.
const LONGEST_CACHE_TTL: Duration = Duration::from_secs(3600);

/// 28 a second over the half hour that a date can be good, in at most 5 MB a key.
const SIGNATURES: u64 = 50_000;

/// A gigabyte a key.
const MOST_SIGNATURES: u64 = 10_000_000;

/// Above this, one attempt to log in takes seconds of a core: 14 is 16 times htpasswd's usual 10.
const LARGEST_COST: u32 = 14;

/// Reads `[auth]`. Without any credential, on loopback, a token for `project` is made.
pub(super) fn auth(
    section: Section<'_>,
    listen: &Listen,
    project: &str,
    generated: &mut GeneratedCredentials,
) -> Auth {
    let keystone_section = section.section("keystone");
    let keystone_written = keystone_section.present();
    let keystone = if keystone_written { keystone(&keystone_section) } else { None };
    if keystone_written {
        keystone_section.finish();
    }
    let signatures_per_key = section.number("signatures_per_key", 1..=MOST_SIGNATURES);
    let signatures_per_key = signatures_per_key.unwrap_or(SIGNATURES).try_into().unwrap_or(usize::MAX);
    let mut auth = Auth { keystone, roles: roles(&section), signatures_per_key, ..Auth::default() };
    let mut none = !keystone_written;
    for section in section.sections("token") {
        none = false;
        if let Some(token) = fixed_token(&section) {
            if auth.tokens.iter().any(|other| other.sha256 == token.sha256) {
                section.problem("token", "is the same as another [[auth.token]]; each needs its own");
            }
            auth.tokens.push(token);
        }
        section.finish();
    }
    for section in section.sections("access_key") {
        none = false;
        if let Some(key) = access_key(&section) {
            if auth.access_keys.iter().any(|other| other.access_key == key.access_key) {
                section
                    .problem("access_key", "is the same as another [[auth.access_key]]; each needs its own");
            }
            auth.access_keys.push(key);
        }
        section.finish();
    }
    for section in section.sections("basic") {
        none = false;
        if let Some(user) = basic_user(&section) {
            if auth.basic.iter().any(|other| other.user == user.user) {
                section.problem("user", "is the same as another [[auth.basic]]; each needs its own");
            }
            auth.basic.push(user);
        }
        section.finish();
    }
    if none && section.clean() {
        without_credentials(&section, listen, project, generated, &mut auth);
    }
    section.finish();
    auth
}

fn without_credentials(
    section: &Section<'_>,
    listen: &Listen,
    project: &str,
    generated: &mut GeneratedCredentials,
    auth: &mut Auth,
) {
    if !listen.api.ip().is_loopback() {
        let message = format!(
            "is required, for api listens on {}; add [[auth.token]], [auth.keystone], [[auth.access_key]] or \
             [[auth.basic]]",
            listen.api
        );
        section.problem("token", message);
        return;
    }
    generated.token = secret::generate(section);
    auth.tokens.extend(generated.token.as_ref().map(|token| FixedToken {
        sha256: Sha256::digest(token.expose_secret().as_bytes()).into(),
        user: "local".into(),
        project: project.into(),
        roles: vec!["member".to_owned()],
    }));
}

fn role_names(section: &Section<'_>) -> Vec<String> {
    section.texts("roles", units::word).unwrap_or_else(|| vec!["member".to_owned()])
}

fn fixed_token(section: &Section<'_>) -> Option<FixedToken> {
    let digest = section.text("token_sha256", sha256);
    let token = secret::secret(section, &secret::TOKEN);
    let user = section.required("user", units::name);
    let project = section.required("project", units::id);
    let roles = role_names(section);
    let sha256 = match (digest, token) {
        (Some(digest), Written::Absent) => Some(digest),
        (None, Written::Given(token)) => Some(Sha256::digest(token.expose_secret().as_bytes()).into()),
        (None, Written::Absent) => {
            let message = "is required here; add one of token_sha256, token_file, token_env, token";
            section.problem("token", message);
            None
        }
        (Some(_), Written::Given(_)) => {
            section.problem("token_sha256", "is given beside the token itself; keep one");
            None
        }
        (_, Written::Faulty) => None,
    };
    Some(FixedToken { sha256: sha256?, user: user?.into(), project: project?.into(), roles })
}

fn sha256(text: &str) -> Result<[u8; 32], Fault> {
    let form = || Fault::expected("64 hexadecimal digits (printf %s TOKEN | sha256sum)");
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(form());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| form())?;
    }
    Ok(digest)
}

fn keystone(section: &Section<'_>) -> Option<Keystone> {
    let url = section.required("url", keystone_url);
    if url.as_deref().is_some_and(|url| url.starts_with("http:") && !is_loopback(url)) {
        let message = "begins with http: so the password and every token cross the network in the clear";
        section.warning("url", message.to_owned());
    }
    let username = section.required("username", units::name);
    let password = secret::required(section, &secret::PASSWORD);
    let name = |key, default: &str| section.text(key, units::name).unwrap_or_else(|| default.to_owned());
    let (project, user_domain) = (name("project", "service"), name("user_domain", "Default"));
    let project_domain = name("project_domain", "Default");
    let ca = section.path("ca");
    if let Some(path) = &ca {
        check_certificates(section, path);
    }
    let timeout = section.text("timeout", |text| within(units::duration(text)?, LONGEST_TIMEOUT, "60s"));
    let form = "a duration such as \"60s\", or \"0s\" to ask at each request";
    let cache_ttl = section
        .text("cache_ttl", |text| within(units::duration_or_zero(text, form)?, LONGEST_CACHE_TTL, "1h"));
    Some(Keystone {
        url: url?,
        username: username?,
        password: password?,
        project,
        user_domain,
        project_domain,
        ca,
        timeout: timeout.unwrap_or(KEYSTONE_TIMEOUT),
        cache_ttl: cache_ttl.unwrap_or(KEYSTONE_CACHE_TTL),
    })
}

fn within(duration: Duration, most: Duration, written: &str) -> Result<Duration, Fault> {
    if duration > most {
        return Err(Fault::Expected(format!("at most \"{written}\"")));
    }
    Ok(duration)
}

fn keystone_url(text: &str) -> Result<String, Fault> {
    let form = || Fault::expected("Keystone's URL, with its version, such as \"http://127.0.0.1:5000/v3\"");
    units::public_url(text).ok().filter(|url| url.ends_with("/v3")).ok_or_else(form)
}

fn is_loopback(url: &str) -> bool {
    let place = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    ["127.", "localhost", "[::1]"].iter().any(|start| place.starts_with(start))
}

pub(super) fn check_certificates(section: &Section<'_>, path: &Path) {
    let certificates = std::fs::read(path)
        .map(|pem| CertificateDer::pem_slice_iter(&pem).map(|one| one.is_ok()).reduce(|all, one| all && one));
    match certificates {
        Err(error) => section.problem("ca", format!("{}: cannot be read: {error}", path.display())),
        Ok(Some(true)) => {}
        Ok(_) => section.problem("ca", format!("{}: is not a list of PEM certificates", path.display())),
    }
}

fn access_key(section: &Section<'_>) -> Option<AccessKey> {
    let access_key = section.required("access_key", units::word);
    let secret_key = secret::required(section, &secret::SECRET_KEY);
    let security_token = match secret::secret(section, &secret::SECURITY_TOKEN) {
        Written::Given(token) => Some(token),
        Written::Absent | Written::Faulty => None,
    };
    let expires = section.text("expires", time);
    let user = section.required("user", units::name);
    let project = section.required("project", units::id);
    let roles = role_names(section);
    Some(AccessKey {
        access_key: access_key?,
        secret_key: secret_key?,
        security_token,
        expires,
        user: user?.into(),
        project: project?.into(),
        roles,
    })
}

fn time(text: &str) -> Result<SystemTime, Fault> {
    humantime::parse_rfc3339(text)
        .map_err(|_| Fault::expected("a time in quotes such as \"2027-01-31T12:00:00Z\""))
}

fn basic_user(section: &Section<'_>) -> Option<BasicUser> {
    // RFC 7617 section 2: a colon ends the name.
    let user = section.required("user", |text| match text.contains(':') {
        true => Err(Fault::expected("a name without a colon")),
        false => units::name(text),
    });
    let hash = secret::required(section, &secret::PASSWORD_BCRYPT);
    let hash = hash.filter(|hash| {
        let fault = check_bcrypt(hash);
        if let Some(message) = &fault {
            section.problem(secret::PASSWORD_BCRYPT.plain, message.clone());
        }
        fault.is_none()
    });
    let project = section.required("project", units::id);
    let roles = role_names(section);
    Some(BasicUser { user: user?.into(), password_bcrypt: hash?, project: project?.into(), roles })
}

/// What is wrong with a hash, if anything: `$2y$10$`, then 53 letters of bcrypt's own base64.
fn check_bcrypt(hash: &Secret) -> Option<String> {
    let form = "expected a bcrypt hash, which begins with $2y$ (htpasswd -nB USER)";
    let Ok(parts) = hash.expose_secret().parse::<bcrypt::HashParts>() else { return Some(form.to_owned()) };
    let cost = parts.get_cost();
    (!(4..=LARGEST_COST).contains(&cost))
        .then(|| format!("has the cost {cost}; expected 4 to {LARGEST_COST} (htpasswd -nBC 10 USER)"))
}

fn roles(section: &Section<'_>) -> Vec<Role> {
    let written = section.sections("role");
    if written.is_empty() {
        return Role::defaults();
    }
    let mut roles: Vec<Role> = Vec::new();
    for section in written {
        let name = section.required("name", units::word);
        let permissions = section.texts("permissions", permission).unwrap_or_default();
        let all_projects = section.flag("all_projects").unwrap_or(false);
        if let Some(name) = name {
            if roles.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
                section
                    .problem("name", "is the same as another [[auth.role]]; write one table for each role");
            }
            let permissions = permissions.into_iter().flatten().collect();
            roles.push(Role { name, permissions, all_projects });
        }
        section.finish();
    }
    roles
}

/// One permission by its name, or `*` for all.
fn permission(text: &str) -> Result<BTreeSet<Permission>, Fault> {
    if text == "*" {
        return Ok(Permission::ALL.into());
    }
    let found = Permission::ALL.into_iter().find(|permission| permission.name() == text);
    found.map(|permission| BTreeSet::from([permission])).ok_or_else(|| {
        let names = Permission::ALL.map(Permission::name).join(", ");
        Fault::Expected(format!("\"*\" or one of {names}"))
    })
}
