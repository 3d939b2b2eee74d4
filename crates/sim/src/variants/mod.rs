//! Deliberately broken worlds: each variant decorates a seam, and the simulator has to notice.

use std::sync::Arc;

use bus::Bus;
use model::{Clock, Random};
use store::Store;

use crate::process::Process;
use crate::shelf::Which;
use crate::world::World;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Nothing: the product as it is.
    None,
}

impl Variant {
    pub(crate) fn store(self, _: Which, bottom: Arc<dyn Store>, _: &Arc<World>) -> Arc<dyn Store> {
        bottom
    }

    pub(crate) fn bus(self, line: Arc<dyn Bus>, _: &Arc<World>, _: &Arc<Process>) -> Arc<dyn Bus> {
        line
    }

    pub(crate) fn clock(self, clock: Arc<dyn Clock>, _: &Arc<World>) -> Arc<dyn Clock> {
        clock
    }

    pub(crate) fn random(self, random: Arc<dyn Random>) -> Arc<dyn Random> {
        random
    }
}
