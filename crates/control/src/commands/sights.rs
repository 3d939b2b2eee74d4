//! What the view says of an agent, as a command sees it.

use std::sync::Arc;

use model::AgentSummary;
use model::command::{Action, Order, Progress, Reply, Sight, Signs, Target, Way};
use opamp::InstanceUid;

use crate::view::{Shown, View};

/// Looks at agents in the view.
#[derive(Debug, Clone)]
pub(crate) struct Sights {
    pub(crate) view: Arc<View>,
}

impl Sights {
    /// An agent, and how far this command is with it.
    pub(crate) fn of(&self, uid: &InstanceUid, order: &Order) -> Sight {
        let renamed = match &order.action {
            Action::Reidentify { uid } => self.view.agent(uid).is_some_and(|new| new.connected),
            _ => false,
        };
        let Some(shown) = self.view.agent(uid) else {
            return Sight { renamed, ..Sight::default() };
        };
        let summary = &shown.entry.summary;
        Sight {
            way: way(&shown),
            session: summary.gateway.clone().map(|gateway| (gateway, summary.epoch)),
            epoch: summary.epoch,
            signs: signs(&shown),
            progress: progress(summary, order),
            renamed,
            reply: None,
        }
    }
}

impl Sights {
    /// What an agent answered to a custom message that it was given.
    pub(super) fn reply(&self, target: &Target, order: &Order) -> Option<Reply> {
        let Action::Custom(custom) = &order.action else { return None };
        let given = target.attempts > 0;
        let since = target.before.version;
        given.then(|| self.view.replies.answer(&target.uid, order, custom, since)).flatten()
    }
}

/// How an agent can be told something now.
pub(crate) fn way(shown: &Shown) -> Way {
    let summary = &shown.entry.summary;
    match (&summary.gateway, shown.connected) {
        (_, false) => Way::None,
        (Some(gateway), true) => Way::Session { gateway: gateway.clone(), epoch: summary.epoch },
        (None, true) => Way::Record,
    }
}

fn signs(shown: &Shown) -> Signs {
    let seen = shown.entry.summary.signs;
    let version = shown.entry.version;
    Signs {
        restarts: seen.restarts,
        restarted: seen.restarted,
        full_reports: seen.full_reports,
        version,
    }
}

fn progress(summary: &AgentSummary, order: &Order) -> Option<Progress> {
    let found = summary.commands.iter().find(|(id, _)| *id == order.id);
    found.map(|(_, progress)| *progress)
}
