//! The simulator at work: seeds find nothing in the product, the same seed is the same run, and
//! every broken variant is found.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use sim::variants::Variant;
use sim::{Campaign, Profile, run};

/// Seeds of the ordinary run.
const SEEDS: u64 = 500;
/// Seeds within which a broken variant is to be found.
const VARIANT_SEEDS: u64 = 1_000;

fn campaign(count: u64, variant: Variant) -> Campaign {
    Campaign {
        first: 0,
        count,
        profile: Profile::Everything,
        variant,
        until_found: variant != Variant::None,
        at_most: Duration::from_secs(1_800),
        threads: 2,
    }
}

#[test]
fn seeds_find_nothing() {
    let summary = campaign(SEEDS, Variant::None).run();
    let found: Vec<String> = summary
        .failed
        .iter()
        .map(|outcome| format!("seed {}: {}", outcome.seed, outcome.violations[0]))
        .collect();
    assert!(found.is_empty(), "replay with `cargo run -p sim -- --seed N --trace`: {found:#?}");
    assert_eq!(summary.seeds, SEEDS, "all of them in time");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        let first = run(seed, Profile::Everything, Variant::None, false);
        let again = run(seed, Profile::Everything, Variant::None, false);
        assert_eq!((first.hash, first.events), (again.hash, again.events), "seed {seed}");
    }
    let one = run(1, Profile::Everything, Variant::None, false);
    let other = run(2, Profile::Everything, Variant::None, false);
    assert_ne!(one.hash, other.hash);
}

#[test]
fn every_broken_variant_is_found() {
    for variant in Variant::BROKEN {
        let summary = campaign(VARIANT_SEEDS, variant).run();
        assert!(!summary.failed.is_empty(), "{variant:?} was not found");
    }
}
