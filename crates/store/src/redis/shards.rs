//! What this process knows of the server's shards: their generations, and how many writes each had
//! taken when it was last heard. A server that knows less was emptied or set back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::redis::{Cmd, cmd};

use super::Redis;
use crate::Error;
use crate::port::{Generation, Generations, SHARDS};

/// One shard.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shard {
    pub(super) generation: Generation,
    /// The highest count of writes that was heard of.
    pub(super) writes: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Shards(Mutex<[Shard; SHARDS as usize]>);

impl Shards {
    /// Nothing is known yet.
    pub(super) fn unknown() -> Self {
        Self(Mutex::new([Shard::default(); SHARDS as usize]))
    }

    pub(super) fn of(&self, shard: u8) -> Shard {
        self.all()[usize::from(shard)]
    }

    pub(super) fn generations(&self) -> Generations {
        self.all().map(|shard| shard.generation)
    }

    /// A shard answered. Answers overtake each other: the highest counts. Says whether it is of
    /// another generation than was known.
    pub(super) fn heard(&self, shard: u8, heard: Shard) -> bool {
        let mut all = self.all();
        let known = &mut all[usize::from(shard)];
        let lost = heard.generation > known.generation && known.generation != Generation(0);
        if heard.generation > known.generation {
            *known = heard;
        } else if heard.generation == known.generation {
            known.writes = known.writes.max(heard.writes);
        }
        lost
    }

    fn all(&self) -> MutexGuard<'_, [Shard; SHARDS as usize]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Redis {
    /// Asks shards how they are. One that is older than what is known here begins anew.
    pub(super) async fn look(&self, shards: impl Iterator<Item = u8>) -> Result<(), Error> {
        let shards: Vec<u8> = shards.collect();
        let calls: Vec<Cmd> = shards.iter().map(|shard| self.look_at(*shard)).collect();
        let answers: Vec<(u64, u64)> = self.link.call(&calls).await?;
        let mut lost = 0_u64;
        for (shard, (generation, writes)) in shards.into_iter().zip(answers) {
            let generation = Generation(generation);
            lost += u64::from(self.shards.heard(shard, Shard { generation, writes }));
        }
        if lost > 0 {
            metrics::counter!("muster_store_shards_lost_total").increment(lost);
            let server = self.link.address();
            tracing::error!(server, shards = lost, "redis was emptied or set back");
        }
        Ok(())
    }

    fn look_at(&self, shard: u8) -> Cmd {
        let known = self.shards.of(shard);
        // Whatever the clock says: what begins now is younger than what was.
        let next = Generation::of_now().0.max(known.generation.0 + 1);
        let mut call = cmd("FCALL");
        call.arg("muster_v3_look").arg(1).arg(self.keys.generation(shard));
        call.arg(known.generation.0).arg(known.writes).arg(next);
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(generation: u64, writes: u64) -> Shard {
        Shard { generation: Generation(generation), writes }
    }

    #[test]
    fn the_highest_count_of_the_youngest_generation_is_kept() {
        let shards = Shards::unknown();
        assert!(!shards.heard(3, shard(10, 5)), "the first is no loss");
        assert!(!shards.heard(3, shard(10, 4)), "an answer that was overtaken");
        assert_eq!(shards.of(3).writes, 5);
        assert!(shards.heard(3, shard(11, 1)));
        assert!(!shards.heard(3, shard(10, 9)), "late news of the old one");
        assert_eq!((shards.of(3).generation, shards.of(3).writes), (Generation(11), 1));
        assert_eq!(shards.generations()[4], Generation(0));
    }
}
