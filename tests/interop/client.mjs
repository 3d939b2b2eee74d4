// An agent on npm's @elastic/opamp-client-node: applies what it is offered until stdin ends.
// Arguments: where the package is installed, endpoint, seconds between heartbeats, service name.
// CA_FILE and TOKEN of the environment are what the server is known by and what it is shown.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const [installed, endpoint, heartbeat, service] = process.argv.slice(2);
const require = createRequire(path.join(installed, 'package.json'));
const opamp = require('@elastic/opamp-client-node');
const { AgentCapabilities, RemoteConfigStatuses } = opamp;

const { CA_FILE, TOKEN } = process.env;

const client = opamp.createOpAMPClient({
  endpoint,
  headers: TOKEN ? { Authorization: `Bearer ${TOKEN}` } : {},
  connect: CA_FILE ? { ca: readFileSync(CA_FILE) } : {},
  heartbeatIntervalSeconds: Number(heartbeat),
  capabilities:
    AgentCapabilities.AgentCapabilities_AcceptsRemoteConfig |
    AgentCapabilities.AgentCapabilities_ReportsRemoteConfig,
  onMessage: ({ remoteConfig }) => {
    if (!remoteConfig) return;
    const files = Object.values(remoteConfig.config?.configMap ?? {});
    const fails = files.some((file) => Buffer.from(file.body).includes('please fail'));
    console.log('offered', Buffer.from(remoteConfig.configHash).toString('hex'));
    client.setRemoteConfigStatus({
      status: fails
        ? RemoteConfigStatuses.RemoteConfigStatuses_FAILED
        : RemoteConfigStatuses.RemoteConfigStatuses_APPLIED,
      lastRemoteConfigHash: remoteConfig.configHash,
      errorMessage: fails ? 'it asked me to' : '',
    });
  },
});
client.setAgentDescription({
  identifyingAttributes: { 'service.name': service },
  nonIdentifyingAttributes: { client: 'node' },
});
client.start();
process.stdin.resume();
process.stdin.on('end', async () => {
  await client.shutdown();
  process.exit(0);
});
