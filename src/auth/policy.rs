//! What a caller may do. Names and defaults are nova's policies `os_compute_api:os-remote-consoles` and
//! `os_compute_api:os-console-auth-tokens`.

use crate::ids::ProjectId;

use super::Caller;

/// Whether the caller may know that a server of this project exists.
pub fn may_see(caller: &Caller, owner: &ProjectId) -> bool {
    caller.project == *owner || is_admin(caller)
}

/// Whether the caller may open a console of a server of this project: `member` on it, or `admin`.
pub fn may_open_console(caller: &Caller, owner: &ProjectId) -> bool {
    is_admin(caller) || (caller.project == *owner && caller.has_role("member"))
}

/// Whether the caller administers the cloud.
pub fn is_admin(caller: &Caller) -> bool {
    caller.has_role("admin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_or_administration() {
        let check = |roles: &[&str], owner: &str, see: bool, open: bool| {
            let roles = roles.iter().map(|role| (*role).to_owned()).collect();
            let caller = Caller { user: "u".into(), project: "p".into(), roles };
            let owner = ProjectId::from(owner);
            assert_eq!(
                (may_see(&caller, &owner), may_open_console(&caller, &owner)),
                (see, open),
                "{caller:?}"
            );
        };
        check(&["member"], "p", true, true);
        check(&["Member"], "p", true, true);
        check(&["reader", "member"], "p", true, true);
        check(&["reader"], "p", true, false);
        check(&[], "p", true, false);
        check(&["members"], "p", true, false);
        check(&["member"], "q", false, false);
        check(&["reader"], "q", false, false);
        check(&["admin"], "p", true, true);
        check(&["admin"], "q", true, true);
    }
}
