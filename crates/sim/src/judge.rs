//! The long form: seeds, the same seeds again, and every broken variant; then one line of JSON.

use std::time::{Duration, Instant};

use crate::campaign::Campaign;
use crate::run::{Profile, run};
use crate::variants::Variant;

/// Seeds that are run twice.
const REPEATED: u64 = 100;
/// Seeds within which a variant is to be found.
const VARIANT_SEEDS: u64 = 1_000;

/// Runs all of it. `tell` hears every violation.
pub fn judge(
    seeds: u64,
    profile: Profile,
    at_most: Duration,
    mut tell: impl FnMut(String),
) -> String {
    let started = Instant::now();
    let campaign = |count, variant| Campaign {
        first: 0,
        count,
        profile,
        variant,
        until_found: variant != Variant::None,
        at_most: at_most.saturating_sub(started.elapsed()),
        threads: 2,
    };
    let summary = campaign(seeds, Variant::None).run();
    for outcome in &summary.failed {
        for violation in outcome.violations.iter().take(2) {
            tell(format!("seed {}: {violation}", outcome.seed));
        }
    }
    let same = (0..REPEATED).filter(|seed| {
        let hash = || run(*seed, profile, Variant::None, false).hash;
        hash() == hash()
    });
    let same = same.count();
    let mut caught = 0;
    let variants = variants(profile);
    for variant in variants {
        let found = campaign(VARIANT_SEEDS, *variant).run();
        match found.failed.first() {
            Some(outcome) => {
                caught += 1;
                let (seed, what) = (outcome.seed, &outcome.violations[0]);
                tell(format!("{variant:?} caught at seed {seed}: {what}"));
            }
            None => tell(format!("{variant:?} not caught in {} seeds", found.seeds)),
        }
    }
    format!(
        "{{\"seeds\":{},\"failed\":{},\"speed\":{:.1},\"repeated\":{REPEATED},\
         \"same_hashes\":{same},\"variants\":{},\"caught\":{caught},\
         \"events\":{},\"seconds\":{:.1}}}",
        summary.seeds,
        summary.failed.len(),
        summary.speed(),
        variants.len(),
        summary.events,
        started.elapsed().as_secs_f64(),
    )
}

/// What a profile has to find.
fn variants(profile: Profile) -> &'static [Variant] {
    match profile {
        Profile::Everything => &Variant::BROKEN,
        Profile::Fencing => &Variant::FENCING,
    }
}
