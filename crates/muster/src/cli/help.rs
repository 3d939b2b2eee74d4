//! Examples that stand under each command's help. A test types every one of them.

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 server unreachable,
  5 not allowed

Examples:
  # A server with five agents, to look around
  muster demo
  # In another terminal
  muster agents list";

pub(super) const SERVE: &str = "\
Examples:
  # Everything in one process; state in ./muster-data
  muster serve
  # Settings from a file, one of them overruled
  muster serve --config muster.toml --log json
  # One role of a cluster
  muster serve --role gateway --bus nats://nats:4222
  muster serve --role fleet-state,control --config cluster.toml";

pub(super) const CONFIG_CHECK: &str = "\
Examples:
  # The file and the environment that a service is about to start with
  muster config-check --config /etc/muster/muster.toml
  # With flags as `muster serve` takes them
  muster config-check --role gateway --bus nats://nats:4222
  # For scripts
  muster config-check --config muster.toml -o json | jq .problems";

pub(super) const DEMO: &str = "\
Examples:
  muster demo
  # More agents, and a state that is still there next time
  muster demo --agents 50 --data-dir demo-data";

pub(super) const AGENTS_LIST: &str = "\
Examples:
  muster agents list
  # Those heard last
  muster agents list --sort last-seen:desc --limit 20
  # Whose config failed, and why
  muster agents list --config-status failed --columns uid,name,error
  # Attributes select agents, and labels and attributes can be columns
  muster agents list -l 'service.name=otelcol,env in (prod,staging)'
  muster agents list -l '!canary' --columns name,label:zone,attr:host.name
  # Who can be told something in words of its own
  muster agents list --custom-capability org.example.echo --columns uid,name,custom
  # For scripts: uids alone, or everything
  muster agents list --status disconnected -o name
  muster agents list -o json | jq '.[].config.status'";

pub(super) const AGENTS_WATCH: &str = "\
Examples:
  muster agents watch
  # A line per change, for programs
  muster agents watch -l env=prod -o json
  # Only what came after a position that such a line had
  muster agents watch -l env=prod -o json --from 1.2.3";

pub(super) const AGENTS_GET: &str = "\
Examples:
  muster agents get 018bcfe5-6800-7007-8707-070707070707
  # The config it runs
  muster agents get 018bcfe5-6800-7007-8707-070707070707 -o json | jq .report.effective_config";

pub(super) const AGENTS_TRACE: &str = "\
Examples:
  muster agents trace 018bcfe5-6800-7007-8707-070707070707
  # What was said before it went silent, on any gateway
  muster agents trace 018bcfe5-6800-7007-8707-070707070707 --last 100 --no-follow
  # The configs it is sent, with their text
  muster agents trace 018bcfe5-6800-7007-8707-070707070707 --direction out --bodies
  # For programs
  muster agents trace 018bcfe5-6800-7007-8707-070707070707 -o json | jq -r .summary";

pub(super) const AGENTS_LABEL: &str = "\
Examples:
  # Add a label, and take one away
  muster agents label 018bcfe5-6800-7007-8707-070707070707 ring=canary old-
  # Whoever a selector selects; more than ten are asked about
  muster agents label -l 'env=prod,region=eu' ring=2 --yes";

pub(super) const AGENTS_DELETE: &str = "\
Examples:
  muster agents delete 018bcfe5-6800-7007-8707-070707070707";

pub(super) const HOLD: &str = "\
Examples:
  muster hold 'collectors in eu crash since 14:00'";

pub(super) const RESUME: &str = "\
Examples:
  muster resume";

pub(super) const CONFIG_APPLY: &str = "\
Examples:
  muster config apply collector -f collector.yaml
  # Several files need names of their own
  muster config apply gateway -f main=main.yaml -f tls=tls.yaml
  # From standard input
  muster config apply collector -f - < collector.yaml";

pub(super) const CONFIG_GET: &str = "\
Examples:
  # Its revisions
  muster config get collector
  # The file itself
  muster config get collector@3 > collector.yaml";

pub(super) const CONFIG_DIFF: &str = "\
Ends with 0 if both sides are the same, with 1 if they differ, and with 2 or more if it cannot tell.
Colours are for terminals; NO_COLOR=1 turns them off.

Examples:
  muster config diff collector@2 collector@3
  # A revision and the newest one
  muster config diff collector@2
  # The newest one and what is about to be applied
  muster config diff collector -f collector.yaml";

pub(super) const CONFIG_LIST: &str = "\
Examples:
  muster config list
  muster config list -o name";

pub(super) const SETTINGS_APPLY: &str = "\
A file for the agents' own metrics, with a token that is in a variable:
  class: own-metrics      # or opamp, own-traces, own-logs, other/NAME
  endpoint: https://otel.example.org:4318/v1/metrics
  headers:
    authorization: { value_env: OTEL_TOKEN, prefix: 'Bearer ' }   # or value_file

Examples:
  muster settings apply metrics -f metrics.yaml
  # From standard input
  muster settings apply heartbeat -f - < heartbeat.yaml
  # To a collector in the same network, in the clear
  muster settings apply metrics -f metrics.yaml --allow-http";

pub(super) const SETTINGS_GET: &str = "\
Examples:
  muster settings get metrics
  # Everything that is told of the newest revision
  muster settings get metrics -o json | jq '.revisions[-1]'";

pub(super) const SETTINGS_LIST: &str = "\
Examples:
  muster settings list
  muster settings list -o name";

pub(super) const SETTINGS_DELETE: &str = "\
Examples:
  muster settings delete metrics";

pub(super) const PACKAGES_CREATE: &str = "\
Examples:
  muster packages create collector@0.141.0 -f collector.yaml
  # What such a file says
  #   type: top-level
  #   files:
  #     - selector: os.type=linux,host.arch=amd64
  #       url: https://releases.example.org/collector_0.141.0_linux_amd64.tar.gz
  #       sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

pub(super) const PACKAGES_LIST: &str = "\
Examples:
  muster packages list -o name";

pub(super) const PACKAGES_GET: &str = "\
Examples:
  muster packages get collector@0.141.0 -o json";

pub(super) const PACKAGES_DELETE: &str = "\
Examples:
  muster packages delete collector@0.141.0";

pub(super) const PACKAGE_SETS_APPLY: &str = "\
Examples:
  muster package-sets apply edge collector@0.141.0 certificates@7";

pub(super) const PACKAGE_SETS_LIST: &str = "\
Examples:
  muster package-sets list";

pub(super) const PACKAGE_SETS_GET: &str = "\
Examples:
  muster package-sets get edge";

pub(super) const PACKAGE_SETS_DELETE: &str = "\
Examples:
  muster package-sets delete edge";

pub(super) const ENROLLMENT_CREATE: &str = "\
Examples:
  # For the machines of one rollout, and no longer than a day
  muster enrollment-tokens create rollout-7 --label env=prod --uses 40 --expires-in 24h
  # An operator looks at each agent that comes with it
  muster enrollment-tokens create partners --approval manual
  # For a script
  muster enrollment-tokens create ci -o json | jq -r .token";

pub(super) const ENROLLMENT_LIST: &str = "\
Examples:
  muster enrollment-tokens list
  muster enrollment-tokens list -o json | jq '.[] | select(.state == \"live\")'";

pub(super) const ENROLLMENT_GET: &str = "\
Examples:
  muster enrollment-tokens get rollout-7";

pub(super) const ENROLLMENT_REVOKE: &str = "\
Examples:
  muster enrollment-tokens revoke rollout-7";

pub(super) const CREDENTIALS_LIST: &str = "\
Examples:
  muster credentials list
  # Who waits to be let in
  muster credentials list --state pending -o name";

pub(super) const CREDENTIALS_GET: &str = "\
Examples:
  muster credentials get 0192a3b4-5c6d-7e8f-9012-3456789abcde -o json";

pub(super) const CREDENTIALS_APPROVE: &str = "\
Examples:
  muster credentials approve 0192a3b4-5c6d-7e8f-9012-3456789abcde";

pub(super) const CREDENTIALS_ROTATE: &str = "\
Examples:
  muster credentials rotate 0192a3b4-5c6d-7e8f-9012-3456789abcde";

pub(super) const CREDENTIALS_REVOKE: &str = "\
Examples:
  muster credentials revoke 0192a3b4-5c6d-7e8f-9012-3456789abcde";

pub(super) const CREDENTIALS_RESET: &str = "\
Examples:
  muster credentials reset 0192a3b4-5c6d-7e8f-9012-3456789abcde";

pub(super) const CREDENTIALS_ISSUE: &str = "\
Examples:
  muster credentials issue 0192a3b4-5c6d-7e8f-9012-3456789abcde --expires-in 30d
  # In place of all that the agent has
  muster credentials issue 0192a3b4-5c6d-7e8f-9012-3456789abcde --revoke-older";

pub(super) const ASSIGN_SET: &str = "\
Examples:
  # All agents, where nothing of a higher priority selects them
  muster assign set everyone -l '' --config collector --priority -1
  # One revision for the agents of an environment
  muster assign set prod -l env=prod --config collector@3
  # Who would change, before anybody does
  muster assign set prod -l env=prod --config collector@4 --dry-run
  # Packages; the preview says what agents would delete
  muster assign set edge -l site=edge --packages edge@2 --dry-run
  # Slowly, and not on if one fails
  muster assign set prod -l env=prod --config collector --max-in-flight 2 --max-failures 1";

pub(super) const ASSIGN_LIST: &str = "\
Examples:
  muster assign list
  muster assign list -o json";

pub(super) const ASSIGN_REMOVE: &str = "\
Examples:
  muster assign remove prod";

pub(super) const CUSTOM_SEND: &str = "\
Ends with 0 once it is given. With --wait: with 0 once every agent has it, or has answered, and with
1 if one did not. The demo's agents answer a ping of org.example.echo with a pong.

Examples:
  # Whoever a selector selects, and their answers
  muster custom send -l a=b --capability org.example.echo --type ping --reply-type pong --wait
  # Data from a file, or from standard input
  muster custom send -l a=b --capability com.example.profile --type start -f profile.json
  # Not now: agents that poll or are away have an hour
  muster custom send -l a=b --capability com.example.profile --type start -d 30s --queue 1h";

pub(super) const CUSTOM_WATCH: &str = "\
Examples:
  muster custom watch
  # One kind of message, from some agents
  muster custom watch -l env=prod --capability org.example.echo --type pong
  # For programs, and only what came after a position that such a line had
  muster custom watch --capability org.example.echo -o json --from 1.2.3";

pub(super) const RESTART: &str = "\
Examples:
  muster restart 018bcfe5-6800-7007-8707-070707070707 --wait
  # Whom would it be for?
  muster restart -l 'service.name=otelcol,env=prod' --dry-run
  # Five a second; more than ten are asked about
  muster restart -l env=prod --max-per-second 5 --yes --wait
  # An agent that polls, or is away: whenever it is heard in the next hour
  muster restart 018bcfe5-6800-7007-8707-070707070707 --queue 1h
  # In a script that may run twice
  muster restart -l env=prod --yes --request-id upgrade-42";

pub(super) const REFRESH: &str = "\
Examples:
  muster refresh 018bcfe5-6800-7007-8707-070707070707
  muster refresh -l env=prod --yes";

pub(super) const DISCONNECT: &str = "\
Examples:
  muster disconnect 018bcfe5-6800-7007-8707-070707070707 --wait";

pub(super) const REIDENTIFY: &str = "\
Examples:
  muster reidentify 018bcfe5-6800-7007-8707-070707070707 --wait";

pub(super) const COMMANDS_LIST: &str = "\
Examples:
  muster commands list
  # What is under way, and what nobody knows
  muster commands list --open
  muster commands list --state unknown -o json
  # What one agent was told
  muster commands list --agent 018bcfe5-6800-7007-8707-070707070707";

pub(super) const COMMANDS_GET: &str = "\
Examples:
  muster commands get 018bcfe5-6800-7007-8707-070707070707
  muster commands get 018bcfe5-6800-7007-8707-070707070707 -o json | jq .targets";

pub(super) const COMMANDS_WATCH: &str = "\
Examples:
  muster commands watch 018bcfe5-6800-7007-8707-070707070707";

pub(super) const COMMANDS_CANCEL: &str = "\
Examples:
  muster commands cancel 018bcfe5-6800-7007-8707-070707070707";

pub(super) const STATUS: &str = "\
Examples:
  muster status
  # For scripts
  muster status -o json | jq .view.behind";

pub(super) const COMPONENTS_LIST: &str = "\
Examples:
  muster components list
  # Which versions of one there are, and how many agents have each
  muster components list receivers/otlp
  muster components list -l service.name=otelcol -o json | jq '.components[].name'";

pub(super) const GATEWAYS_LIST: &str = "\
Examples:
  muster gateways list
  muster gateways list -o json | jq 'map(.sessions) | add'";

pub(super) const BACKUP: &str = "\
Examples:
  # A server of its own, once it is stopped
  muster backup --data-dir muster-data muster.backup
  # A cluster, which goes on
  muster backup --ledger redis://ledger:6379 muster.backup
  # With the settings of the server, for a timer
  muster backup --config /etc/muster/muster.toml /var/backups/muster.backup";

pub(super) const RESTORE: &str = "\
Examples:
  # What is in it, and whether it is whole
  muster restore muster.backup --dry-run
  # Into a data directory, while its server is stopped
  muster restore muster.backup --data-dir muster-data
  # Into the empty Redis of a cluster; its records say which decisions agents know of
  muster restore muster.backup --ledger redis://ledger:6379 --store redis://records:6379
  # Over a ledger that is not empty
  muster restore muster.backup --config /etc/muster/muster.toml --replace";

pub(super) const CONTEXT_LIST: &str = "\
Examples:
  muster context list";

pub(super) const CONTEXT_USE: &str = "\
Examples:
  muster context use prod";

pub(super) const CONTEXT_SET: &str = "\
Examples:
  muster context set local --server http://127.0.0.1:4321
  muster context set prod --server https://muster.example:4321 --token-file ~/.muster-token
  # Another authority, the rest as it was
  muster context set prod --ca-file ca.pem";

pub(super) const CONTEXT_DELETE: &str = "\
Examples:
  muster context delete local";

pub(super) const COMPLETION: &str = "\
Examples:
  # bash, with the package bash-completion
  muster completion bash > ~/.local/share/bash-completion/completions/muster
  # zsh, in a directory of $fpath
  muster completion zsh > ~/.zfunc/_muster
  # fish
  muster completion fish > ~/.config/fish/completions/muster.fish
  # PowerShell: put into the profile what this prints
  muster completion powershell
  # In this bash only
  source <(muster completion bash)";

#[cfg(test)]
mod tests;
