//! Huawei ECS, "Obtaining the VNC Login Address": a virtual machine's VNC console.

use crate::config::{Dialect, Kind, Permission};
use crate::ids::Protocol;

use super::huawei::{Console, Form, Pair};

/// `POST /v1/{project_id}/cloudservers/{server_id}/remote_console`
pub(super) static CONSOLE: Console = Console {
    dialect: Dialect::HuaweiEcs,
    route: "/v1/{project_id}/cloudservers/{server_id}/remote_console",
    collection: "cloudservers",
    action: "remote_console",
    permission: Permission::EcsVnc,
    kind: Kind::Vm,
    protocol: Protocol::Vnc,
    form: Form::RemoteConsole(Pair { protocol: "vnc", kind: "novnc" }),
    template: |urls| &urls.huawei_ecs_vnc,
    admit: |_| Ok(()),
};
