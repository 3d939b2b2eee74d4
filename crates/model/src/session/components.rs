//! An agent's list of components (rules COMP-01 to COMP-07). Agents send a hash of the list by
//! themselves, and the list when they are asked. Lists are kept apart from records, by content, and
//! what agents of one kind say of a hash is taken for true of all of them until two disagree.

use opamp::v1::{AgentCapabilities, AgentToServer, ServerToAgentFlags};

use crate::components::ListHash;
use crate::record::AgentRecord;

/// Requests for one list without an answer, before they stop.
const ASKS_MAX: u32 = 3;

/// Takes what a message says of the list. What was asked of another list is forgotten. To be called
/// before the message is merged.
pub(super) fn take(record: &mut AgentRecord, message: &AgentToServer, known: Option<ListHash>) {
    let Some(said) = &message.available_components else { return };
    let before = record.reported.available_components.as_ref();
    let another = before.is_none_or(|before| before.hash != said.hash);
    if another {
        record.full_state.components_asked = 0;
    }
    if !said.components.is_empty() {
        record.components = Some(ListHash::of(said));
    } else if another {
        record.components = known;
    }
}

/// A list without a hash is nobody's. To be called after the message is merged.
pub(super) fn drop_orphan(record: &mut AgentRecord) {
    if record.reported.available_components.is_none() {
        record.components = None;
    }
}

/// The flag for the reply, and what is remembered of having asked. A message about components is
/// an occasion to ask, and so is a session's first message, or a poll: the reply that asked last
/// may be lost.
pub(super) fn ask(record: &mut AgentRecord, message: &AgentToServer) -> u64 {
    let occasion = message.available_components.is_some() || record.n <= 1;
    if !occasion || !lacks_list(record) || record.full_state.components_asked >= ASKS_MAX {
        return 0;
    }
    record.full_state.components_asked += 1;
    ServerToAgentFlags::ReportAvailableComponents as u64
}

/// The flag once more, for a repeated reply.
pub(super) fn again(record: &AgentRecord) -> u64 {
    match record.full_state.components_asked > 0 && lacks_list(record) {
        true => ServerToAgentFlags::ReportAvailableComponents as u64,
        false => 0,
    }
}

/// The hash is known and the list is not.
fn lacks_list(record: &AgentRecord) -> bool {
    let known = record.reported.available_components.as_ref();
    record.can(AgentCapabilities::ReportsAvailableComponents)
        && record.components.is_none()
        && known.is_some_and(|known| !known.hash.is_empty() && known.components.is_empty())
}

#[cfg(test)]
mod tests {
    use opamp::v1::{AvailableComponents, ComponentDetails};

    use super::super::tests::uid;
    use super::*;
    use crate::Timestamp;

    const FLAG: u64 = ServerToAgentFlags::ReportAvailableComponents as u64;

    fn says(hash: u8, names: &[&str]) -> AgentToServer {
        let components =
            names.iter().map(|name| ((*name).to_owned(), ComponentDetails::default())).collect();
        let available_components = Some(AvailableComponents { components, hash: vec![hash] });
        AgentToServer { available_components, ..Default::default() }
    }

    fn agent(capability: AgentCapabilities) -> AgentRecord {
        let capabilities = capability as u64;
        AgentRecord { capabilities, n: 1, ..AgentRecord::new(uid(1), Timestamp(0)) }
    }

    fn told(record: &mut AgentRecord, message: &AgentToServer) -> u64 {
        take(record, message, None);
        super::super::merge::merge(record, message, false);
        record.n += 1;
        ask(record, message)
    }

    #[test]
    fn a_hash_without_its_list_is_asked_about_a_few_times() {
        let mut record = agent(AgentCapabilities::ReportsAvailableComponents);
        let asked: Vec<u64> = (0..5).map(|_| told(&mut record, &says(1, &[]))).collect();
        assert_eq!(asked, [FLAG, FLAG, FLAG, 0, 0]);
        assert_eq!(told(&mut record, &says(2, &[])), FLAG, "another list");
        assert_eq!(again(&record), FLAG);
        assert_eq!(told(&mut record, &says(2, &["otlp"])), 0);
        assert_eq!(again(&record), 0);
        assert_eq!(told(&mut record, &says(2, &[])), 0, "the list of this hash is known");
    }

    #[test]
    fn reports_about_other_things_are_no_occasion_but_a_new_session_is() {
        let mut record = agent(AgentCapabilities::ReportsAvailableComponents);
        assert_eq!(told(&mut record, &says(1, &[])), FLAG);
        assert_eq!(told(&mut record, &AgentToServer::default()), 0);
        record.n = 0;
        assert_eq!(told(&mut record, &AgentToServer::default()), FLAG);
    }

    #[test]
    fn agents_without_the_capability_are_left_alone() {
        let mut record = agent(AgentCapabilities::ReportsStatus);
        assert_eq!(told(&mut record, &says(1, &[])), 0);
    }
}
