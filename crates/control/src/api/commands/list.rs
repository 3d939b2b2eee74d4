//! Lists of commands and of their targets. Read from the ledger, at whichever control.

use std::cmp::Reverse;

use model::Timestamp;
use model::command::{CommandId, State};
use prost::Message as _;

use super::shape::{self, state_out};
use crate::Error;
use crate::api::{Api, convert, names, page};
use crate::ledger::Filed;
use crate::v1::{
    CommandState, ListCommandTargetsRequest, ListCommandTargetsResponse, ListCommandsRequest,
    ListCommandsResponse,
};

impl Api {
    pub(super) async fn command_page(
        &self,
        request: &ListCommandsRequest,
    ) -> Result<ListCommandsResponse, Error> {
        let size = page::size(request.page_size, &self.limits)?;
        let state = state_in(request.state)?;
        let agent = match request.agent.as_str() {
            "" => None,
            name => Some(names::parse_agent_in("agent", name)?),
        };
        let print = format!("{}\n{}\n{}", request.agent, request.state, request.open);
        let after = page::after(&request.page_token, &print)?.map(place_in).transpose()?;
        let now = self.ledger.clock.now();
        let mut found = self.ledger.commands().await?.commands;
        found.retain(|filed| {
            agent.is_none_or(|uid| filed.targets().any(|target| target.uid == uid))
                && state.is_none_or(|state| filed.targets().any(|target| target.state == state))
                && !(request.open && filed.is_settled(now))
        });
        found.sort_by_key(|filed| Reverse(place(filed)));
        let total_size = convert::count(found.len());
        let rest: Vec<&Filed> =
            found.iter().filter(|filed| after.is_none_or(|after| place(filed) < after)).collect();
        let mut answer = ListCommandsResponse { total_size, ..Default::default() };
        let mut bytes = 0;
        for filed in rest.iter().take(size) {
            let command = shape::command(filed, now);
            bytes += command.encoded_len();
            if bytes > self.limits.page_bytes_max && !answer.commands.is_empty() {
                break;
            }
            answer.commands.push(command);
        }
        let shown = answer.commands.len();
        if let Some(last) = shown.checked_sub(1).filter(|_| shown < rest.len()) {
            let (at, id) = place(rest[last]);
            answer.next_page_token = page::token(&format!("{:x}.{id}", at.0), &print);
        }
        Ok(answer)
    }

    pub(super) async fn target_page(
        &self,
        request: &ListCommandTargetsRequest,
    ) -> Result<ListCommandTargetsResponse, Error> {
        let size = page::size(request.page_size, &self.limits)?;
        let state = state_in(request.state)?;
        let print = format!("{}\n{}", request.parent, request.state);
        let after = page::after(&request.page_token, &print)?;
        let after = after.map(|uid| names::parse_agent_in("page_token", uid)).transpose()?;
        let filed = self.filed("parent", &request.parent).await?;
        let now = self.ledger.clock.now();
        let mut found: Vec<_> = filed
            .targets()
            .filter(|target| state.is_none_or(|state| target.state == state))
            .collect();
        found.sort_by_key(|target| target.uid);
        let total_size = convert::count(found.len());
        found.retain(|target| after.is_none_or(|after| target.uid > after));
        let more = found.len() > size;
        found.truncate(size);
        let last = found.last().filter(|_| more).map(|target| names::agent(&target.uid));
        let targets = found.iter().map(|target| shape::target(target, &filed.order, now));
        Ok(ListCommandTargetsResponse {
            targets: targets.collect(),
            next_page_token: last.map_or_else(String::new, |last| page::token(&last, &print)),
            total_size,
        })
    }
}

fn place(filed: &Filed) -> (Timestamp, CommandId) {
    (filed.order.created, filed.order.id)
}

fn place_in(text: &str) -> Result<(Timestamp, CommandId), Error> {
    let parts = text.split_once('.').and_then(|(at, id)| {
        Some((Timestamp(u64::from_str_radix(at, 16).ok()?), id.parse().ok()?))
    });
    parts.ok_or_else(|| Error::invalid("page_token", "names no command"))
}

fn state_in(number: i32) -> Result<Option<State>, Error> {
    if number == i32::from(CommandState::Unspecified) {
        return Ok(None);
    }
    let known = State::ALL.into_iter().find(|state| i32::from(state_out(*state)) == number);
    known.map(Some).ok_or_else(|| Error::invalid("state", "is not a known value"))
}
