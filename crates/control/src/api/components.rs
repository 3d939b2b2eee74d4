//! Service Components: what agents are made of, over the fleet.

use std::collections::{BTreeMap, BTreeSet};

use model::components::{Component, Filter, ListHash};
use tonic::{Request, Response, Status, async_trait};

use super::agents::parse_selector;
use super::{Api, page};
use crate::Error;
use crate::v1::{self, ListComponentsRequest, ListComponentsResponse, components_server};

#[async_trait]
impl components_server::Components for Api {
    async fn list_components(
        &self,
        request: Request<ListComponentsRequest>,
    ) -> Result<Response<ListComponentsResponse>, Status> {
        Ok(Response::new(self.components(request.get_ref()).await?))
    }
}

/// Understands a filter; `None` if there is none.
pub(super) fn filter(field: &'static str, said: &str) -> Result<Option<Filter>, Error> {
    if said.is_empty() {
        return Ok(None);
    }
    Filter::parse(said).map(Some).map_err(|reason| Error::invalid(field, reason))
}

impl Api {
    async fn components(
        &self,
        request: &ListComponentsRequest,
    ) -> Result<ListComponentsResponse, Error> {
        self.check_view()?;
        let selector = parse_selector("selector", &request.selector)?;
        let filter = filter("component", &request.component)?;
        let size = page::size(request.page_size, &self.limits)?;
        let print = format!("{}\n{}", selector.as_str(), request.component);
        let after = page::after(&request.page_token, &print)?.map(place).transpose()?;
        let (holders, without) = self.view.component_lists(&selector);
        let lists = self.lists.of(&holders.keys().copied().collect()).await?;
        let mut agents: BTreeMap<&Component, u64> = BTreeMap::new();
        for (list, components) in &lists {
            let holders = holders.get(list).copied().unwrap_or(0);
            // Nothing keeps a list from naming a component twice.
            let distinct: BTreeSet<&Component> = components.iter().collect();
            let wanted = |it: &&Component| filter.as_ref().is_none_or(|filter| filter.matches(it));
            for component in distinct.into_iter().filter(wanted) {
                *agents.entry(component).or_default() += holders;
            }
        }
        let total = agents.len();
        let rest = agents.into_iter().filter(|(it, _)| after.as_ref().is_none_or(|at| *it > at));
        let mut rows: Vec<(&Component, u64)> = rest.take(size + 1).collect();
        let more = rows.len() > size;
        rows.truncate(size);
        let next_page_token = match rows.last().filter(|_| more) {
            Some((last, _)) => page::token(&format!("{}@{}", last.path, last.version), &print),
            None => String::new(),
        };
        let row = |(component, agents): (&Component, u64)| v1::Component {
            name: component.path.clone(),
            version: component.version.clone(),
            agents: count(agents),
        };
        Ok(ListComponentsResponse {
            components: rows.into_iter().map(row).collect(),
            next_page_token,
            total_size: i64::try_from(total).unwrap_or(i64::MAX),
            agents_listed: count(holders.values().sum()),
            agents_not_listed: count(without),
        })
    }

    /// The lists that hold a component, of all that agents have; `None` without a filter.
    pub(super) async fn lists_with(
        &self,
        filter: Option<&Filter>,
    ) -> Result<Option<BTreeSet<ListHash>>, Error> {
        let Some(filter) = filter else { return Ok(None) };
        let (holders, _) = self.view.component_lists(&model::selector::Selector::default());
        let lists = self.lists.of(&holders.into_keys().collect()).await?;
        let holds = |list: &[Component]| list.iter().any(|component| filter.matches(component));
        let found = lists.into_iter().filter(|(_, list)| holds(list));
        Ok(Some(found.map(|(hash, _)| hash).collect()))
    }
}

/// The component that a page ended with.
fn place(last: &str) -> Result<Component, Error> {
    let reason = "is not one that was handed out for this list";
    let (path, version) =
        last.rsplit_once('@').ok_or_else(|| Error::invalid("page_token", reason))?;
    Ok(Component { path: path.to_owned(), version: version.to_owned() })
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
