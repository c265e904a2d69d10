//! Who may call the API, resolved: tokens, Keystone, access keys, HTTP Basic users, and what their roles permit.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::ids::{ProjectId, UserId};

use super::Secret;

/// Every way to be known to the API.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// Fixed values of `X-Auth-Token`.
    pub tokens: Vec<FixedToken>,
    /// Where all other tokens are looked up.
    pub keystone: Option<Keystone>,
    /// Keys of signed requests; ids are unique.
    pub access_keys: Vec<AccessKey>,
    /// Signed requests of one key that are remembered against replay.
    pub signatures_per_key: usize,
    /// HTTP Basic users; names are unique.
    pub basic: Vec<BasicUser>,
    /// What each role permits; names are unique. A role that is not named permits nothing.
    pub roles: Vec<Role>,
}

/// Who is allowed to use a fixed `X-Auth-Token`, and as whom.
#[derive(Clone)]
pub struct FixedToken {
    /// SHA-256 of the token; the token itself is not kept.
    pub sha256: [u8; 32],
    /// The user it stands for.
    pub user: UserId,
    /// The project it is scoped to.
    pub project: ProjectId,
    /// Roles on that project, e.g. `member`, `reader`, `admin`.
    pub roles: Vec<String>,
}

// A short token can be found from its digest, so the digest is not shown either.
impl std::fmt::Debug for FixedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, project, roles, sha256: _ } = self;
        f.debug_struct("FixedToken")
            .field("user", user)
            .field("project", project)
            .field("roles", roles)
            .finish_non_exhaustive()
    }
}

/// An OpenStack identity service, API version 3.
#[derive(Clone, Debug)]
pub struct Keystone {
    /// Its URL, `/v3` included, no trailing slash.
    pub url: String,
    /// The user we look tokens up as.
    pub username: String,
    /// That user's password.
    pub password: Secret,
    /// The project that user has a role on.
    pub project: String,
    /// Name of the user's domain.
    pub user_domain: String,
    /// Name of the project's domain.
    pub project_domain: String,
    /// Certificates (PEM) trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// How long one look-up may take, our own login included.
    pub timeout: Duration,
    /// How long an answer is believed; zero asks at each request.
    pub cache_ttl: Duration,
}

/// A key pair (AK/SK) that signs requests, and for whom.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The public half, in the `Authorization` header.
    pub access_key: String,
    /// The half that signs.
    pub secret_key: Secret,
    /// What a temporary credential sends in `X-Security-Token`.
    pub security_token: Option<Secret>,
    /// When it ends.
    pub expires: Option<SystemTime>,
    /// The user it stands for.
    pub user: UserId,
    /// The project it is scoped to.
    pub project: ProjectId,
    /// Roles on that project.
    pub roles: Vec<String>,
}

/// Somebody with a password.
#[derive(Clone, Debug)]
pub struct BasicUser {
    /// Who it is, and the name to log in with.
    pub user: UserId,
    /// bcrypt's hash of the password, as `htpasswd -B` writes it.
    pub password_bcrypt: Secret,
    /// The project the user is scoped to.
    pub project: ProjectId,
    /// Roles on that project.
    pub roles: Vec<String>,
}

/// What the holders of a role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The name; compared without regard to case, as Keystone does.
    pub name: String,
    /// What it permits.
    pub permissions: BTreeSet<Permission>,
    /// Whether it sees servers of every project, rather than the caller's alone.
    pub all_projects: bool,
}

/// One thing that a caller may be permitted, by the name its cloud gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// A console by OpenStack's API or OTC's: nova's policy name.
    RemoteConsoles,
    /// Where a token leads: nova's policy name.
    ConsoleAuthTokens,
    /// A console by Huawei's BMS API: the IAM action of its documentation.
    BmsSerialConsole,
    /// A console by Huawei's CloudDC API; its documentation names no action, so this is formed like the others.
    ClouddcRemoteConsole,
    /// A console by Huawei's ECS API: its IAM action.
    EcsVnc,
    /// A console by our own API.
    NativeIssue,
    /// Look at a token by our own API.
    NativeShow,
    /// Revoke a token by our own API.
    NativeRevoke,
}

impl Permission {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::RemoteConsoles,
        Self::ConsoleAuthTokens,
        Self::BmsSerialConsole,
        Self::ClouddcRemoteConsole,
        Self::EcsVnc,
        Self::NativeIssue,
        Self::NativeShow,
        Self::NativeRevoke,
    ];

    /// The name in configuration and refusals.
    pub fn name(self) -> &'static str {
        match self {
            Self::RemoteConsoles => "os_compute_api:os-remote-consoles",
            Self::ConsoleAuthTokens => "os_compute_api:os-console-auth-tokens",
            Self::BmsSerialConsole => "bms:servers:serialConsole",
            Self::ClouddcRemoteConsole => "clouddc:physicalServers:remoteConsole",
            Self::EcsVnc => "ecs:cloudServers:vnc",
            Self::NativeIssue => "consolegate:consoles:issue",
            Self::NativeShow => "consolegate:consoles:show",
            Self::NativeRevoke => "consolegate:consoles:revoke",
        }
    }
}

impl Role {
    /// Nova's defaults, carried over to the other APIs: `member` opens consoles of its project, `admin` does
    /// everything everywhere.
    pub fn defaults() -> Vec<Self> {
        let all = BTreeSet::from(Permission::ALL);
        let member = all.iter().copied().filter(|one| *one != Permission::ConsoleAuthTokens).collect();
        vec![
            Self { name: "member".to_owned(), permissions: member, all_projects: false },
            Self { name: "admin".to_owned(), permissions: all, all_projects: true },
        ]
    }
}
