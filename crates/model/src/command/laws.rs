//! What holds for every target, whatever is answered and seen, in every order.

use opamp::InstanceUid;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::GatewayId;

/// Something that happens to a target.
#[derive(Debug, Clone)]
enum Happens {
    Passes(u64),
    Answered(Answer),
    /// An answer to an attempt before the last one.
    Late(Answer),
    Seen(Box<Sight>, u8),
    Cancelled,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Sent),
        Just(Answer::Delivered),
        Just(Answer::NotOwner),
        Just(Answer::Busy),
        Just(Answer::Late),
        Just(Answer::NoOne),
        Just(Answer::NoBus),
        Just(Answer::Broken),
        Just(Answer::Silence),
        Just(Answer::NotPolling),
        Just(Answer::Full),
        Just(Answer::Withdrawn),
    ]
}

fn sight() -> impl Strategy<Value = Sight> {
    let progress = prop_oneof![
        Just(Progress::Waiting),
        Just(Progress::Replied),
        Just(Progress::Delivered),
        Just(Progress::Restarted),
        Just(Progress::Reported),
        Just(Progress::Expired),
        Just(Progress::Returned),
    ];
    let parts = (0_u8..3, 1_u64..4, 0_u64..3, of(progress), any::<bool>(), any::<bool>());
    parts.prop_map(|(way, epoch, count, progress, renamed, replied)| {
        let gateway = GatewayId::new(&format!("g{epoch}"));
        let session = (way == 0).then(|| (gateway.clone(), epoch));
        let way = match way {
            0 => Way::Session { gateway, epoch },
            1 => Way::Record,
            _ => Way::None,
        };
        let signs = Signs {
            restarts: count,
            restarted: Timestamp(count),
            full_reports: count,
            version: count,
        };
        let reply = replied.then_some(Reply {
            data: vec![1],
            size: 1,
            at: Timestamp(count),
            version: count,
        });
        Sight { way, session, epoch, signs, progress, renamed, reply }
    })
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        2 => (0_u64..20_000).prop_map(Happens::Passes),
        2 => answer().prop_map(Happens::Answered),
        1 => answer().prop_map(Happens::Late),
        4 => (sight(), 0_u8..3).prop_map(|(sight, hand)| Happens::Seen(Box::new(sight), hand)),
        1 => Just(Happens::Cancelled),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    let action = prop_oneof![
        Just(Action::Restart),
        Just(Action::Refresh),
        Just(Action::Disconnect),
        Just(Action::Reidentify { uid: InstanceUid::from_bytes([9; 16]) }),
        any::<bool>().prop_map(|wanted| {
            let reply = wanted.then(Expected::default);
            Action::Custom(Custom { reply, ..Custom::default() })
        }),
    ];
    (action, any::<bool>(), 1_u64..120_000)
        .prop_map(|(action, queue, long)| an_order(action, queue, long))
}

pub(super) fn an_order(action: Action, queue: bool, long: u64) -> Order {
    Order {
        id: CommandId([1; 16]),
        confirm_ms: action.confirm_ms(),
        action,
        actor: String::new(),
        created: Timestamp(1_000),
        expires: Timestamp(1_000 + long),
        queue,
        selector: String::new(),
        max_per_second: 50,
        digest: [0; 32],
        driver: "c1".to_owned(),
        targets: 1,
    }
}

fn was_surely_not_sent(answer: Answer) -> bool {
    !matches!(answer, Answer::Sent | Answer::Delivered | Answer::Broken | Answer::Silence)
}

/// A target with what the world knows of it.
struct World {
    order: Order,
    target: Target,
    now: Timestamp,
    /// Attempts whose bytes may be out.
    maybe_sent: Vec<u32>,
}

impl World {
    fn new(order: Order) -> Self {
        let now = order.created;
        let target = Target::new(InstanceUid::from_bytes([1; 16]), now);
        Self { order, target, now, maybe_sent: Vec::new() }
    }

    fn step(&mut self, happens: &Happens) {
        let before = self.target.clone();
        match happens {
            Happens::Passes(ms) => self.now = Timestamp(self.now.0 + ms),
            Happens::Answered(answer) => self.answered(before.attempts, *answer),
            Happens::Late(answer) => {
                self.answered(before.attempts.saturating_sub(1), *answer);
                assert_eq!(self.target, before, "an answer to another attempt means nothing");
            }
            Happens::Seen(sight, hand) => self.seen(sight, *hand),
            Happens::Cancelled => {
                assert_eq!(self.target.cancel(self.now), before.state == State::Queued);
            }
        }
        self.check(&before);
    }

    fn answered(&mut self, attempt: u32, answer: Answer) {
        let routed = self.target.state == State::Routed && self.target.attempts == attempt;
        let changed = self.target.answered(attempt, answer, &self.order, self.now);
        assert_eq!(changed, routed);
        if routed && was_surely_not_sent(answer) {
            self.maybe_sent.retain(|sent| *sent != attempt);
        }
    }

    fn seen(&mut self, sight: &Sight, hand: u8) {
        let hand = [Hand::Waits, Hand::Took, Hand::Lost("control c1")][usize::from(hand)];
        let routed = self.target.state == State::Routed;
        self.target.look(&self.order, sight, hand, self.now);
        let returned = matches!(sight.progress, Some(Progress::Returned | Progress::Expired));
        if routed && returned && self.target.gateway.is_none() {
            self.maybe_sent.retain(|sent| *sent != self.target.attempts);
        }
        if let Some(way) = self.target.ready(&self.order, sight, self.now) {
            assert!(self.maybe_sent.is_empty(), "routed again though it may have been sent");
            assert!(self.now < self.order.expires, "routed after its end");
            assert!(self.order.queue || way != Way::Record, "queued without leave");
            assert!(self.order.queue || self.target.attempts < ATTEMPTS_MAX);
            self.target.route(&way, sight.signs, self.now);
            self.maybe_sent.push(self.target.attempts);
        }
    }

    fn check(&self, before: &Target) {
        let answered =
            matches!(self.order.action, Action::Custom(_)) && self.target.state == Confirmed;
        assert_eq!(self.target.reply.is_some(), answered, "an answer is kept with its effect");
        use State::*;
        let moves: &[State] = match before.state {
            Queued => &[Queued, Routed, Expired, Cancelled],
            Routed => &[Routed, Queued, Sent, Delivered, Confirmed, Refused, Expired, Unknown],
            Sent | Unknown => &[before.state, Delivered, Confirmed],
            Delivered => &[Delivered, Confirmed],
            ended => &[ended],
        };
        // What bounces may be routed again in the same look.
        let state = self.target.state;
        assert!(moves.contains(&state), "{:?} became {state:?}", before.state);
        if matches!(state, Refused | Expired | Cancelled) {
            assert!(self.maybe_sent.is_empty(), "{state:?} though it may have been sent");
        }
        if state == Unknown {
            let reason = &self.target.reason;
            let hops = ["gateway", "record", "worker"];
            assert!(hops.iter().any(|hop| reason.contains(hop)), "no hop named: {reason:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_that_may_have_been_sent_is_sent_again(
        order in order(),
        story in vec(happens(), 0..40),
    ) {
        let mut world = World::new(order);
        for happens in &story {
            world.step(happens);
        }
    }

    #[test]
    fn every_story_ends(
        order in order(),
        story in vec(happens(), 0..20),
        last in sight(),
        hand in 0_u8..3,
    ) {
        let mut world = World::new(order);
        for happens in &story {
            world.step(happens);
        }
        // Whoever waits for an answer gets one, or the word that none came.
        if world.target.gateway.is_some() {
            world.step(&Happens::Answered(Answer::Silence));
        }
        let last = Happens::Seen(Box::new(last), hand);
        for _ in 0..8 {
            world.step(&Happens::Passes(ANSWER_MS + world.order.confirm_ms));
            world.step(&last);
            if world.target.state == State::Routed && world.target.gateway.is_some() {
                world.step(&Happens::Answered(Answer::Silence));
            }
        }
        let (target, now) = (&world.target, world.now);
        prop_assert!(target.is_settled(&world.order, now), "{target:?}");
    }
}

fn session(gateway: &str, epoch: u64) -> Sight {
    let gateway = GatewayId::new(gateway);
    Sight {
        way: Way::Session { gateway: gateway.clone(), epoch },
        session: Some((gateway, epoch)),
        epoch,
        ..Sight::default()
    }
}

fn routed(order: &Order, sight: &Sight) -> World {
    let mut world = World::new(order.clone());
    world.seen(sight, 0);
    assert_eq!(world.target.state, State::Routed);
    world
}

#[test]
fn a_restart_is_confirmed_by_a_later_start_and_by_nothing_else() {
    let order = an_order(Action::Restart, false, 30_000);
    for answer in [Answer::Sent, Answer::Delivered, Answer::Silence] {
        let mut world = routed(&order, &session("g1", 3));
        let mut later = session("g2", 4);
        later.signs = Signs { restarts: 1, full_reports: 1, ..Signs::default() };
        world.seen(&later, 0);
        assert_eq!(world.target.state, State::Routed, "nobody knows yet whether it was told");
        world.answered(1, answer);
        world.seen(&session("g2", 4), 0);
        assert_ne!(world.target.state, State::Confirmed, "it only connected again");
        world.seen(&later, 0);
        assert_eq!(world.target.state, State::Confirmed, "{answer:?}");
    }
}

#[test]
fn a_restart_long_after_a_command_is_not_its_doing() {
    let order = an_order(Action::Restart, false, 30_000);
    let mut world = routed(&order, &session("g1", 3));
    world.answered(1, Answer::Silence);
    let until = world.target.routed.0 + SEND_MS + PROOF_MS + order.confirm_ms;
    let mut later = session("g2", 4);
    for (restarted, state) in [(until + 1, State::Unknown), (until, State::Confirmed)] {
        let restarted = Timestamp(restarted);
        later.signs = Signs { restarts: 1, restarted, ..Signs::default() };
        world.seen(&later, 0);
        assert_eq!(world.target.state, state, "{restarted:?}");
    }
}

#[test]
fn it_is_routed_once_more_and_then_refused_unless_it_may_wait() {
    for (queue, end) in [(false, State::Refused), (true, State::Queued)] {
        let order = an_order(Action::Restart, queue, 60_000);
        let mut world = routed(&order, &session("g1", 3));
        world.answered(1, Answer::NotOwner);
        world.seen(&session("g1", 3), 0);
        assert_eq!(world.target.state, State::Queued, "not to the same place at once");
        world.now = Timestamp(world.now.0 + SETTLE_MS);
        world.seen(&session("g2", 4), 0);
        assert_eq!((world.target.state, world.target.attempts), (State::Routed, 2));
        world.answered(2, Answer::Busy);
        assert_eq!(world.target.state, end);
        assert!(world.target.reason.contains("gateway g2"), "{}", world.target.reason);
    }
}

#[test]
fn a_driver_that_is_lost_leaves_unknown_behind_it() {
    let order = an_order(Action::Restart, false, 30_000);
    let mut world = routed(&order, &session("g3", 7));
    world.seen(&session("g3", 7), 2);
    assert_eq!(world.target.state, State::Routed, "its gateway may be about to answer");
    world.now = Timestamp(world.now.0 + ANSWER_MS);
    world.seen(&session("g3", 7), 2);
    assert_eq!(world.target.state, State::Unknown);
    let words = ["control c1", "gateway g3", "epoch 7", "attempt 1"];
    let reason = &world.target.reason;
    assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
}

#[test]
fn the_next_command_waits_for_the_one_before_it() {
    let uid = InstanceUid::from_bytes([1; 16]);
    let older = an_order(Action::Restart, false, 30_000);
    let newer = Order { id: CommandId([0; 16]), created: Timestamp(2_000), ..older.clone() };
    let mut line = Line::default();
    line.join(uid, &newer);
    assert!(line.is_first(&uid, &newer));
    line.join(uid, &older);
    assert!(line.is_first(&uid, &older) && !line.is_first(&uid, &newer));
}

#[test]
fn so_many_in_a_second_and_no_more() {
    let order = Order { max_per_second: 2, ..an_order(Action::Restart, false, 30_000) };
    let mut allowance = Allowance::new(&order, Timestamp(0));
    let took = |allowance: &mut Allowance| (0..9).filter(|_| allowance.take()).count();
    assert_eq!(took(&mut allowance), 2);
    allowance.refill(&order, Timestamp(500));
    assert_eq!(took(&mut allowance), 1);
    allowance.refill(&order, Timestamp(60_000));
    assert_eq!(took(&mut allowance), 2, "what was not used is not saved up");
}

/// It polls under its new uid, so that no other poll proves that the old one was told.
#[test]
fn an_agent_that_goes_by_its_new_uid_was_told_to() {
    let order =
        an_order(Action::Reidentify { uid: InstanceUid::from_bytes([9; 16]) }, true, 30_000);
    let polls = Sight { way: Way::Record, ..Sight::default() };
    let mut world = routed(&order, &polls);
    let replied = Sight { progress: Some(Progress::Replied), ..polls };
    world.seen(&replied, 1);
    assert_eq!(world.target.state, State::Routed);
    world.seen(&Sight { renamed: true, ..replied }, 1);
    assert_eq!(world.target.state, State::Confirmed);
}
