//! Answers who taps. Entries are decoded and redacted here, one by one, and nothing else of them
//! leaves the gateway.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::v1::tap_reply::entry::Content;
use bus::v1::tap_reply::{Entry, Fact, Hidden, Undecodable};
use bus::v1::{Tap, TapDirection, TapReply};
use model::wire::{self, Bodies};
use opamp::{InstanceUid, Message as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::entry::{Kept, What};
use super::taps::{Opened, Wanted};
use crate::shared::Shared;

/// What is asked of a gateway that is about to stop waits no longer than this.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// Answers as soon as there is something to tell, and without anything at the end of the wait.
pub(crate) async fn answer(shared: &Shared, ask: &Tap) -> TapReply {
    let Ok(uid) = InstanceUid::try_from(&ask.instance_uid[..]) else {
        return TapReply::default();
    };
    let of = Wanted { uid, direction: ask.direction() };
    if ask.end {
        shared.trace.taps.end(ask.tap_id);
        return TapReply::default();
    }
    if ask.tap_id == 0 {
        return reply(shared, ask, before(shared, ask, of), 0);
    }
    let taps = &shared.trace.taps;
    let news = match taps.open(ask.tap_id, of, shared.uptime_ms()) {
        Opened::TooMany => return TapReply { refused: true, ..TapReply::default() },
        Opened::Known(news) => news,
        Opened::New(news) => {
            taps.precede(ask.tap_id, before(shared, ask, of));
            news
        }
    };
    let (entries, lost) = listen(shared, ask, &news).await;
    reply(shared, ask, entries, lost)
}

/// The last entries that are remembered. Who was here before and comes back wants all since then.
fn before(shared: &Shared, ask: &Tap, of: Wanted) -> Vec<Kept> {
    let Some(ring) = &shared.trace.ring else { return Vec::new() };
    // A position of another gateway by this name, whose clock was ahead, means nothing here.
    let known = ask.after < shared.trace.next.load(Ordering::Relaxed);
    let after = if known { ask.after } else { 0 };
    let count = if after > 0 { usize::MAX } else { ask.last as usize };
    let bytes_max = shared.limits.tap_bytes_max;
    ring.shard(&of.uid).last(after, count, bytes_max, |header| of.takes(header))
}

async fn listen(shared: &Shared, ask: &Tap, news: &Arc<Notify>) -> (Vec<Kept>, u64) {
    let wait = Duration::from_millis(ask.wait_ms.into()).min(shared.limits.tap_wait_max);
    let stops = shared.draining.load(Ordering::Relaxed);
    let deadline = Instant::now() + if stops { wait.min(LAST_WAIT) } else { wait };
    loop {
        let (entries, lost) = shared.trace.taps.take(ask.tap_id, ask.after, shared.uptime_ms());
        let look = deadline.min(Instant::now() + LAST_WAIT);
        let over = Instant::now() >= deadline || shared.draining.load(Ordering::Relaxed);
        if over || lost > 0 || !entries.is_empty() {
            return (entries, lost);
        }
        // Nothing in time: look whether the gateway is told to stop.
        let _ = timeout_at(look, news.notified()).await;
    }
}

fn reply(shared: &Shared, ask: &Tap, kept: Vec<Kept>, lost: u64) -> TapReply {
    let bodies = if ask.include_bodies { Bodies::Shown } else { Bodies::Hidden };
    let mut reply = TapReply { lost, position: ask.after, ..TapReply::default() };
    let mut bytes = 0;
    for kept in kept {
        let entry = shown(&kept, bodies);
        bytes += entry.encoded_len();
        if bytes > shared.limits.tap_answer_bytes_max && !reply.entries.is_empty() {
            break;
        }
        reply.position = entry.position;
        reply.entries.push(entry);
    }
    reply
}

fn shown(kept: &Kept, bodies: Bodies) -> Entry {
    let Kept { header, bytes } = kept;
    let truncated = header.kept < header.size;
    let (direction, content, hidden) = match header.what {
        What::In => {
            let read = wire::from_agent(bytes, truncated, bodies);
            let read = read.map(|shown| (Content::AgentToServer(shown.message), shown.hidden));
            parts(TapDirection::In, read)
        }
        What::Out => {
            let read = wire::to_agent(bytes, truncated, bodies);
            let read = read.map(|shown| (Content::ServerToAgent(shown.message), shown.hidden));
            parts(TapDirection::Out, read)
        }
        What::Fact(kind) => {
            let fact = Fact {
                kind: kind.into(),
                close_code: header.code.into(),
                epoch: header.epoch,
                remote_address: String::from_utf8_lossy(bytes).into_owned(),
            };
            (TapDirection::Unspecified, Content::Fact(fact), Vec::new())
        }
    };
    let is_fact = matches!(header.what, What::Fact(_));
    Entry {
        position: header.position,
        at_unix_ms: header.at.0,
        direction: direction.into(),
        transport: header.transport.into(),
        size_bytes: if is_fact { 0 } else { header.size.into() },
        truncated,
        content: Some(content),
        hidden,
        http_status: if is_fact { 0 } else { header.code.into() },
        retry_after_seconds: header.retry_after_seconds,
    }
}

fn parts(
    direction: TapDirection,
    read: Result<(Content, Vec<wire::Hidden>), wire::Undecodable>,
) -> (TapDirection, Content, Vec<Hidden>) {
    match read {
        Ok((content, hidden)) => {
            let hidden = hidden.into_iter().map(|hidden| Hidden {
                path: hidden.path,
                number: hidden.number,
                size_bytes: hidden.size_bytes,
                cut: hidden.cut,
            });
            (direction, content, hidden.collect())
        }
        Err(wire::Undecodable { reason, head_hex }) => {
            (direction, Content::Undecodable(Undecodable { reason, head_hex }), Vec::new())
        }
    }
}
