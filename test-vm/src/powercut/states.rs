// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a disk may hold after a power cut: all that was flushed, and of what was written since, anything. A disk may
//! write in any order between two flushes, and of a write that it was at it may have done a part only: but a physical
//! sector of 4 KiB is written whole or not at all. File systems rely on that: the super block of ext4 is in no journal.

use std::collections::BTreeSet;
use std::fs::File;

use anyhow::Result;

use super::log::{Entry, Log};

/// What a disk writes at once, whatever size of sectors it shows.
const PHYSICAL_SECTOR: u64 = 4096;

/// Xorshift: the same numbers for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Of a seed.
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero; small seeds would start alike.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % (limit as u64).max(1)) as usize
    }
}

/// One state of the disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    /// All writes before this entry are on the disk.
    pub durable: usize,
    /// These as well, of those before the next flush.
    pub more: Vec<usize>,
    /// Of this one, only so many bytes.
    pub torn: Option<(usize, u64)>,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} writes after the flush before entry {}", self.more.len(), self.durable)?;
        match self.torn {
            Some((entry, bytes)) => write!(f, ", of entry {entry} only {bytes} bytes"),
            None => Ok(()),
        }
    }
}

impl State {
    /// Do the writes since the last flush that reached the disk.
    pub fn apply(&self, log: &Log, disk: &File) -> Result<()> {
        for at in &self.more {
            let bytes = self.torn.filter(|(torn, _)| torn == at).map(|(_, bytes)| bytes);
            log.apply(&log.entries[*at], disk, bytes)?;
        }
        Ok(())
    }
}

/// Between two flushes: entries `start..end` are writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    start: usize,
    end: usize,
}

fn intervals(entries: &[Entry]) -> Vec<Interval> {
    let (mut found, mut start) = (Vec::new(), 0);
    for (at, entry) in entries.iter().enumerate() {
        if *entry == Entry::Flush {
            if at > start {
                found.push(Interval { start, end: at });
            }
            start = at + 1;
        }
    }
    if start < entries.len() {
        found.push(Interval { start, end: entries.len() });
    }
    found
}

/// `count` different states, in the order of the log: that after every flush, as far as there is room, and others,
/// which the seed chooses. There may be fewer if the log has no more.
pub fn choose(entries: &[Entry], count: usize, seed: u64) -> Vec<State> {
    let (intervals, mut random) = (intervals(entries), Random::new(seed));
    let mut chosen = BTreeSet::new();
    let exact = |interval: &Interval| State { durable: interval.start, more: Vec::new(), torn: None };
    if intervals.len() * 2 <= count {
        chosen.extend(intervals.iter().map(exact));
    }
    // The same state may come out twice, above all of a short log.
    for _ in 0..count * 20 {
        if chosen.len() >= count || intervals.is_empty() {
            break;
        }
        let interval = intervals[random.below(intervals.len())];
        chosen.insert(any_of(entries, interval, &mut random));
    }
    chosen.into_iter().collect()
}

/// Every set of the writes between two flushes, wherever these are at most `limit`. No write is torn.
pub fn every_set(entries: &[Entry], limit: usize) -> Vec<State> {
    let mut states = Vec::new();
    for Interval { start, end } in
        intervals(entries).into_iter().filter(|interval| interval.end - interval.start <= limit)
    {
        for set in 0..1_u64 << (end - start) {
            let more: Vec<usize> = (start..end).filter(|entry| set >> (entry - start) & 1 == 1).collect();
            // A set that a disk cannot have is another one with what was written through.
            if with_written_through(entries, start, more.clone()) == more {
                states.push(State { durable: start, more, torn: None });
            }
        }
    }
    states
}

/// States when the entry `at` had just been asked for: what was flushed; that and all since; and that and some.
pub fn around(entries: &[Entry], at: usize, seed: u64) -> Vec<State> {
    let start = entries[..at].iter().rposition(|entry| *entry == Entry::Flush).map_or(0, |flush| flush + 1);
    let mut random = Random::new(seed.wrapping_add(at as u64));
    let more = |more: Vec<usize>| State { durable: start, more, torn: None };
    let mut states = vec![more(Vec::new()), more((start..=at).collect())];
    states.push(any_of(entries, Interval { start, end: at + 1 }, &mut random));
    states.dedup();
    states
}

/// Any state of an interval.
fn any_of(entries: &[Entry], interval: Interval, random: &mut Random) -> State {
    let all: Vec<usize> = (interval.start..interval.end).collect();
    let more: Vec<usize> = match random.below(8) {
        // In order, up to some point: a disk without a queue, or a process that was killed.
        0 | 1 => all[..random.below(all.len() + 1)].to_vec(),
        2 => {
            let only = random.below(all.len());
            vec![all[only]]
        }
        3 => {
            let lost = random.below(all.len());
            all.iter().copied().filter(|entry| *entry != all[lost]).collect()
        }
        _ => {
            let share = 1 + random.below(9);
            all.iter().copied().filter(|_| random.below(10) < share).collect()
        }
    };
    let more = with_written_through(entries, interval.start, more);
    let torn = match (random.below(3), more.is_empty()) {
        (0, false) => torn(entries, more[random.below(more.len())], random),
        _ => None,
    };
    State { durable: interval.start, more, torn }
}

/// What was written through was on the disk before anything that was asked for after it.
fn with_written_through(entries: &[Entry], start: usize, mut more: Vec<usize>) -> Vec<usize> {
    let last = more.last().copied().unwrap_or(start);
    more.extend((start..last).filter(|entry| matches!(entries[*entry], Entry::Write { fua: true, .. })));
    more.sort_unstable();
    more.dedup();
    more
}

fn torn(entries: &[Entry], entry: usize, random: &mut Random) -> Option<(usize, u64)> {
    let Entry::Write { offset, len, fua: false, .. } = entries[entry] else { return None };
    let first_end = PHYSICAL_SECTOR - offset % PHYSICAL_SECTOR;
    let ends = usize::try_from(len.saturating_sub(first_end).div_ceil(PHYSICAL_SECTOR)).ok()?;
    (ends > 0).then(|| (entry, first_end + random.below(ends) as u64 * PHYSICAL_SECTOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        let write = |n: usize, fua| Entry::Write { offset: n as u64 * 65536 + 1024, len: 8192, data: 0, fua };
        let entry = |(n, c): (usize, char)| match c {
            'w' => write(n, false),
            'u' => write(n, true),
            _ => Entry::Flush,
        };
        text.chars().enumerate().map(entry).collect()
    }

    #[test]
    fn flushed_writes_are_there_and_others_may_be() {
        let entries = entries("wwfffwwwufw");
        let found: Vec<_> = intervals(&entries).iter().map(|interval| (interval.start, interval.end)).collect();
        assert_eq!(found, [(0, 2), (5, 9), (10, 11)]);
        let states = choose(&entries, 60, 7);
        assert!(states.len() > 15, "{}", states.len());
        for state in &states {
            let end = found.iter().find(|(start, _)| *start == state.durable).expect("a flush").1;
            assert!(state.more.iter().all(|entry| (state.durable..end).contains(entry)), "{state:?}");
            if let Some((entry, bytes)) = state.torn {
                assert!(state.more.contains(&entry) && [3072, 7168].contains(&bytes), "{state:?}");
            }
        }
        for start in [0, 5, 10] {
            let exact = State { durable: start, more: vec![], torn: None };
            assert!(states.contains(&exact), "after the flush before {start}");
        }
        assert_eq!(states, choose(&entries, 60, 7), "the seed decides");
        assert_ne!(states, choose(&entries, 60, 8));
    }

    #[test]
    fn every_set_of_a_short_interval() {
        let more = |entries: &str, limit| -> Vec<Vec<usize>> {
            every_set(&self::entries(entries), limit).into_iter().map(|state| state.more).collect()
        };
        assert_eq!(more("wwfwwwf", 2), [vec![], vec![0], vec![1], vec![0, 1]]);
        assert_eq!(more("wwfwwwf", 3).len(), 4 + 8);
        // The second is written through: the third is not there without it.
        assert_eq!(more("wuwf", 3), [vec![], vec![0], vec![1], vec![0, 1], vec![1, 2], vec![0, 1, 2]]);
    }

    #[test]
    fn states_around_an_entry_have_nothing_after_it() {
        let entries = entries("wfwwwwf");
        let states = around(&entries, 4, 1);
        assert_eq!((&states[0].more[..], &states[1].more[..]), (&[][..], &[2, 3, 4][..]));
        assert!(
            states.iter().all(|state| state.durable == 2 && state.more.iter().all(|entry| *entry <= 4)),
            "{states:?}"
        );
    }

    #[test]
    fn what_is_written_through_is_there_before_what_follows() {
        let entries = entries("wuwf");
        for state in choose(&entries, 40, 3) {
            if state.more.contains(&2) {
                assert!(state.more.contains(&1), "{state:?}");
            }
            assert!(state.torn.is_none_or(|(entry, _)| entry != 1), "{state:?}");
        }
    }
}
