//! What is done to the world, by dice: one fault after the other, each undone after a while.

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use store::Generation;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Part};
use crate::dice::Dice;
use crate::limits::{BEGIN_MS, CHAOS, FAULT_PAUSE_MS};
use crate::run::Profile;
use crate::weather::Weather;
use crate::world::World;

/// Chaos, for a while.
pub(crate) struct Chaos {
    pub(crate) world: Arc<World>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) dice: Dice,
    pub(crate) profile: Profile,
}

impl Chaos {
    /// Breaks things until its time is over, and then mends them.
    pub(crate) async fn reign(self) {
        let end = Instant::now() + CHAOS;
        self.set_weather();
        while Instant::now() < end {
            let (least, most) = FAULT_PAUSE_MS;
            sleep(Duration::from_millis(self.dice.between(least, most))).await;
            self.strike();
        }
        self.mend();
    }

    /// The weather of this seed: most are only slow, some are bad.
    fn set_weather(&self) {
        let bad = self.dice.below(4);
        let weather = Weather {
            delay_ms: *self.dice.pick(&[2, 10, 40, 250]).unwrap_or(&2),
            lost: bad * self.dice.below(25),
            repeated: bad * self.dice.below(25),
            late: bad * self.dice.below(8),
            errors: bad * self.dice.below(12),
            ..Weather::default()
        };
        self.world.note(format_args!("weather {weather:?}"));
        self.world.sky.change(|now| *now = weather);
    }

    /// Undoes everything.
    fn mend(&self) {
        self.world.sky.change(|now| *now = Weather::fair());
        self.cluster
            .agents()
            .iter()
            .filter_map(|agent| agent.wire())
            .for_each(|wire| wire.hang_up());
        for index in self.cluster.places(None) {
            let (dead, leaving) = self.cluster.seat(index, |seat| {
                seat.process.resume();
                seat.process.cut(false, false);
                seat.process.step_clock(0);
                (seat.process.is_dead(), seat.leaving)
            });
            if dead && !leaving {
                self.cluster.start(index);
            }
        }
        self.world.note(format_args!("mended"));
    }

    fn strike(&self) {
        let gateways = self.cluster.places(Some(Part::Gateway));
        let all = self.cluster.places(None);
        let gateway = self.dice.pick(&gateways).copied().unwrap_or(0);
        let anybody = self.dice.pick(&all).copied().unwrap_or(0);
        let bound = match self.profile {
            Profile::Everything => 17,
            // Faults that move agents while their old owners live on.
            Profile::Fencing => 10,
        };
        match self.dice.below(bound) {
            0 | 1 => self.pause(gateway, (200, 25_000)),
            2 => self.isolate(gateway),
            3..=5 => self.break_wires(),
            6 => self.kill(gateway),
            7 => self.stop(gateway),
            8 => self.pause(anybody, (100, 15_000)),
            9 => self.isolate(anybody),
            10 | 11 => self.kill(anybody),
            12 => self.stop(anybody),
            13 => self.away("bus", |weather, away| weather.bus_away = away),
            14 => self.away("records", |weather, away| weather.records_away = away),
            15 => self.away("ledger", |weather, away| weather.ledger_away = away),
            _ => self.lose(anybody),
        }
    }

    fn kill(&self, index: usize) {
        if self.cluster.seat(index, |seat| seat.process.is_dead()) {
            return;
        }
        self.cluster.kill(index);
        self.after((100, 9_000), move |chaos| {
            if chaos.seat(index, |seat| seat.process.is_dead() && !seat.leaving) {
                chaos.start(index);
            }
        });
    }

    fn stop(&self, index: usize) {
        if self.cluster.seat(index, |seat| seat.process.is_dead() || seat.leaving) {
            return;
        }
        let cluster = self.cluster.clone();
        let pause = Duration::from_millis(self.dice.between(100, 3_000));
        self.world.tasks.spawn(async move {
            cluster.clone().stop(index).await;
            sleep(pause).await;
            cluster.start(index);
        });
    }

    fn pause(&self, index: usize, span: (u64, u64)) {
        let process = self.cluster.seat(index, |seat| seat.process.clone());
        if process.is_dead() {
            return;
        }
        self.world.note(format_args!("pause {}", process.name));
        process.pause();
        self.after(span, move |cluster| {
            cluster.world.note(format_args!("resume {}", process.name));
            process.resume();
        });
    }

    fn isolate(&self, index: usize) {
        let process = self.cluster.seat(index, |seat| seat.process.clone());
        let (mute, deaf) =
            *self.dice.pick(&[(true, true), (true, false), (false, true)]).unwrap_or(&(true, true));
        self.world.note(format_args!("cut {} {mute} {deaf}", process.name));
        process.cut(mute, deaf);
        self.after((500, 20_000), move |cluster| {
            cluster.world.note(format_args!("joined {}", process.name));
            process.cut(false, false);
        });
    }

    fn break_wires(&self) {
        for agent in self.cluster.agents() {
            let Some(wire) = agent.wire().filter(|_| self.dice.chance(350)) else { continue };
            match self.dice.below(4) {
                0 => wire.fall_silent(),
                _ => wire.break_off(),
            }
            // The agent of a silent wire notices sooner or later, by a timeout of its own.
            let wait = Duration::from_millis(self.dice.between(500, 12_000));
            self.world.tasks.spawn(async move {
                sleep(wait).await;
                wire.hang_up();
            });
        }
    }

    fn away(&self, what: &'static str, change: fn(&mut Weather, bool)) {
        self.world.note(format_args!("{what} away"));
        self.world.sky.change(|weather| change(weather, true));
        self.after((200, 12_000), move |cluster| {
            cluster.world.note(format_args!("{what} back"));
            cluster.world.sky.change(|weather| change(weather, false));
        });
    }

    /// Rarer things: records are lost, the log forgets, a clock is set.
    fn lose(&self, anybody: usize) {
        let now = self.world.now_ms();
        match self.dice.below(4) {
            0 => {
                self.world.note(format_args!("records lost"));
                self.world.history().losses.push(now);
                self.world.records.lose(Generation(Timestamp(BEGIN_MS + now).0));
            }
            1 => {
                self.world.note(format_args!("log lost"));
                self.cluster.net.log.forget_all();
            }
            _ => {
                let most = 3_600_000;
                let skew = self.dice.between(0, 2 * most).cast_signed() - most.cast_signed();
                let process = self.cluster.seat(anybody, |seat| seat.process.clone());
                self.world.note(format_args!("clock {} {skew}", process.name));
                process.step_clock(skew);
                self.after((1_000, 15_000), move |_| process.step_clock(0));
            }
        }
    }

    fn after(&self, span: (u64, u64), undo: impl FnOnce(&Arc<Cluster>) + Send + 'static) {
        let pause = Duration::from_millis(self.dice.between(span.0, span.1));
        let cluster = self.cluster.clone();
        self.world.tasks.spawn(async move {
            sleep(pause).await;
            undo(&cluster);
        });
    }
}
