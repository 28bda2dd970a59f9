// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Delays, and a fleet in simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn delays_double_up_to_the_cap_and_start_anew_after_progress() {
    let policy = RetryPolicy { first: Duration::from_secs(1), cap: Duration::from_secs(10), tries: 7 };
    let mut backoff = Backoff::new(policy, 1);
    for (n, base) in [1.0, 2.0, 4.0, 8.0, 10.0, 10.0].into_iter().enumerate() {
        let wait = backoff.failed(Trouble::Broken, HOUR).unwrap().as_secs_f64();
        assert!((base * 0.5..base * 1.5).contains(&wait), "failure {n}: {wait}");
    }
    assert_eq!(backoff.failed(Trouble::Broken, HOUR), Err(GiveUp::Tries(7)));
    backoff.progress();
    assert!(backoff.failed(Trouble::Broken, HOUR).unwrap() < Duration::from_millis(1500));
}

#[test]
fn a_busy_server_is_believed_and_never_given_up_before_the_deadline() {
    let mut backoff = Backoff::new(RetryPolicy::default(), 1);
    for n in 0..100 {
        let after = Duration::from_secs(7);
        let wait = backoff.failed(Trouble::Busy(Some(after)), HOUR).unwrap();
        assert!(wait > after && wait < 2 * after + Duration::from_secs(45), "{n}: {wait:?}");
    }
    let day = Duration::from_secs(86_400);
    assert!(matches!(backoff.failed(Trouble::Busy(Some(day)), HOUR), Err(GiveUp::Wait(wait)) if wait > day));
    let (mut one, mut other) = (Backoff::new(RetryPolicy::default(), 1), Backoff::new(RetryPolicy::default(), 2));
    assert_ne!(one.failed(Trouble::Broken, HOUR), other.failed(Trouble::Broken, HOUR), "machines come back together");
}

/// What happened to a fleet.
#[derive(Debug, Default)]
struct Outcome {
    finished: usize,
    gave_up: usize,
    last: Duration,
    served: usize,
    refused: usize,
    /// Most requests in one second, after the first ten.
    peak: usize,
}

const CLIENTS: usize = 500;
/// Blobs of each client, and how long the registry takes for one.
const BLOBS: u32 = 5;
const BLOB_TIME: Duration = Duration::from_secs(2);
/// The registry serves this many at once and answers 429 to the others.
const AT_ONCE: usize = 25;
const DEADLINE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client has got its blob. Before `Ask`: at the same instant, the place is free first.
    Done,
    Ask,
}

/// All start within one second, as a rack does that gets its power back.
fn simulate(retry_after: Option<Duration>) -> Outcome {
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| (Backoff::new(RetryPolicy::default(), n as u64), BLOBS)).collect();
    let mut queue = BinaryHeap::new();
    for n in 0..CLIENTS {
        queue.push(Reverse((Duration::from_millis(2 * n as u64), Event::Ask, n)));
    }
    let (mut outcome, mut busy, mut seconds) = (Outcome::default(), 0, vec![0_usize; 700]);
    while let Some(Reverse((now, event, n))) = queue.pop() {
        let (backoff, blobs) = &mut clients[n];
        match event {
            Event::Done => {
                busy -= 1;
                *blobs -= 1;
                backoff.progress();
                if *blobs > 0 {
                    queue.push(Reverse((now, Event::Ask, n)));
                } else {
                    outcome.finished += 1;
                    outcome.last = now;
                }
            }
            Event::Ask => {
                seconds[usize::try_from(now.as_secs()).unwrap()] += 1;
                if busy < AT_ONCE {
                    busy += 1;
                    outcome.served += 1;
                    queue.push(Reverse((now + BLOB_TIME, Event::Done, n)));
                    continue;
                }
                outcome.refused += 1;
                match backoff.failed(Trouble::Busy(retry_after), DEADLINE.saturating_sub(now)) {
                    Ok(wait) => queue.push(Reverse((now + wait, Event::Ask, n))),
                    Err(_) => outcome.gave_up += 1,
                }
            }
        }
    }
    outcome.peak = seconds[10..].iter().copied().max().unwrap();
    outcome
}

/// 2500 blobs at 12.5 a second take 200 s at best: all are there after 250 s, so that the registry was busy with its
/// work for four fifths of the time. For each answer that is a blob there are at most two refusals, and after the
/// first ten seconds never more than 125 requests in one, ten times what it can serve.
#[test]
fn five_hundred_clients_share_a_registry_that_serves_twenty_five() {
    for (label, retry_after) in [("no Retry-After", None), ("Retry-After: 5", Some(Duration::from_secs(5)))] {
        let outcome = simulate(retry_after);
        println!("{label}: {outcome:?}");
        assert_eq!((outcome.finished, outcome.gave_up), (CLIENTS, 0), "{label}: {outcome:?}");
        assert_eq!(outcome.served, CLIENTS * BLOBS as usize, "{label}: {outcome:?}");
        assert!(outcome.last < Duration::from_secs(250), "{label}: {outcome:?}");
        assert!(outcome.refused < 2 * outcome.served, "{label}: {outcome:?}");
        assert!(outcome.peak <= 125, "{label}: {outcome:?}");
    }
}
