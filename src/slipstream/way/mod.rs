// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a boot gets into the node image once that is deployed. Each way is one file here. If it leaves something to do for
//! when the root is mounted, it has a second file in the `settle` room of `slipstream-initrd`.
//!
//! Tested by `src/slipstream/tests/boot/`.

mod boot_link;
mod interface;

pub(crate) use boot_link::is_current;
pub use interface::Way;

/// Returns the way that a boot takes.
pub fn chosen() -> &'static dyn Way {
    &boot_link::ViaBootLink
}
