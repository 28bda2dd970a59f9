// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where an image's signatures are looked for: at a registry's endpoints, and in layouts.

mod image;
mod registry;
mod staged;

use testkit::suite::Case;

pub fn cases() -> Vec<Case> {
    let mut cases = registry::cases();
    cases.extend(staged::cases());
    cases
}
