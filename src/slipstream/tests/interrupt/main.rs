// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream pull` killed at any moment: the repository is sound, the next run goes on with what is there, and in the
//! end the repository is as one that was never disturbed.
//!
//! `SLIPSTREAM_SEED` repeats the moments of an earlier run, which a failure names.

mod image;
mod killed;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use testkit::programs::needs;
use testkit::sandbox::{Sandbox, enter};
use testkit::suite::{Case, Suite, say};

use killed::{Tally, Test};

const KILLS: usize = 210;

fn main() -> ExitCode {
    let cases = vec![
        Case::new("goes_on_after_a_kill_at_any_moment", any_moment),
        Case::new("takes_no_finished_layer_again", finished_layers),
    ];
    // They measure how long an undisturbed run takes.
    Suite::new("interrupt", || needs(&["ostree"]).and_then(|()| enter())).one_at_a_time().run(cases)
}

fn test(seed: u64) -> Result<Test> {
    Test::new(Sandbox::new(env!("CARGO_BIN_EXE_slipstream"))?, seed)
}

fn any_moment() -> Result<()> {
    let seed = match std::env::var("SLIPSTREAM_SEED") {
        Ok(text) => text.parse().context("reading SLIPSTREAM_SEED")?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.subsec_nanos().into(),
    };
    kill_all(seed).with_context(|| format!("with SLIPSTREAM_SEED={seed}"))
}

fn kill_all(seed: u64) -> Result<()> {
    let mut test = test(seed)?;
    say(format!("undisturbed: {:.3} s, commit {}", test.whole.as_secs_f32(), test.commit));
    while test.tally.kills < KILLS {
        test.round().with_context(|| format!("after {} kills", test.tally.kills))?;
    }
    say(format!("{:?}", test.tally));
    // Otherwise the moments were all the same, and nothing was shown.
    let Tally { early, staged, layers, images, reused, .. } = test.tally;
    ensure!(early > 0 && staged > 20 && reused > 20, "hardly any kill came in the middle: {:?}", test.tally);
    ensure!(layers + images > 10, "hardly any kill came while refs were set: {:?}", test.tally);
    Ok(())
}

/// The moment that is too short to be hit for sure: every layer has its ref, the image has none.
fn finished_layers() -> Result<()> {
    test(0)?.finished_layers_are_enough()
}
