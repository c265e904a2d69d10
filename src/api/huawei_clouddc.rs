//! Huawei CloudDC, "Obtaining the Console Address": a physical server's VNC console, by GET.

use crate::config::{Dialect, Kind, Permission};
use crate::ids::Protocol;

use super::huawei::{Console, Form};

/// `GET /v1/{project_id}/physicalservers/{id}/remote-console-address`
pub(super) static CONSOLE: Console = Console {
    dialect: Dialect::HuaweiClouddc,
    route: "/v1/{project_id}/physicalservers/{id}/remote-console-address",
    collection: "physicalservers",
    action: "remote-console-address",
    permission: Permission::ClouddcRemoteConsole,
    kind: Kind::Baremetal,
    protocol: Protocol::Vnc,
    form: Form::Address,
    template: |urls| &urls.huawei_clouddc_vnc,
    admit: |_| Ok(()),
};
