//! R11: a gateway cut off from the bus while its agents move to another.

use std::path::Path;

use serde_json::json;

use super::Figure;

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (rounds, agents) = if smoke { (1, 40) } else { (20, 200) };
    let runtime = tokio::runtime::Runtime::new()?;
    let moves = runtime.block_on(chaos::partition(rounds, agents, |line| println!("{line}")))?;
    Ok(Figure {
        pass: moves.rounds == rounds && moves.stale == 0 && moves.doubled == 0,
        text: format!(
            "{} stale writes, {} double deliveries in {} moves of {} agents; the loser had closed \
             its copies after {:.1?} at most",
            moves.stale, moves.doubled, moves.rounds, moves.agents, moves.slowest_close
        ),
        values: json!({
            "rounds": moves.rounds,
            "agents": moves.agents,
            "stale": moves.stale,
            "doubled": moves.doubled,
            "slowest_close_ms": moves.slowest_close.as_millis(),
        }),
    })
}
