//! Lists of agents: who, in which order, from where on. Read from the view alone.

use std::collections::BTreeSet;

use model::components::ListHash;
use model::selector::Selector;
use prost::Message as _;

use super::agents::parse_selector;
use super::components::filter;
use super::custom::check_custom;
use super::order::{Order, Place};
use super::{Api, convert, page};
use crate::Error;
use crate::v1::{ConfigStatus, ConnectionStatus, ListAgentsRequest, ListAgentsResponse};
use crate::view::Shown;

/// What was asked for, checked.
#[derive(Debug)]
struct Query {
    selector: Selector,
    order: Order,
    connected: Option<bool>,
    config_status: Option<ConfigStatus>,
    /// Empty: any, or none.
    custom_capability: String,
    /// Lists of components that will do; `None`: any, or none.
    lists: Option<BTreeSet<ListHash>>,
    /// All of it as text: tokens are good for the same query only.
    print: String,
}

impl Api {
    pub(super) async fn list(
        &self,
        request: &ListAgentsRequest,
    ) -> Result<ListAgentsResponse, Error> {
        self.check_view()?;
        let mut query = Query::parse(request, self)?;
        let filter = filter("component", &request.component)?;
        query.lists = self.lists_with(filter.as_ref()).await?;
        let size = page::size(request.page_size, &self.limits)?;
        let after = page::after(&request.page_token, &query.print)?;
        match query.is_plain() {
            true => self.plain_page(&query, after, size),
            false => self.ordered_page(&query, after, size),
        }
    }

    /// In the order in which agents are kept: looks at little more than the page.
    fn plain_page(
        &self,
        query: &Query,
        after: Option<&str>,
        size: usize,
    ) -> Result<ListAgentsResponse, Error> {
        let after = after.map(str::parse).transpose();
        let after = after.map_err(|_| Error::invalid("page_token", "names no agent"))?;
        let page = self.view.page(&query.selector, after, size);
        let rows = page.agents.iter().map(|shown| (shown.uid.to_string(), shown));
        Ok(self.answer(query, rows, page.more, page.total))
    }

    /// In any order: looks at the whole fleet, outside the view's lock.
    fn ordered_page(
        &self,
        query: &Query,
        after: Option<&str>,
        size: usize,
    ) -> Result<ListAgentsResponse, Error> {
        let after: Option<Place> = after.map(serde_json::from_str).transpose().map_err(|_| {
            Error::invalid("page_token", "is not one that was handed out for this order")
        })?;
        let mut agents = self.view.selected(&query.selector);
        agents.retain(|shown| query.admits(shown));
        let total = agents.len();
        let (agents, more) = query.order.page(agents, after.as_ref(), size);
        let place =
            |place| serde_json::to_string(place).expect("numbers and texts have a JSON form");
        let rows = agents.iter().map(|(at, shown)| (place(at), shown));
        Ok(self.answer(query, rows, more, total))
    }

    /// As many agents as one answer holds, one at least, and where the list goes on after them.
    fn answer<'a>(
        &self,
        query: &Query,
        rows: impl Iterator<Item = (String, &'a Shown)>,
        mut more: bool,
        total: usize,
    ) -> ListAgentsResponse {
        let mut answer = ListAgentsResponse {
            total_size: i64::try_from(total).unwrap_or(i64::MAX),
            ..Default::default()
        };
        let (mut bytes, mut last) = (0, String::new());
        for (place, shown) in rows {
            let agent = convert::agent(shown);
            bytes += agent.encoded_len();
            if bytes > self.limits.page_bytes_max && !answer.agents.is_empty() {
                more = true;
                break;
            }
            answer.agents.push(agent);
            last = place;
        }
        if more {
            answer.next_page_token = page::token(&last, &query.print);
        }
        answer
    }
}

impl Query {
    fn parse(request: &ListAgentsRequest, api: &Api) -> Result<Self, Error> {
        let selector = parse_selector("selector", &request.selector)?;
        let order = Order::parse(&request.order_by, &api.limits)?;
        let unknown = |field| move |_| Error::invalid(field, "is not a known value");
        let status = ConnectionStatus::try_from(request.status).map_err(unknown("status"))?;
        let config = request.config_status;
        let config = ConfigStatus::try_from(config).map_err(unknown("config_status"))?;
        let (by, filters) = (&request.order_by, [request.status, request.config_status]);
        let custom = request.custom_capability.clone();
        check_custom("custom_capability", &custom)?;
        let mut print = format!("{}\n{by}\n{filters:?}", selector.as_str());
        if !custom.is_empty() || !request.component.is_empty() {
            print = format!("{print}\n{custom}\n{}", request.component);
        }
        Ok(Self {
            selector,
            order,
            connected: match status {
                ConnectionStatus::Unspecified => None,
                ConnectionStatus::Connected => Some(true),
                ConnectionStatus::Disconnected => Some(false),
            },
            config_status: (config != ConfigStatus::Unspecified).then_some(config),
            custom_capability: custom,
            lists: None,
            print,
        })
    }

    fn is_plain(&self) -> bool {
        let filtered =
            self.connected.is_some() || self.config_status.is_some() || self.lists.is_some();
        self.order.is_natural() && !filtered && self.custom_capability.is_empty()
    }

    fn admits(&self, shown: &Shown) -> bool {
        let status = || convert::config_status(&shown.entry.summary);
        let custom = &self.custom_capability;
        self.connected.is_none_or(|wanted| shown.connected == wanted)
            && (custom.is_empty() || shown.entry.summary.custom_capabilities.contains(custom))
            && self.lists.as_ref().is_none_or(|lists| {
                shown.entry.summary.components.is_some_and(|list| lists.contains(&list))
            })
            && self.config_status.is_none_or(|wanted| status() == wanted)
    }
}
