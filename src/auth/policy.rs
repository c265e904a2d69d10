//! What a caller may do: roles give permissions, a project's servers are its own callers' alone.
//!
//! Names and defaults are nova's policies and the IAM actions of Huawei's documentation; `[[auth.role]]` sets
//! others.

use std::sync::Arc;

use crate::config::{Permission, Role};
use crate::ids::{ProjectId, UserId};

use super::Caller;

/// What each role permits.
#[derive(Clone, Debug)]
pub(super) struct Policy(Vec<Role>);

/// What a caller's roles permit, taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Granted {
    /// One bit for each of [`Permission::ALL`].
    permissions: u16,
    /// The permissions that hold for every project's servers, rather than for the caller's alone.
    everywhere: u16,
    sees_all: bool,
}

impl Policy {
    pub(super) fn new(roles: Vec<Role>) -> Self {
        Self(roles)
    }

    /// Somebody of these roles. Role names are compared without regard to case, as Keystone does.
    pub(super) fn caller(&self, user: UserId, project: ProjectId, roles: Vec<String>) -> Arc<Caller> {
        let mut granted = Granted::default();
        let held = |role: &&Role| roles.iter().any(|name| name.eq_ignore_ascii_case(&role.name));
        for role in self.0.iter().filter(held) {
            let permissions = role.permissions.iter().fold(0, |all, one| all | bit(*one));
            granted.permissions |= permissions;
            if role.all_projects {
                granted.everywhere |= permissions;
                granted.sees_all = true;
            }
        }
        Arc::new(Caller { user, project, roles: roles.into(), granted })
    }
}

fn bit(permission: Permission) -> u16 {
    1 << (permission as u16)
}

/// Whether the caller may know that a server of this project exists.
pub fn may_see(caller: &Caller, owner: &ProjectId) -> bool {
    caller.project == *owner || caller.granted.sees_all
}

/// Whether the caller may do this with a server of this project.
pub fn may(caller: &Caller, permission: Permission, owner: &ProjectId) -> bool {
    let granted = match caller.project == *owner {
        true => caller.granted.permissions,
        false => caller.granted.everywhere,
    };
    granted & bit(permission) != 0
}

/// Whether the caller may do this with any server at all; for answers that come before the server is known.
pub fn holds(caller: &Caller, permission: Permission) -> bool {
    caller.granted.permissions & bit(permission) != 0
}

/// Whether the caller may do this with the servers of every project.
pub fn holds_everywhere(caller: &Caller, permission: Permission) -> bool {
    caller.granted.everywhere & bit(permission) != 0
}

/// Whether the caller may open a console of a server of this project by OpenStack's API or OTC's.
pub fn may_open_console(caller: &Caller, owner: &ProjectId) -> bool {
    may(caller, Permission::RemoteConsoles, owner)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Somebody without roles.
    pub(crate) fn caller(user: &str, project: &str) -> Arc<Caller> {
        Policy::new(Vec::new()).caller(user.into(), project.into(), Vec::new())
    }

    fn check(policy: &Policy, roles: &[&str], owner: &str, expected: (bool, bool, bool)) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let caller = policy.caller("u".into(), "p".into(), roles);
        let owner = ProjectId::from(owner);
        let admin = may(&caller, Permission::ConsoleAuthTokens, &owner);
        let found = (may_see(&caller, &owner), may_open_console(&caller, &owner), admin);
        assert_eq!(found, expected, "{caller:?} {owner}");
    }

    #[test]
    fn by_default_membership_or_administration() {
        let policy = Policy::new(Role::defaults());
        let check = |roles: &[&str], owner: &str, see, open, admin| {
            super::tests::check(&policy, roles, owner, (see, open, admin));
        };
        check(&["member"], "p", true, true, false);
        check(&["Member"], "p", true, true, false);
        check(&["reader", "member"], "p", true, true, false);
        check(&["reader"], "p", true, false, false);
        check(&[], "p", true, false, false);
        check(&["members"], "p", true, false, false);
        check(&["member"], "q", false, false, false);
        check(&["reader"], "q", false, false, false);
        check(&["admin"], "p", true, true, true);
        check(&["ADMIN"], "q", true, true, true);
    }

    #[test]
    fn by_default_members_open_consoles_of_every_dialect() {
        let caller =
            |role: &str| Policy::new(Role::defaults()).caller("u".into(), "p".into(), vec![role.to_owned()]);
        for permission in Permission::ALL {
            let member = permission != Permission::ConsoleAuthTokens;
            assert_eq!(holds(&caller("member"), permission), member, "{permission:?}");
            assert_eq!(may(&caller("member"), permission, &"p".into()), member, "{permission:?}");
            assert!(!may(&caller("member"), permission, &"q".into()), "{permission:?}");
            assert!(may(&caller("admin"), permission, &"q".into()), "{permission:?}");
            assert!(!holds(&caller("reader"), permission), "{permission:?}");
        }
    }

    #[test]
    fn what_one_role_may_everywhere_does_not_spread_to_another() {
        let role = |name: &str, permission, all_projects| Role {
            name: name.to_owned(),
            permissions: [permission].into(),
            all_projects,
        };
        let policy = Policy::new(vec![
            role("operator", Permission::ConsoleAuthTokens, true),
            role("opener", Permission::RemoteConsoles, false),
        ]);
        check(&policy, &["operator", "opener"], "p", (true, true, true));
        check(&policy, &["operator", "opener"], "q", (true, false, true));
        check(&policy, &["admin", "member"], "p", (true, false, false));
    }
}
