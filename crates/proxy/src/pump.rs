//! One direction of a connection: reads, holds, and writes when it is time.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::limits::{HELD_BYTES_MAX, READ_BYTES};
use crate::toxic::{Mind, Toxics};
use crate::{Birth, Counts, Direction, State};

/// The connection is to be reset, or has been.
pub(crate) struct Cut;

/// Bytes on their way.
#[derive(Default)]
struct Held {
    /// With the time when they arrive.
    chunks: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Nothing comes after them.
    ended: bool,
}

/// Passes bytes on until their sender has ended.
pub(crate) async fn pump(
    from: &ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    birth: &Birth,
    direction: Direction,
    counts: &Counts,
) -> Result<(), Cut> {
    let side = direction as usize;
    let (born, closes) = (birth.resets, birth.half_closes[side]);
    let mut mind = Mind::new(counts.accepted.load(Ordering::Relaxed));
    let mut held = Held::default();
    loop {
        let (toxics, over) = {
            let state = state.borrow_and_update();
            if state.past.resets > born {
                return Err(Cut);
            }
            (state.toxics[side], state.past.half_closes[side] > closes)
        };
        mind.follow(&toxics);
        if over {
            let _ = to.shutdown().await;
            return swallow(from, state, born).await;
        }
        if toxics.blackhole {
            state.changed().await.map_err(|_| Cut)?;
            continue;
        }
        if held.ended && held.chunks.is_empty() {
            let _ = to.shutdown().await;
            return Ok(());
        }
        let due = held.chunks.front().map(|(due, _)| (*due).max(mind.free));
        let ready = due.is_some_and(|due| due <= Instant::now());
        tokio::select! {
            biased;
            changed = state.changed() => changed.map_err(|_| Cut)?,
            writable = to.writable(), if ready => {
                writable.map_err(|_| Cut)?;
                let count = held.write(to, &toxics, &mut mind)?;
                counts.bytes[side].fetch_add(count, Ordering::Relaxed);
            }
            () = until(due), if due.is_some() && !ready => {}
            readable = from.readable(), if !held.ended && held.bytes < HELD_BYTES_MAX => {
                readable.map_err(|_| Cut)?;
                held.read(from, &toxics, &mut mind)?;
            }
        }
    }
}

impl Held {
    fn read(&mut self, from: &ReadHalf<'_>, toxics: &Toxics, mind: &mut Mind) -> Result<(), Cut> {
        let mut buffer = [0; READ_BYTES];
        match from.try_read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                let read = &mut buffer[..count];
                mind.corrupt(toxics, read);
                self.bytes += count;
                self.chunks.push_back((mind.due(toxics), Bytes::copy_from_slice(read)));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Cut),
        }
        Ok(())
    }

    fn write(&mut self, to: &WriteHalf<'_>, toxics: &Toxics, mind: &mut Mind) -> Result<u64, Cut> {
        let Some((_, chunk)) = self.chunks.front_mut() else { return Ok(0) };
        let portion = mind.portion(toxics, chunk.len());
        if portion == 0 {
            return Err(Cut);
        }
        match to.try_write(&chunk[..portion]) {
            Ok(count) => {
                chunk.advance(count);
                if chunk.is_empty() {
                    self.chunks.pop_front();
                }
                self.bytes -= count;
                let count = count as u64;
                mind.wrote(toxics, count);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(Cut),
        }
    }
}

/// Reads on, for nobody.
async fn swallow(
    from: &ReadHalf<'_>,
    mut state: watch::Receiver<State>,
    born: u64,
) -> Result<(), Cut> {
    while state.borrow_and_update().past.resets == born {
        tokio::select! {
            biased;
            changed = state.changed() => changed.map_err(|_| Cut)?,
            readable = from.readable() => {
                readable.map_err(|_| Cut)?;
                let mut unused = Held::default();
                unused.read(from, &Toxics::default(), &mut Mind::new(0))?;
                if unused.ended {
                    return Ok(());
                }
            }
        }
    }
    Err(Cut)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
