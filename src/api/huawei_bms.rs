//! Huawei BMS, "Obtaining the Address for Remotely Logging In to a BMS": a bare-metal server's serial console.

use hyper::StatusCode;

use crate::config::{Dialect, Kind, Os, Permission, Target};
use crate::ids::Protocol;

use super::huawei::{Console, Form, Pair, Refusal};

/// `POST /v1/{project_id}/baremetalservers/{server_id}/remote_console`
pub(super) static CONSOLE: Console = Console {
    dialect: Dialect::HuaweiBms,
    route: "/v1/{project_id}/baremetalservers/{server_id}/remote_console",
    collection: "baremetalservers",
    action: "remote_console",
    permission: Permission::BmsSerialConsole,
    kind: Kind::Baremetal,
    protocol: Protocol::Serial,
    form: Form::RemoteConsole(Pair { protocol: "serial", kind: "serial" }),
    template: |urls| &urls.huawei_bms_serial,
    admit,
};

/// "Windows BMSs do not support remote login."
fn admit(target: &Target) -> Result<(), Refusal> {
    match target.os {
        Os::Linux => Ok(()),
        Os::Windows => {
            let message = format!("BMS {} runs Windows, which does not support remote login.", target.id);
            Err(Refusal::new(StatusCode::BAD_REQUEST, "windows", message))
        }
    }
}
