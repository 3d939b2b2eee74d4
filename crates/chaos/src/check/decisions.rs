//! The API says OK only to what is stored: what it said it to is there.

use crate::campaign::Campaign;
use crate::limits::{LOOK, READY};
use crate::story::{Violation, violation};

impl Campaign {
    pub(super) async fn decisions_are_kept(&mut self) -> Result<(), Violation> {
        let start = std::time::Instant::now();
        loop {
            // Nobody decides anything meanwhile.
            let book = self.operators.book().await;
            let turn = self.turn;
            self.turn += 1;
            let listed = self.apis[turn % self.apis.len()].assignments().await.outcome;
            let Ok(listed) = listed else {
                drop(book);
                if start.elapsed() > READY {
                    return Err(violation("API", "assignments are not listed after a heal"));
                }
                tokio::time::sleep(LOOK).await;
                continue;
            };
            for (number, group) in book.groups.iter().enumerate() {
                let Some(decision) = group.holds() else { continue };
                let name = format!("assignments/g{number}");
                let found = listed.assignments.iter().find(|one| one.name == name);
                let is = found.map(|one| one.config_revision.as_str());
                if is != Some(decision.revision.as_str()) {
                    let found = format!("said OK to {}, and holds {is:?}", decision.revision);
                    return Err(violation("API", found));
                }
            }
            return Ok(());
        }
    }
}
