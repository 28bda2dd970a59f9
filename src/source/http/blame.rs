// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who delivered bytes that had the wrong digest. It may have been the wire, so a place gets a second chance.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use contract::names::Digest;

/// Wrong deliveries of a blob after which a place is not asked for it any more.
const MAX_WRONG: u32 = 2;

/// For each blob that is of interest, what each place has done.
#[derive(Debug, Default)]
pub(super) struct Blame(Mutex<HashMap<Digest, HashMap<usize, Account>>>);

#[derive(Debug, Default)]
struct Account {
    /// Some of the delivery that is being judged came from here.
    delivered: bool,
    wrong: u32,
    why: String,
}

impl Blame {
    /// Bytes of this blob came from this place.
    pub(super) fn delivered(&self, digest: Digest, place: usize) {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.entry(digest).or_default().entry(place).or_default().delivered = true;
    }

    /// The delivery was wrong. Returns the places that it came from.
    pub(super) fn wrong(&self, digest: Digest, why: &str) -> Vec<usize> {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guilty = Vec::new();
        for (place, account) in blobs.entry(digest).or_default() {
            if std::mem::take(&mut account.delivered) {
                account.wrong += 1;
                why.clone_into(&mut account.why);
                guilty.push(*place);
            }
        }
        guilty
    }

    /// Why this place is not asked for the blob any more, if so.
    pub(super) fn sentence(&self, digest: Digest, place: usize) -> Option<String> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = blobs.get(&digest)?.get(&place).filter(|account| account.wrong >= MAX_WRONG)?;
        Some(format!("wrong bytes {} times: {}", account.wrong, account.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_out_after_two_wrong_deliveries() {
        let (blame, digest, other) = (Blame::default(), Digest::of(b"x"), Digest::of(b"y"));
        assert_eq!(blame.wrong(digest, "nobody"), Vec::<usize>::new());
        blame.delivered(digest, 0);
        assert_eq!(blame.wrong(digest, "one"), [0]);
        assert_eq!(blame.sentence(digest, 0), None);
        blame.delivered(digest, 0);
        assert_eq!(blame.wrong(digest, "two"), [0]);
        assert_eq!(blame.sentence(digest, 0).as_deref(), Some("wrong bytes 2 times: two"));
        assert_eq!(blame.wrong(digest, "again"), Vec::<usize>::new(), "nothing was delivered since");
        assert_eq!((blame.sentence(digest, 1), blame.sentence(other, 0)), (None, None), "another place, another blob");
    }
}
