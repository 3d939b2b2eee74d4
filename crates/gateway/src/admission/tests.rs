//! Decisions on who begins, on a clock of its own: what comes out depends on no machine.

use std::collections::VecDeque;

use super::*;

const PATIENCE: Duration = Duration::from_millis(10);

#[test]
fn the_wait_is_those_present_by_the_rate_of_answers() {
    let mut pace = Pace::new(10);
    (0..10).for_each(|_| pace.come(1_000));
    assert_eq!(pace.projected_wait(9_000), Duration::ZERO, "there is a seat for each");
    (0..990).for_each(|_| pace.come(10_000));
    assert_eq!(pace.projected_wait(10_400), Duration::ZERO, "nothing is known yet");
    for answer in 1..=100 {
        pace.answered(10_000 + answer * 10);
        pace.leave();
    }
    assert_eq!(pace.projected_wait(11_000).as_secs(), 9, "900 at 100 a second");
    let later = pace.projected_wait(21_000).as_secs();
    assert_eq!(later, 9_000, "no answer for ten seconds");
    (0..890).for_each(|_| pace.leave());
    assert_eq!(pace.projected_wait(21_000), Duration::ZERO);
}

#[tokio::test]
async fn seats_follow_what_is_answered_in_the_time_an_answer_may_take() {
    let lane = Lane::new(256, Duration::from_secs(1));
    let mut places = Vec::new();
    while let Some(place) = lane.enter(1_000, PATIENCE).await {
        places.push(place);
    }
    assert_eq!(places.len(), 64);
    // Others wait all the while.
    lock(&lane.pace).present += 1_000;
    for (index, place) in places.drain(..).enumerate() {
        place.answered(1_500 + 100 * index as u64);
    }
    while let Some(place) = lane.enter(9_000, PATIENCE).await {
        places.push(place);
    }
    assert!((9..=10).contains(&places.len()), "ten a second: {}", places.len());
    drop(places);
    assert!(lane.enter(9_000, PATIENCE).await.is_some());
    let mut places = Vec::new();
    while let Some(place) = lane.enter(9_000, PATIENCE).await {
        places.push(place);
    }
    assert_eq!(places.len(), SEATS_MIN, "none of them was answered");
}

#[tokio::test]
async fn who_gives_up_is_present_no_more() {
    let lane = Lane::new(1, Duration::from_secs(1));
    let held = lane.enter(0, PATIENCE).await;
    assert!(lane.enter(0, PATIENCE).await.is_none());
    assert_eq!(lock(&lane.pace).present, 1);
    drop(held);
    assert_eq!(lock(&lane.pace).present, 0);
    assert!(lane.enter(0, PATIENCE).await.is_some());
}

/// Newcomers, so many a second for so long, before one worker that takes so long for each. They
/// wait for a seat, then for the answer.
struct Storm {
    per_second: u64,
    lasting_ms: u64,
    service_ms: u64,
    wait_max: Duration,
    answer_max: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
struct Outcomes {
    answered: u64,
    refused: u64,
    in_vain: u64,
    most_asked: usize,
}

impl Storm {
    /// One millisecond after the other. The worker does not know who has given up: what it does
    /// for them is done for nothing.
    fn rage(&self, lane: &Lane) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let mut waiting: VecDeque<(u64, Place<'_>)> = VecDeque::new();
        let mut asked: VecDeque<(u64, Option<Place<'_>>)> = VecDeque::new();
        let (mut come, mut busy_ms) = (0, 0);
        let late = |since, now, max: Duration| u128::from(now - since) > max.as_millis();
        for now in 1..=self.lasting_ms {
            while come * 1_000 < now * self.per_second {
                come += 1;
                if lane.projected_wait(now) > self.wait_max {
                    outcomes.refused += 1;
                } else {
                    waiting.push_back((now, lane.come(now)));
                }
            }
            while waiting.front().is_some_and(|(since, _)| late(*since, now, self.wait_max)) {
                waiting.pop_front();
                outcomes.in_vain += 1;
            }
            while !waiting.is_empty()
                && let Ok(seat) = lane.seats.try_acquire()
                && let Some((_, mut place)) = waiting.pop_front()
            {
                place.seat = Some(seat);
                asked.push_back((now, Some(place)));
            }
            let in_flight = asked.iter().filter(|(_, place)| place.is_some()).count();
            outcomes.most_asked = outcomes.most_asked.max(in_flight);
            for (since, place) in &mut asked {
                if late(*since, now, self.answer_max) && place.take().is_some() {
                    outcomes.in_vain += 1;
                }
            }
            busy_ms += u64::from(!asked.is_empty());
            if busy_ms == self.service_ms {
                busy_ms = 0;
                if let Some((_, Some(place))) = asked.pop_front() {
                    place.answered(now);
                    outcomes.answered += 1;
                }
            }
        }
        outcomes
    }
}

fn openings(per_second: u64, service_ms: u64) -> Outcomes {
    let limits = Limits::default();
    let (wait_max, answer_max) = (limits.report_turn_deadline, limits.report_timeout);
    let storm = Storm { per_second, lasting_ms: 60_000, service_ms, wait_max, answer_max };
    storm.rage(&Admission::new(&limits).openings)
}

#[test]
fn offered_three_times_what_is_answered_nearly_all_of_that_is_got_done() {
    let outcomes = openings(300, 10);
    assert!(outcomes.answered >= 5_900, "of 6,000 that the worker can answer: {outcomes:?}");
    assert!(outcomes.refused > 9_000 && outcomes.in_vain < 200, "{outcomes:?}");
}

#[test]
fn ten_times_is_no_worse() {
    let outcomes = openings(1_000, 10);
    assert!(outcomes.answered >= 5_900, "of 6,000 that the worker can answer: {outcomes:?}");
    assert!(outcomes.in_vain < 1_000, "{outcomes:?}");
    // The first 64 are asked before it is known how slow it is, which is 8 s of work in vain.
    let outcomes = openings(50, 200);
    assert!(outcomes.answered >= 245, "of 300 that the worker can answer: {outcomes:?}");
}

#[test]
fn polls_are_got_done_in_the_little_time_they_have() {
    let limits = Limits::default();
    let storm = Storm {
        per_second: 150,
        lasting_ms: 60_000,
        service_ms: 20,
        wait_max: limits.poll_patience / 2,
        answer_max: limits.poll_patience,
    };
    let outcomes = storm.rage(&Admission::new(&limits).polls);
    assert!(outcomes.answered >= 2_850, "of 3,000 that the worker can answer: {outcomes:?}");
    assert!(outcomes.refused > 4_000, "{outcomes:?}");
}

#[test]
fn a_worker_that_keeps_up_refuses_nobody() {
    let outcomes = openings(100, 9);
    assert!((outcomes.refused, outcomes.in_vain) == (0, 0), "{outcomes:?}");
    assert!(outcomes.answered > 5_900, "{outcomes:?}");
}

#[test]
fn no_more_are_asked_at_once_than_may_be() {
    let limits = Limits { openings_in_flight_max: 8, ..Limits::default() };
    let (wait_max, answer_max) = (Duration::from_secs(1), Duration::from_secs(5));
    let storm =
        Storm { per_second: 3_000, lasting_ms: 20_000, service_ms: 1, wait_max, answer_max };
    let outcomes = storm.rage(&Admission::new(&limits).openings);
    assert_eq!(outcomes.most_asked, 8, "{outcomes:?}");
    assert!(outcomes.answered > 19_000, "{outcomes:?}");
}
