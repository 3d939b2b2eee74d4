//! Custom messages are events, not state: each is taken once, however often its report comes.

use opamp::v1::AgentToServer;

use crate::custom;
use crate::record::AgentRecord;

/// Takes a message's custom message, unless it was taken already. A session's own reports are told
/// apart by their count, but one of unknown fate comes again under another count: with the number
/// and the content of the last one, though nobody answered that number (`answered` here says that
/// somebody did). Polls and first reports have no count; for them number and content decide.
pub(super) fn take(record: &mut AgentRecord, message: &AgentToServer, answered: bool) {
    let Some(said) = &message.custom_message else { return };
    let last = &mut record.custom;
    let (number, digest) = (message.sequence_num, custom::digest(said));
    let repeated = (last.number, last.digest) == (number, digest);
    if last.taken > 0 && repeated && !answered {
        return;
    }
    last.taken += 1;
    (last.number, last.digest) = (number, digest);
}

#[cfg(test)]
mod tests {
    use opamp::v1::CustomMessage;

    use crate::assign::Assignments;
    use crate::session::tests::{Agent, bare, described, reply};
    use crate::session::{Input, Outcome};

    use super::*;

    fn says(seq: u64, word: &str) -> AgentToServer {
        let (capability, data) = ("org.example.talk".to_owned(), word.as_bytes().to_vec());
        let custom_message = Some(CustomMessage { capability, r#type: "word".to_owned(), data });
        AgentToServer { custom_message, ..bare(seq) }
    }

    fn claimed() -> Agent {
        let mut agent = Agent::new(Assignments::default());
        agent.claim(1, &described(0));
        agent
    }

    /// A report under a count and with a number that was answered before it.
    fn reports(agent: &mut Agent, n: u64, answered: u64, message: &AgentToServer) -> Outcome {
        let owner = agent.record.owner.clone().unwrap();
        let (epoch, answered) = (agent.record.epoch, Some(answered));
        agent.step(&Input::Report { owner, epoch, n, answered, message }).0
    }

    #[test]
    fn each_of_a_burst_is_taken_and_all_are_acknowledged() {
        let mut agent = claimed();
        for (seq, word) in [(1, "a"), (2, "b"), (3, "b")] {
            assert_eq!(agent.report(&says(seq, word)).flags, 0);
        }
        assert_eq!(agent.record.custom.taken, 3);
    }

    #[test]
    fn one_of_unknown_fate_is_taken_once() {
        let mut agent = claimed();
        reply(reports(&mut agent, 2, 0, &says(1, "a")));
        // Its answer was lost, and the agent says it again: under the next count.
        reply(reports(&mut agent, 3, 0, &says(1, "a")));
        assert_eq!(agent.record.custom.taken, 1);
        reply(reports(&mut agent, 4, 0, &says(1, "b")));
        assert_eq!(agent.record.custom.taken, 2, "other words");
    }

    #[test]
    fn an_agent_that_never_counts_may_say_the_same_again() {
        let mut agent = claimed();
        reply(reports(&mut agent, 2, 1, &says(1, "a")));
        reply(reports(&mut agent, 3, 1, &says(1, "a")));
        assert_eq!(agent.record.custom.taken, 2);
    }

    #[test]
    fn a_poll_and_a_first_report_that_come_again_are_taken_once() {
        let mut agent = claimed();
        for _ in 0..3 {
            agent.poll(&says(1, "a"));
        }
        assert_eq!(agent.record.custom.taken, 1);
        agent.claim(2, &says(1, "a"));
        assert_eq!(agent.record.custom.taken, 1, "over another way");
        agent.poll(&says(2, "a"));
        assert_eq!(agent.record.custom.taken, 2);
    }

    #[test]
    fn words_of_a_goodbye_are_taken() {
        let mut agent = claimed();
        let agent_disconnect = Some(Default::default());
        agent.report(&AgentToServer { agent_disconnect, ..says(1, "a") });
        assert_eq!(agent.record.custom.taken, 1);
    }
}
