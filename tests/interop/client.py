"""An agent on PyPI's opentelemetry-opamp-client: applies what it is offered until stdin ends.

Arguments: endpoint, seconds between heartbeats, name of the service. CA_FILE and TOKEN of the
environment are what the server is known by and what it is shown.
"""

import os
import sys

from opentelemetry._opamp.agent import OpAMPAgent
from opentelemetry._opamp.callbacks import OpAMPCallbacks
from opentelemetry._opamp.client import OpAMPClient
from opentelemetry._opamp.proto import opamp_pb2


class Applies(OpAMPCallbacks):
    """Fails on configs that ask for it, applies the others."""

    def on_message(self, agent, client, message):
        config = message.remote_config
        if config is None:
            return
        bodies = b"".join(file.body for file in config.config.config_map.values())
        fails = b"please fail" in bodies
        kinds = opamp_pb2.RemoteConfigStatuses
        status = client.update_remote_config_status(
            config.config_hash,
            kinds.RemoteConfigStatuses_FAILED if fails else kinds.RemoteConfigStatuses_APPLIED,
            error_message="it asked me to" if fails else "",
        )
        print("offered", config.config_hash.hex(), flush=True)
        if status is not None:
            agent.send(payload=client.build_remote_config_status_response_message(status))

    def on_error(self, agent, client, error_response):
        print("error", error_response.error_message, flush=True)


endpoint, heartbeat, service = sys.argv[1:]
token = os.environ.get("TOKEN")
client = OpAMPClient(
    endpoint=endpoint,
    headers={"Authorization": f"Bearer {token}"} if token else None,
    tls_certificate=os.environ.get("CA_FILE", True),
    agent_identifying_attributes={"service.name": service},
    agent_non_identifying_attributes={"client": "python"},
)
agent = OpAMPAgent(interval=float(heartbeat), callbacks=Applies(), client=client)
agent.start()
sys.stdin.read()
agent.stop()
