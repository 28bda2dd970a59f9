// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Servers that take long until the first byte.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use testkit::server::{Ask, Reply};

use crate::cases::{Case, case, is_layer};

/// A pull-through cache that takes 45 s until it has a blob, and begins anew with each request: a thirtieth of it.
fn cache(ask: &Ask) -> Reply {
    if ask.is_blob() {
        sleep(Duration::from_millis(1500));
    }
    Reply::good(ask)
}

/// How often each blob was asked for.
fn most(asked: &[Ask]) -> usize {
    asked.iter().filter(|ask| ask.is_blob()).map(|ask| ask.count + 1).max().unwrap_or_default()
}

pub fn cases() -> Vec<Case> {
    vec![
        case("waits_for_a_cache_that_takes_45_s", |ask, _| cache(ask)).hasty().check(|asked, log| {
            ensure!(most(&asked[0]) == 1, "asked {} times", most(&asked[0]));
            ensure!(log[0].1.is_none());
            Ok(())
        }),
        case("asks_the_next_place_instead_of_a_slow_cache", |ask, _| cache(ask)).then_good().hasty().check(
            |asked, log| {
                ensure!(most(&asked[0]) == 1 && most(&asked[1]) == 1, "asked more than once");
                // Another blob than the first goes to the place that worked last.
                ensure!(asked[0].iter().filter(|ask| ask.is_blob()).count() == 1, "asked for another blob");
                ensure!(log[0].1.is_none() && log[1].1.is_none());
                Ok(())
            },
        ),
        case("waits_for_a_slow_cache_if_the_next_place_is_slow_as_well", |ask, _| cache(ask)).twice().hasty().check(
            |asked, _| {
                ensure!(most(&asked[0]) == 1 && most(&asked[1]) == 1, "asked more than once");
                Ok(())
            },
        ),
        case("waits_for_a_slow_cache_if_the_next_place_is_broken", |ask, _| cache(ask)).then_missing().hasty().check(
            |asked, _| {
                ensure!(most(&asked[0]) == 2, "asked {} times", most(&asked[0]));
                Ok(())
            },
        ),
        case("asks_again_if_a_third_of_the_time_is_over", |ask, layers| {
            if is_layer(ask, layers, 1) && ask.count == 0 {
                sleep(Duration::from_secs(8));
            }
            Reply::good(ask)
        })
        .hasty()
        .within(Duration::from_secs(12))
        .check(|asked, _| {
            ensure!(most(&asked[0]) == 2, "asked {} times", most(&asked[0]));
            Ok(())
        }),
    ]
}
