//! I7 and more: every process is there, ready, in its bounds, and none has panicked.

use std::time::Instant;

use crate::campaign::Campaign;
use crate::limits::{LOOK, READY, RESIDENT_BYTES_MAX};
use crate::story::{Violation, violation};

impl Campaign {
    pub(super) async fn processes_are_there(&mut self, healed: Instant) -> Result<(), Violation> {
        for (role, number) in self.rig.all() {
            while !self.rig.is_ready(role, number) {
                if healed.elapsed() > READY {
                    let found = format!("{role:?} {number} is not ready after {READY:?}");
                    return Err(violation("I7", found));
                }
                if !self.rig.is_running(role, number) && !self.revive(role, number) {
                    let found = format!("{role:?} {number} has ended by itself");
                    return Err(violation("I7", found));
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        for (name, muster) in self.rig.named() {
            let bytes = muster.resident_bytes().unwrap_or(0);
            if bytes > RESIDENT_BYTES_MAX {
                let found = format!("{name} has {} MiB of memory in use", bytes >> 20);
                return Err(violation("I7", found));
            }
            let log = muster.log();
            if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
                return Err(violation("I7", format!("{name} panicked: {line}")));
            }
        }
        Ok(())
    }

    /// Starts a process again that gave up because what it stands on was away when it started:
    /// whoever runs it would do so. One that ended for another reason stays where it is.
    fn revive(&mut self, role: crate::scenario::Role, number: usize) -> bool {
        self.started.contains(&(role, number)) && self.rig.relaunch(role, number).is_ok()
    }
}
