//! Runs seeds from the command line: `sim --seed N --trace` replays one, `sim --seeds N` runs many.

#![allow(clippy::print_stdout, reason = "a command-line front")]

use std::process::ExitCode;
use std::time::Duration;

use sim::variants::Variant;
use sim::{Campaign, Profile};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let variant = value("--variant").and_then(|name| Variant::named(name)).unwrap_or(Variant::None);
    let profile = if has("--fencing") { Profile::Fencing } else { Profile::Everything };
    if let Some(seed) = number("--seed") {
        return replay(seed, profile, variant, has("--trace"));
    }
    if has("--judge") {
        let at_most = Duration::from_secs(number("--seconds").unwrap_or(3_600));
        let seeds = number("--seeds").unwrap_or(1_000);
        println!("{}", sim::judge(seeds, profile, at_most, |line| println!("{line}")));
        return ExitCode::SUCCESS;
    }
    let campaign = Campaign {
        first: number("--first").unwrap_or(0),
        count: number("--seeds").unwrap_or(100),
        profile,
        variant,
        until_found: has("--until-found"),
        at_most: Duration::from_secs(number("--seconds").unwrap_or(3_600)),
        threads: usize::try_from(number("--threads").unwrap_or(2)).unwrap_or(2),
    };
    let summary = campaign.run();
    for outcome in &summary.failed {
        for violation in outcome.violations.iter().take(3) {
            println!("seed {}: {violation}", outcome.seed);
        }
    }
    println!(
        "{} seeds, {} failed, {:.0} x real time, {:.1} s, {} events",
        summary.seeds,
        summary.failed.len(),
        summary.speed(),
        summary.took.as_secs_f64(),
        summary.events
    );
    ExitCode::from(u8::from(!summary.failed.is_empty()))
}

fn replay(seed: u64, profile: Profile, variant: Variant, trace: bool) -> ExitCode {
    let outcome = sim::run(seed, profile, variant, trace);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    outcome.violations.iter().for_each(|violation| println!("{violation}"));
    let (hash, events) = (outcome.hash, outcome.events);
    println!("seed {seed}: hash {hash:016x}, {events} events, {:?}", outcome.simulated);
    ExitCode::from(u8::from(!outcome.violations.is_empty()))
}
