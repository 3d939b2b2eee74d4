//! A new command: the request checked, its agents found, and both given to the driver.

use std::collections::BTreeSet;

use model::Timestamp;
use model::command::{
    Action, CommandId, Custom, Expected, Order, TARGETS_MAX, Target, Way, digest,
};
use model::selector::Selector;
use opamp::InstanceUid;
use opamp::v1::AgentCapabilities;
use prost::Message as _;

use super::shape;
use crate::Error;
use crate::actor::Actor;
use crate::api::agents::parse_selector;
use crate::api::custom::check_message;
use crate::api::{Api, convert, names};
use crate::commands::{Made, way};
use crate::ledger::{Filed, Relabel};
use crate::v1::{self, CreateCommandRequest, CreateCommandResponse, command as wire};
use crate::view::{Impact, Shown};

/// Whom a command is for.
#[derive(Debug, Default)]
struct Crowd {
    matched: usize,
    told: Vec<InstanceUid>,
    impact: Impact,
    /// Left out for want of a connection.
    away: usize,
    /// Left out since they poll.
    polling: usize,
    unable: Impact,
}

/// Why an agent is left out.
enum LeftOut {
    Away,
    Polling,
    Unable(String),
}

impl Api {
    pub(super) async fn give(
        &self,
        request: CreateCommandRequest,
        actor: &Actor,
    ) -> Result<CreateCommandResponse, Error> {
        self.check_view()?;
        let now = self.ledger.clock.now();
        let mut order = self.order(&request, actor, now)?;
        if !request.request_id.is_empty()
            && !request.validate_only
            && let Some(found) = self.ledger.command(&order.id).await?
        {
            return self.repeated(&found, &order);
        }
        let crowd = self.crowd(&request, &order)?;
        self.fit(&mut order, &request, crowd.told.len(), now)?;
        if request.validate_only {
            return Ok(answer(&crowd, None));
        }
        if let Action::Reidentify { uid } = &order.action {
            self.copy_labels(&crowd.told, uid).await?;
        }
        let targets: Vec<Target> = crowd.told.iter().map(|uid| Target::new(*uid, now)).collect();
        let name = format!("commands/{}", order.id);
        match self.commands.give(&self.ledger, Filed::new(order.clone(), &targets)).await? {
            Made::Filed(filed) => {
                let action = order.action.name();
                // Not what is in it: payloads are nobody's business here.
                tracing::info!(actor = order.actor, name, action, "command given");
                metrics::counter!("muster_control_commands_total").increment(1);
                Ok(answer(&crowd, Some(shape::command(&filed, self.ledger.clock.now()))))
            }
            Made::Exists => {
                let found = self.ledger.command(&order.id).await?;
                self.repeated(&found.ok_or(Error::Aborted(name))?, &order)
            }
        }
    }

    /// The same request again returns what it made before.
    fn repeated(&self, found: &Filed, order: &Order) -> Result<CreateCommandResponse, Error> {
        if found.order.digest != order.digest {
            let reason = format!("was used for another request, commands/{}", found.order.id);
            return Err(Error::invalid("request_id", reason));
        }
        let command = shape::command(found, self.ledger.clock.now());
        let matched_agents = i64::from(found.order.targets);
        let command = Some(command);
        Ok(CreateCommandResponse { command, matched_agents, ..Default::default() })
    }

    /// What is ordered, as far as the request alone can say.
    fn order(
        &self,
        request: &CreateCommandRequest,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Order, Error> {
        let none = || Error::invalid("command", "must be given");
        let wanted = request.command.as_ref().ok_or_else(none)?;
        let action = self.action(wanted)?;
        Ok(Order {
            id: self.command_id(&request.request_id, now)?,
            confirm_ms: self.confirm_ms(wanted, &action)?,
            action,
            actor: actor.name(),
            created: now,
            expires: now,
            queue: wanted.queue,
            selector: request.selector.clone(),
            max_per_second: self.rate(wanted.max_per_second)?,
            digest: request_digest(request),
            driver: self.name.clone(),
            targets: 0,
        })
    }

    fn command_id(&self, request_id: &str, now: Timestamp) -> Result<CommandId, Error> {
        let max = self.limits.request_id_chars_max;
        if request_id.chars().count() > max {
            return Err(Error::invalid("request_id", format!("at most {max} characters")));
        }
        if !request_id.is_empty() {
            return Ok(CommandId::of_request(request_id));
        }
        let mut random = [0; 10];
        self.random.fill(&mut random);
        Ok(CommandId::fresh(now.0, random))
    }

    fn action(&self, wanted: &v1::Command) -> Result<Action, Error> {
        let none = || Error::invalid("command.action", "must be given");
        Ok(match wanted.action.as_ref().ok_or_else(none)? {
            wire::Action::Restart(_) => Action::Restart,
            wire::Action::Refresh(_) => Action::Refresh,
            wire::Action::Disconnect(_) => Action::Disconnect,
            wire::Action::Reidentify(_) => {
                let uid = model::seams::new_uid(&*self.ledger.clock, &*self.random);
                Action::Reidentify { uid }
            }
            wire::Action::CustomMessage(message) => Action::Custom(self.custom(message)?),
        })
    }

    fn custom(&self, message: &wire::CustomMessage) -> Result<Custom, Error> {
        check_message(message)?;
        let (size, max) = (message.data.len(), self.limits.command_payload_bytes_max);
        if size > max {
            let reason = format!("{size} bytes, at most {max}");
            return Err(Error::invalid("command.custom_message.data", reason));
        }
        Ok(Custom {
            capability: message.capability.clone(),
            kind: message.r#type.clone(),
            data: message.data.to_vec(),
            reply: message
                .reply
                .as_ref()
                .map(|reply| Expected { kind: reply.r#type.clone(), key: reply.key.clone() }),
        })
    }

    fn confirm_ms(&self, wanted: &v1::Command, action: &Action) -> Result<u64, Error> {
        let field = "command.confirm_window";
        let Some(window) = &wanted.confirm_window else { return Ok(action.confirm_ms()) };
        let window = std::time::Duration::try_from(*window);
        let window = window.ok().filter(|window| !window.is_zero());
        let window = window.ok_or_else(|| Error::invalid(field, "must be above 0"))?;
        if window > self.limits.command_confirm_max {
            let reason = format!("at most {:?}", self.limits.command_confirm_max);
            return Err(Error::invalid(field, reason));
        }
        Ok(u64::try_from(window.as_millis()).unwrap_or(u64::MAX))
    }

    fn rate(&self, asked: i32) -> Result<u32, Error> {
        let (field, max) = ("command.max_per_second", self.limits.command_rate_max);
        match u32::try_from(asked) {
            Err(_) => Err(Error::invalid(field, "must not be negative")),
            Ok(0) => Ok(self.limits.command_rate_default),
            Ok(rate) if rate > max => Err(Error::invalid(field, format!("at most {max}"))),
            Ok(rate) => Ok(rate),
        }
    }

    /// What depends on how many it is for.
    fn fit(
        &self,
        order: &mut Order,
        request: &CreateCommandRequest,
        targets: usize,
        now: Timestamp,
    ) -> Result<(), Error> {
        let field = "command.expire_time";
        order.targets = u32::try_from(targets).unwrap_or(u32::MAX);
        let millis =
            |long: std::time::Duration| u64::try_from(long.as_millis()).unwrap_or(u64::MAX);
        let turns = u64::from(order.targets) * 1000 / u64::from(order.max_per_second.max(1));
        let default = Timestamp(now.0 + millis(self.limits.command_expire_default) + turns);
        let latest = Timestamp(now.0 + millis(self.limits.command_expire_max));
        let asked = request.command.as_ref().and_then(|command| command.expire_time.as_ref());
        order.expires = match asked {
            None => default.min(latest),
            Some(asked) => {
                let reason = || Error::invalid(field, "is not a time after 1970");
                convert::time_in(asked).ok_or_else(reason)?
            }
        };
        if order.expires <= now {
            return Err(Error::invalid(field, "is in the past"));
        }
        if order.expires > latest {
            let days = self.limits.command_expire_max.as_secs() / 86_400;
            return Err(Error::invalid(field, format!("is more than {days} days away")));
        }
        Ok(())
    }

    /// Whom it is for. Of agents that were named, all must be able to take it.
    fn crowd(&self, request: &CreateCommandRequest, order: &Order) -> Result<Crowd, Error> {
        let named = !request.agents.is_empty();
        let matched = match (named, request.selector.as_str()) {
            (true, "") => self.named_agents(&request.agents)?,
            (true, _) => {
                return Err(Error::invalid("selector", "must not be given beside agents"));
            }
            (false, "") => {
                let reason = "must be given, * for all, if no agents are named";
                return Err(Error::invalid("selector", reason));
            }
            (false, "*") => self.view.selected(&Selector::default()),
            (false, text) => self.view.selected(&parse_selector("selector", text)?),
        };
        if matches!(order.action, Action::Reidentify { .. }) && request.agents.len() != 1 {
            return Err(Error::invalid("agents", "must be one: each gets a uid of its own"));
        }
        let mut crowd = Crowd { matched: matched.len(), ..Crowd::default() };
        for shown in &matched {
            crowd.add(shown, order, named)?;
        }
        let field = if named { "agents" } else { "selector" };
        if crowd.told.len() > TARGETS_MAX {
            let reason = format!("{} agents, at most {TARGETS_MAX}", crowd.told.len());
            return Err(Error::invalid(field, reason));
        }
        if crowd.told.is_empty() && !request.validate_only {
            return Err(Error::Precondition(format!("selector: {}", crowd.why_nobody())));
        }
        Ok(crowd)
    }

    fn named_agents(&self, names: &[String]) -> Result<Vec<Shown>, Error> {
        let mut uids = BTreeSet::new();
        for name in names {
            uids.insert(names::parse_agent_in("agents", name)?);
        }
        let found = |uid: &InstanceUid| {
            self.view.agent(uid).ok_or_else(|| Error::NotFound(names::agent(uid)))
        };
        uids.iter().map(found).collect()
    }

    /// The operator's words about an agent go with it.
    async fn copy_labels(&self, from: &[InstanceUid], to: &InstanceUid) -> Result<(), Error> {
        let old = from.first().and_then(|uid| self.view.agent(uid));
        let set = old.map(|shown| shown.entry.summary.labels.clone()).unwrap_or_default();
        if !set.is_empty() {
            let change = Relabel { set, remove: Vec::new() };
            self.ledger.relabel(&[*to], &change).await?;
        }
        Ok(())
    }
}

impl Crowd {
    fn add(&mut self, shown: &Shown, order: &Order, named: bool) -> Result<(), Error> {
        let agent = names::agent(&shown.uid);
        match left_out(shown, order) {
            None => {
                self.told.push(shown.uid);
                self.impact.add(&shown.entry.summary, shown.connected);
                return Ok(());
            }
            Some(LeftOut::Unable(what)) if named => {
                return Err(Error::Precondition(format!("agents: {agent} {what}")));
            }
            Some(LeftOut::Away) if named => {
                let reason = format!("agents: {agent} is not connected; queue it to wait for it");
                return Err(Error::Precondition(reason));
            }
            Some(LeftOut::Polling) if named => {
                let reason = format!("agents: {agent} polls; queue it to wait for its next poll");
                return Err(Error::Precondition(reason));
            }
            Some(LeftOut::Unable(_)) => self.unable.add(&shown.entry.summary, shown.connected),
            Some(LeftOut::Away) => self.away += 1,
            Some(LeftOut::Polling) => self.polling += 1,
        }
        Ok(())
    }

    fn why_nobody(&self) -> String {
        format!(
            "of {} agents none can be told: {} are not connected, {} poll, {} cannot take it",
            self.matched, self.away, self.polling, self.unable.agents
        )
    }
}

/// Why an agent cannot be told, if it cannot.
fn left_out(shown: &Shown, order: &Order) -> Option<LeftOut> {
    if let Some(what) = unable(shown, &order.action) {
        return Some(LeftOut::Unable(what));
    }
    match way(shown) {
        Way::Session { .. } => None,
        Way::Record if !order.action.is_told() => {
            Some(LeftOut::Unable("polls: it has no connection to close".to_owned()))
        }
        Way::Record if !order.queue => Some(LeftOut::Polling),
        Way::None if !order.queue => Some(LeftOut::Away),
        Way::Record | Way::None => None,
    }
}

/// What an agent lacks for an action.
fn unable(shown: &Shown, action: &Action) -> Option<String> {
    let summary = &shown.entry.summary;
    // Its connection may be closed all the same.
    if action.is_told() && summary.admission.as_ref().is_some_and(|it| it.is_pending()) {
        return Some("waits to be let in and is told nothing".to_owned());
    }
    match action {
        Action::Restart => {
            let bit = AgentCapabilities::AcceptsRestartCommand;
            let has = opamp::capability::has(summary.capabilities, bit);
            (!has).then(|| "does not have the capability AcceptsRestartCommand".to_owned())
        }
        Action::Custom(custom) => {
            let declared = summary.custom_capabilities.contains(&custom.capability);
            let lacks = || format!("did not declare the custom capability {}", custom.capability);
            (!declared).then(lacks)
        }
        Action::Refresh | Action::Disconnect | Action::Reidentify { .. } => None,
    }
}

fn request_digest(request: &CreateCommandRequest) -> [u8; 32] {
    let (request_id, validate_only) = (String::new(), false);
    let same = CreateCommandRequest { request_id, validate_only, ..request.clone() };
    digest(&same.encode_to_vec())
}

fn answer(crowd: &Crowd, command: Option<v1::Command>) -> CreateCommandResponse {
    CreateCommandResponse {
        command,
        matched_agents: convert::count(crowd.matched),
        told: Some(convert::impact(&crowd.impact)),
        disconnected_agents: convert::count(crowd.away),
        polling_agents: convert::count(crowd.polling),
        unable: Some(convert::impact(&crowd.unable)),
    }
}
