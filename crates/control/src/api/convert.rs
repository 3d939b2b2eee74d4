//! From what is known to what the API says.

use std::collections::BTreeMap;

use model::assign::{Assignment, Content, Hold};
use model::brake::{Stage, Tally};
use model::credential::Admission;
use model::settings::SettingsRef;
use model::summary::{PackagesState, PackagesSummary, SettingsState, SettingsSummary};
use model::{AgentRecord, AgentSummary, Config, Revision, Timestamp};
use opamp::v1::{AgentCapabilities, AgentConfigFile, ComponentHealth, RemoteConfigStatuses};
use prost_types::Timestamp as WireTime;

use super::names;
use crate::v1;
use crate::view::{Entry, Impact, Shown};

pub(crate) fn agent(shown: &Shown) -> v1::Agent {
    let summary = &shown.entry.summary;
    let connected = if shown.connected {
        v1::ConnectionStatus::Connected
    } else {
        v1::ConnectionStatus::Disconnected
    };
    v1::Agent {
        name: names::agent(&shown.uid),
        instance_uid: shown.uid.to_string(),
        status: connected.into(),
        gateway_id: summary.gateway.as_ref().map_or(String::new(), ToString::to_string),
        epoch: summary.epoch,
        transport: transport(summary).to_owned(),
        remote_address: summary.remote_address.clone(),
        capabilities: summary.capabilities,
        identifying_attributes: summary.identifying_attributes.clone(),
        non_identifying_attributes: summary.non_identifying_attributes.clone(),
        labels: summary.labels.clone(),
        health: summary.health.as_ref().map(|health| ComponentHealth {
            healthy: health.healthy,
            status: health.status.clone(),
            last_error: health.last_error.clone(),
            start_time_unix_nano: health.start_time_unix_nano,
            ..Default::default()
        }),
        config: Some(standing(shown)),
        first_seen_time: (summary.first_seen != Timestamp(0)).then(|| time(summary.first_seen)),
        last_seen_time: Some(time(last_seen(&shown.entry))),
        version: shown.entry.version,
        report: None,
        custom_capabilities: summary.custom_capabilities.clone(),
        packages: summary.packages.as_deref().map(|it| packages(it, summary.capabilities)),
        connection_settings: summary.settings.as_deref().map(connection_settings),
        admission: summary.admission.as_deref().map_or(0, |it| admission(it).into()),
    }
}

fn admission(admission: &Admission) -> v1::AgentAdmission {
    match admission {
        it if it.standing.refused => v1::AgentAdmission::Revoked,
        it if it.is_pending() => v1::AgentAdmission::Pending,
        it if it.by.is_empty() => v1::AgentAdmission::Credential,
        _ => v1::AgentAdmission::Enrolled,
    }
}

/// How it reaches its gateway.
pub(crate) fn transport(summary: &AgentSummary) -> &'static str {
    if summary.gateway.is_none() && summary.polls { "http" } else { "websocket" }
}

/// When it last spoke.
pub(crate) fn last_seen(entry: &Entry) -> Timestamp {
    entry.summary.last_seen.max(entry.heard)
}

/// Everything an agent reported.
pub(crate) fn report(record: AgentRecord) -> v1::AgentReport {
    v1::AgentReport {
        effective_config: record.reported.effective_config,
        remote_config_status: record.reported.remote_config_status,
        package_statuses: record.reported.package_statuses,
        custom_capabilities: record.reported.custom_capabilities,
        available_components: record.reported.available_components,
        connection_settings_status: record.reported.connection_settings_status,
        sequence_num: record.sequence_num,
        token_name: record.token_name,
    }
}

fn standing(shown: &Shown) -> v1::AgentConfig {
    let (summary, config) = (&shown.entry.summary, &shown.entry.summary.config);
    let offered = config.offered.as_ref();
    v1::AgentConfig {
        status: config_status(summary).into(),
        offered_revision: offered
            .map_or(String::new(), |offered| names::revision(&offered.config, offered.revision)),
        offered_hash: offered.map_or(Vec::new(), |offered| offered.hash.0.to_vec()),
        reported_hash: config.reported_hash.clone(),
        error_message: config.error_message.clone(),
    }
}

/// Where it stands with the config it is offered.
pub(crate) fn config_status(summary: &AgentSummary) -> v1::ConfigStatus {
    let config = &summary.config;
    let takes =
        opamp::capability::has(summary.capabilities, AgentCapabilities::AcceptsRemoteConfig);
    match config.offered {
        None => v1::ConfigStatus::Unassigned,
        Some(_) if !takes => v1::ConfigStatus::Unsupported,
        // It will not be told again, whatever it speaks of now.
        Some(_) if config.refused => v1::ConfigStatus::Failed,
        Some(_) if !config.is_about_offer() => v1::ConfigStatus::Pending,
        Some(_) => match RemoteConfigStatuses::try_from(config.status) {
            Ok(RemoteConfigStatuses::Applied) => v1::ConfigStatus::Applied,
            Ok(RemoteConfigStatuses::Applying) => v1::ConfigStatus::Applying,
            Ok(RemoteConfigStatuses::Failed) => v1::ConfigStatus::Failed,
            Ok(RemoteConfigStatuses::Unset) | Err(_) => v1::ConfigStatus::Pending,
        },
    }
}

fn packages(packages: &PackagesSummary, capabilities: u64) -> v1::AgentPackages {
    use v1::agent_packages::Status;
    let offered = packages.offered.as_ref();
    let takes = opamp::capability::has(capabilities, AgentCapabilities::AcceptsPackages);
    let status = match packages.state {
        _ if offered.is_none() => Status::Unassigned,
        _ if !takes => Status::Unsupported,
        _ if packages.refused => Status::Failed,
        PackagesState::Unknown => Status::Pending,
        PackagesState::Installing => Status::Installing,
        PackagesState::Installed => Status::Installed,
        PackagesState::Failed => Status::Failed,
    };
    v1::AgentPackages {
        status: status.into(),
        offered_revision: offered.map_or(String::new(), |it| package_set(&it.set, it.revision)),
        offered_hash: offered.map_or(Vec::new(), |it| it.hash.0.to_vec()),
        error_message: packages.error_message.clone(),
        download_percent: packages.download_percent,
    }
}

fn connection_settings(settings: &SettingsSummary) -> v1::AgentConnectionSettings {
    use v1::agent_connection_settings::{Offered, Status};
    let status = match settings.state {
        _ if settings.refused => Status::Failed,
        SettingsState::Unknown => Status::Pending,
        SettingsState::Applying => Status::Applying,
        SettingsState::Applied => Status::Applied,
        SettingsState::Failed => Status::Failed,
    };
    let offered = |it: &SettingsRef| Offered {
        class: it.class.to_string(),
        revision: self::settings(&it.settings, it.revision),
    };
    v1::AgentConnectionSettings {
        status: status.into(),
        offered: settings.offered.values().map(offered).collect(),
        error_message: settings.error_message.clone(),
    }
}

/// `packageSets/{set}/revisions/{revision}`.
fn package_set(set: &str, revision: u64) -> String {
    names::revision_in("packageSets", set, revision)
}

/// `connectionSettings/{settings}/revisions/{revision}`.
fn settings(settings: &str, revision: u64) -> String {
    names::revision_in("connectionSettings", settings, revision)
}

pub(crate) fn config(config: &Config) -> v1::Config {
    let revision = |revision: &Revision| self::revision(&config.name, revision, BTreeMap::new());
    v1::Config {
        name: format!("configs/{}", config.name),
        revisions: config.revisions.iter().map(revision).collect(),
    }
}

pub(crate) fn revision(
    config: &str,
    revision: &Revision,
    files: BTreeMap<String, AgentConfigFile>,
) -> v1::ConfigRevision {
    v1::ConfigRevision {
        name: names::revision(config, revision.number),
        revision: revision.number,
        hash: revision.hash.0.to_vec(),
        create_time: Some(time(revision.created)),
        size_bytes: i64::try_from(revision.size_bytes).unwrap_or(i64::MAX),
        keys: revision.keys.clone(),
        files,
        actor: revision.actor.clone(),
    }
}

pub(crate) fn assignment(assignment: &Assignment, tally: Option<&Tally>) -> v1::Assignment {
    let (brake, mut revisions) = (&assignment.brake, [(); 3].map(|()| String::new()));
    match &assignment.content {
        Content::Config(config) => revisions[0] = names::revision(&config.config, config.revision),
        Content::Packages(set) => revisions[1] = package_set(&set.set, set.revision),
        Content::Settings(it) => revisions[2] = settings(&it.settings, it.revision),
    }
    let [config_revision, package_set_revision, settings_revision] = revisions;
    v1::Assignment {
        name: format!("assignments/{}", assignment.name),
        selector: assignment.selector.as_str().to_owned(),
        config_revision,
        package_set_revision,
        settings_revision,
        priority: assignment.priority,
        update_time: Some(time(assignment.updated)),
        max_in_flight: i32::try_from(brake.max_in_flight).unwrap_or(i32::MAX),
        max_failures: i32::try_from(brake.max_failures).unwrap_or(i32::MAX),
        progress: tally.map(|tally| progress(brake.stage, tally)),
        actor: assignment.actor.clone(),
    }
}

fn progress(stage: Stage, tally: &Tally) -> v1::assignment::Progress {
    use v1::assignment::State;
    let state = match stage {
        Stage::Releasing(_) => State::Releasing,
        Stage::Released => State::Released,
        Stage::Done => State::Done,
        Stage::Stopped { .. } => State::Stopped,
    };
    v1::assignment::Progress {
        state: state.into(),
        agents: count(tally.agents),
        applied: count(tally.applied),
        failed: count(tally.failed),
        in_flight: count(tally.in_flight),
        waiting: count(tally.queued.len() + tally.away),
    }
}

pub(crate) fn hold(hold: &Hold) -> v1::Hold {
    v1::Hold {
        since_time: Some(time(hold.since)),
        reason: hold.reason.clone(),
        actor: hold.actor.clone(),
    }
}

/// What a change does, the largest kinds first.
pub(crate) fn impact(impact: &Impact) -> v1::Impact {
    let kind = |((name, version), agents): (&(String, String), &usize)| v1::impact::Kind {
        service_name: name.clone(),
        service_version: version.clone(),
        agents: count(*agents),
    };
    let mut kinds: Vec<_> = impact.kinds.iter().map(kind).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.agents));
    let deleted = |(package, agents): (&String, &usize)| v1::impact::DeletedPackage {
        package: package.clone(),
        agents: count(*agents),
    };
    let mut deleted_packages: Vec<_> = impact.deleted_packages.iter().map(deleted).collect();
    deleted_packages.sort_by_key(|package| std::cmp::Reverse(package.agents));
    v1::Impact {
        agents: count(impact.agents),
        kinds,
        disconnected_agents: count(impact.disconnected),
        deleted_packages,
        incomplete_agents: count(impact.incomplete),
    }
}

pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What an operator says, to the millisecond.
pub(crate) fn time_in(time: &WireTime) -> Option<Timestamp> {
    let seconds = u64::try_from(time.seconds).ok()?;
    let millis = u64::try_from(time.nanos).ok()? / 1_000_000;
    Some(Timestamp(seconds.checked_mul(1000)?.checked_add(millis)?))
}

pub(crate) fn time(at: Timestamp) -> WireTime {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(at.0 % 1000).unwrap_or(0) * 1_000_000;
    WireTime { seconds, nanos }
}
