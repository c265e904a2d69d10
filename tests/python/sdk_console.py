"""Asks for consoles as openstacksdk's own users do, and prints what came back as one JSON object.

    python sdk_console.py ENDPOINT TOKEN SERVER [--compute-api-version 2.N] [--call NAME ...]

ENDPOINT is the compute endpoint (http://127.0.0.1:8774/v2.1), SERVER an id or a name. Each call's answer stands
under its name; a refusal is {"error": <HTTP status>, "message": ...}. Every call is made unless some are named.
"""

import argparse
import json
import sys

from openstack import connection, exceptions


def connect(arguments):
    """A connection without Keystone: the fixed token, the fixed endpoint."""
    options = {}
    if arguments.compute_api_version:
        options["compute_default_microversion"] = arguments.compute_api_version
    return connection.Connection(
        auth_type="admin_token",
        auth={"endpoint": arguments.endpoint, "token": arguments.token},
        compute_endpoint_override=arguments.endpoint,
        **options,
    )


def calls(compute, server):
    """The calls by name. All but `find` take the id, as the SDK does."""
    return {
        "find": lambda: {"id": server.id, "name": server.name, "status": server.status},
        "create_console_novnc": lambda: compute.create_console(server.id, "novnc"),
        "create_console_serial": lambda: compute.create_console(server.id, "serial"),
        "get_server_console_url_novnc": lambda: compute.get_server_console_url(server.id, "novnc"),
        "get_server_console_url_serial": lambda: compute.get_server_console_url(server.id, "serial"),
        "create_server_remote_console": lambda: compute.create_server_remote_console(
            server.id, protocol="vnc", type="novnc"
        ).to_dict(),
        "create_server_remote_console_serial": lambda: compute.create_server_remote_console(
            server.id, protocol="serial", type="serial"
        ).to_dict(),
    }


def plain(answer):
    """The answer without what the SDK adds for itself."""
    return {key: value for key, value in answer.items() if key not in ("location",) and value is not None}


def attempt(call):
    """The call's answer, or how it was refused."""
    try:
        return plain(call())
    except exceptions.HttpException as error:
        return {"error": error.status_code, "message": error.details or error.message}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("endpoint")
    parser.add_argument("token")
    parser.add_argument("server")
    parser.add_argument("--compute-api-version")
    parser.add_argument("--call", action="append", default=[])
    arguments = parser.parse_args()

    compute = connect(arguments).compute
    try:
        server = compute.find_server(arguments.server, ignore_missing=False)
    except exceptions.HttpException as error:
        print(json.dumps({"find": {"error": error.status_code, "message": str(error)}}))
        return 1
    available = calls(compute, server)
    wanted = arguments.call or list(available)
    print(json.dumps({name: attempt(available[name]) for name in wanted}, indent=2, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
