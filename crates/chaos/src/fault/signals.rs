//! Signals to processes.

use services::Signal;

use super::{Heal, Injected};
use crate::campaign::Campaign;
use crate::draw::Draw;
use crate::scenario::{How, Role, SignalFault};

impl Campaign {
    pub(super) fn send_signals(
        &mut self,
        into: &mut Injected,
        fault: SignalFault,
        lots: &mut Draw,
    ) -> anyhow::Result<()> {
        let SignalFault { role, all, how } = fault;
        let count = self.rig.count(role);
        let hit = if all { 0..count } else { lots.below(count)..count };
        for number in hit.take(if all { count } else { 1 }) {
            into.told.push(format!("{role:?} {number}"));
            match role {
                Role::Gateway => {
                    into.touched.gateways.insert(number);
                }
                Role::Control => into.touched.control = true,
                Role::Worker | Role::Nats | Role::Records | Role::Ledger => {}
            }
            match how {
                How::Kill => {
                    into.heals.push(Heal::Relaunch(role, number));
                    self.rig.kill(role, number)?;
                }
                How::Stop => {
                    into.heals.push(Heal::Continue(role, number));
                    self.rig.signal(role, number, Signal::Stop)?;
                }
                How::Terminate => {
                    into.heals.push(Heal::Ended(role, number));
                    self.rig.signal(role, number, Signal::Terminate)?;
                }
            }
        }
        Ok(())
    }
}
