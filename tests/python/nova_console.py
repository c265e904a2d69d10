"""Asks for consoles with python-novaclient, and prints what came back as one JSON object.

    python nova_console.py ENDPOINT TOKEN SERVER VERSION

ENDPOINT is the compute endpoint (http://127.0.0.1:8774/v2.1), SERVER an id or a name, VERSION 2.1 to 2.104.
"""

import json
import sys

import novaclient
from keystoneauth1 import session, token_endpoint
from novaclient import api_versions, client, exceptions, utils


def main():
    endpoint, token, name, version = sys.argv[1:]
    # novaclient refuses versions newer than itself (2.96), whatever the server knows.
    version = min(api_versions.APIVersion(version), novaclient.API_MAX_VERSION)
    auth = token_endpoint.Token(endpoint, token)
    nova = client.Client(version, session=session.Session(auth=auth))
    server = utils.find_resource(nova.servers, name)
    answers = {"find": {"id": server.id, "name": server.name}}
    for kind, call in (("novnc", server.get_vnc_console), ("serial", server.get_serial_console)):
        try:
            answers[kind] = call(kind)
        except exceptions.ClientException as error:
            answers[kind] = {"error": error.code, "message": error.message}
    print(json.dumps(answers, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
