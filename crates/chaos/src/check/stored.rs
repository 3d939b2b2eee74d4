//! I1 again, past control's memory: the records as they are in the store.

use std::time::{Duration, Instant};

use control::v1::Agent;
use futures_util::future::join_all;

use crate::campaign::Campaign;
use crate::crowd::{Member, number};
use crate::limits::{LOOK, READS_AT_ONCE, SAMPLE};
use crate::story::{Violation, violation};

impl Campaign {
    /// Some agents' records, or all of them.
    pub(super) async fn stored_equal_reports(
        &mut self,
        all: bool,
        healed: Instant,
        limit: Duration,
    ) -> Result<(), Violation> {
        let count = self.crowd.members.len();
        let step = if all { 1 } else { (count / SAMPLE).max(1) };
        let first = self.turn % step;
        let said = |index: usize| (index, self.crowd.members[index].said());
        let mut wrong: Vec<(usize, u64)> = (first..count).step_by(step).map(said).collect();
        let mut last = String::new();
        while !wrong.is_empty() {
            if healed.elapsed() > limit {
                let found = format!(
                    "{} stored records are not what agents last reported {limit:?} after the \
                     heal; {last}",
                    wrong.len()
                );
                return Err(violation("I1", found));
            }
            let mut left = Vec::new();
            for some in wrong.chunks(READS_AT_ONCE) {
                let reads = some.iter().map(|(index, said)| self.is_stored(*index, *said));
                for (found, missing) in some.iter().zip(join_all(reads).await) {
                    if let Some(missing) = missing {
                        last = missing;
                        left.push(*found);
                    }
                }
            }
            wrong = left;
            self.turn += 1;
            if !wrong.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// What is not as it should be in an agent's record.
    async fn is_stored(&self, index: usize, said: u64) -> Option<String> {
        let member = &self.crowd.members[index];
        let name = &member.name;
        match self.apis[(self.turn + index) % self.apis.len()].agent(name).await.outcome {
            Ok(agent) => {
                let seen = self.memory.epochs.iter().map(|epochs| epochs[index]).max();
                let older = seen.filter(|seen| agent.epoch < *seen && !self.lenient);
                let older = older.map(|seen| format!("is at epoch {} after {seen}", agent.epoch));
                let wrong = older.or_else(|| compare(member, said, &agent));
                wrong.map(|found| format!("{name} {found}"))
            }
            Err(status) => Some(format!("{name} cannot be read: {status}")),
        }
    }
}

fn compare(member: &Member, said: u64, agent: &Agent) -> Option<String> {
    let stored = agent.health.as_ref().map_or(0, |health| number(&health.status));
    if stored < said {
        return Some(format!("said {said}, and its record holds {stored}"));
    }
    let report = agent.report.as_ref();
    let stored = report.and_then(|report| report.effective_config.clone()).unwrap_or_default();
    let runs = member.handle.see(|agent| agent.effective_config().clone());
    // It may just have been told to run something else: then it is looked at again.
    if stored != runs {
        return Some(format!("runs {runs:?}, and its record holds {stored:?}"));
    }
    let attributes = agent.identifying_attributes.is_empty();
    attributes.then(|| "has no description".to_owned())
}
