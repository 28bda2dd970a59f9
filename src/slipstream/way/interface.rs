// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every way into the node image has to offer.
//!
//! Tested by `src/slipstream/tests/boot/`.

use anyhow::Result;
use contract::handoff::{self, Leftover};

use crate::deploy::Deployed;
use crate::machine::Machine;
use crate::stop::Stop;

/// A way into the node image.
pub trait Way {
    /// Returns its name in the account, by which `slipstream-initrd settle` knows what is left to do.
    fn name(&self) -> handoff::Way;

    /// Refuses a machine on which it cannot work. It is asked before anything is written.
    fn check(&self, machine: &Machine) -> Result<Option<Stop>>;

    /// Returns what it leaves behind. The account names it before it is made.
    fn leftovers(&self, machine: &Machine) -> Vec<Leftover>;

    /// Makes the deployment the root of this boot.
    fn enter(&self, machine: &Machine, deployed: &Deployed) -> Result<()>;

    /// Takes back what [`Self::enter`] has begun when it has failed, so that this boot continues with the bootimage.
    fn undo(&self, machine: &Machine) -> Result<()>;
}
