"""Asks for consoles with Huawei's own SDKs, and prints what came back as one JSON object.

    python huawei_console.py ENDPOINT CALL SERVER [--project ID | --region NAME] [--security-token TOKEN] [--type T]

CALL is bms, clouddc or ecs. The access key is in AK, the secret key in SK. Without --project the SDK asks the
endpoint for the project of --region first. A refusal is {"exception", "status", "code", "message", "request"}.
"""

import argparse
import json
import os

from huaweicloudsdkbms import v1 as bms
from huaweicloudsdkclouddc import v1 as clouddc
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions import exceptions
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkecs import v2 as ecs


def build(builder, arguments):
    """A client as the SDK's own documentation makes one."""
    credentials = BasicCredentials(os.environ["AK"], os.environ["SK"], arguments.project)
    if arguments.security_token:
        credentials = credentials.with_security_token(arguments.security_token)
    builder = builder.new_builder()
    if arguments.project:
        return builder.with_credentials(credentials).with_endpoint(arguments.endpoint).build()
    credentials = credentials.with_iam_endpoint(arguments.endpoint)
    region = Region(arguments.region, arguments.endpoint)
    return builder.with_credentials(credentials).with_region(region).build()


def ask_bms(arguments):
    kind = arguments.type or "serial"
    console = bms.RemoteConsole(protocol="serial", type=kind)
    body = bms.ShowServerRemoteConsoleReq(remote_console=console)
    request = bms.ShowServerRemoteConsoleRequest(server_id=arguments.server, body=body)
    return build(bms.BmsClient, arguments).show_server_remote_console(request)


def ask_clouddc(arguments):
    request = clouddc.ShowRemoteConsoleRequest(id=arguments.server)
    return build(clouddc.CloudDCClient, arguments).show_remote_console(request)


def ask_ecs(arguments):
    kind = arguments.type or "novnc"
    console = ecs.GetServerRemoteConsoleOption(protocol="vnc", type=kind)
    body = ecs.ShowServerRemoteConsoleRequestBody(remote_console=console)
    request = ecs.ShowServerRemoteConsoleRequest(server_id=arguments.server, body=body)
    return build(ecs.EcsClient, arguments).show_server_remote_console(request)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("endpoint")
    parser.add_argument("call", choices=("bms", "clouddc", "ecs"))
    parser.add_argument("server")
    parser.add_argument("--project")
    parser.add_argument("--region", default="region-01")
    parser.add_argument("--security-token")
    parser.add_argument("--type")
    arguments = parser.parse_args()
    ask = {"bms": ask_bms, "clouddc": ask_clouddc, "ecs": ask_ecs}[arguments.call]
    try:
        answer = ask(arguments).to_dict()
    except exceptions.ServiceResponseException as error:
        answer = {
            "exception": type(error).__name__,
            "status": error.status_code,
            "code": error.error_code,
            "message": error.error_msg,
            "request": error.request_id,
        }
    print(json.dumps(answer, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
