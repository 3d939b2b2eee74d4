//! What stops and paces offers: the hold, and how far each assignment is.

use model::assign::{Assignments, Hold};
use model::brake::Stage;

use super::Ledger;
use crate::Error;
use crate::actor::Actor;

/// The next stage of an assignment, decided on what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advance {
    pub(crate) name: String,
    pub(crate) from: Stage,
    pub(crate) to: Stage,
}

impl Ledger {
    /// Holds all offers, unless they are held already. Returns the hold and the decision's number.
    pub(crate) async fn hold(&self, reason: &str, actor: &Actor) -> Result<(Hold, u64), Error> {
        let (since, reason) = (self.clock.now(), reason.to_owned());
        let hold = Hold { since, reason, actor: actor.name() };
        self.change_assignments(|assignments| {
            let changed = assignments.hold.is_none();
            (assignments.hold.get_or_insert_with(|| hold.clone()).clone(), changed)
        })
        .await
    }

    /// Lets offers out again. Returns the decision's number.
    pub(crate) async fn resume(&self) -> Result<u64, Error> {
        let resume = |assignments: &mut Assignments| ((), assignments.hold.take().is_some());
        Ok(self.change_assignments(resume).await?.1)
    }

    /// Moves assignments on, as far as they are still where they were judged. Returns those that
    /// moved and the decision's number.
    pub(crate) async fn advance(&self, steps: &[Advance]) -> Result<(Vec<Advance>, u64), Error> {
        self.change_assignments(|assignments| {
            // Who holds offers wants nothing to move.
            let mut moved = match assignments.hold {
                None => steps.to_vec(),
                Some(_) => Vec::new(),
            };
            moved.retain(|step| {
                let judged = assignments
                    .list
                    .iter_mut()
                    .find(|found| found.name == step.name && found.brake.stage == step.from);
                judged.map(|found| found.brake.stage = step.to).is_some()
            });
            let changed = !moved.is_empty();
            (moved, changed)
        })
        .await
    }

    /// Changes the assignments if `change` says that it did, however many change them at once.
    async fn change_assignments<T>(
        &self,
        change: impl Fn(&mut Assignments) -> (T, bool),
    ) -> Result<(T, u64), Error> {
        for _ in 0..self.limits.write_tries {
            let mut held = self.held_assignments().await?;
            let (result, changed) = change(&mut held.value);
            if !changed {
                return Ok((result, held.version.0));
            }
            if let Some(decision) = self.write_assignments(held).await? {
                return Ok((result, decision));
            }
        }
        Err(Error::Aborted("the list of assignments".to_owned()))
    }
}
