//! I1: after faults stop, each live agent's record equals what that agent last reported, and every
//! control shows it.

use control::v1::ConnectionStatus;

use super::{Evidence, Seen, Violation, violation};

pub(super) fn decide(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for agent in &evidence.agents {
        if let Some(what) = record_differs(evidence, agent) {
            found.push(violation("I1", format!("agent {}: record: {what}", agent.index)));
        }
        for view in &evidence.views {
            let what = match view {
                None => Some("not shown: control does not list".to_owned()),
                Some(_) => view_differs(view.as_deref().unwrap_or_default(), agent),
            };
            if let Some(what) = what {
                found.push(violation("I1", format!("agent {}: view: {what}", agent.index)));
            }
        }
    }
    found
}

fn record_differs(evidence: &Evidence, agent: &Seen) -> Option<String> {
    let Some(record) = evidence.records.get(&agent.uid) else {
        return Some("there is none".to_owned());
    };
    let reported = &record.reported;
    let health = reported.health.as_ref().map_or("", |health| &health.status);
    if health != agent.mood {
        return Some(format!("health is {health:?}, the agent's {:?}", agent.mood));
    }
    if reported.remote_config_status.as_ref() != Some(&agent.status) {
        return Some(format!("status is not {:?}", agent.status));
    }
    if reported.effective_config.as_ref() != Some(&agent.effective) {
        return Some("effective config is another".to_owned());
    }
    if reported.agent_description.is_none() {
        return Some("no description".to_owned());
    }
    if !agent.polls && record.owner.is_none() {
        return Some("nobody owns it".to_owned());
    }
    None
}

fn view_differs(view: &[control::v1::Agent], agent: &Seen) -> Option<String> {
    let uid = agent.uid.to_string();
    let Some(shown) = view.iter().find(|shown| shown.instance_uid == uid) else {
        return Some("not there".to_owned());
    };
    let health = shown.health.as_ref().map_or("", |health| &health.status);
    if health != agent.mood {
        return Some(format!("health is {health:?}, the agent's {:?}", agent.mood));
    }
    if shown.status() != ConnectionStatus::Connected {
        return Some(format!("is {:?}", shown.status()));
    }
    let hash = shown.config.as_ref().map_or(&[][..], |config| &config.reported_hash);
    (hash != agent.status.last_remote_config_hash).then(|| "config is another".to_owned())
}
