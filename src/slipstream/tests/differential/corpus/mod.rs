// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The corpus: small images of one purpose each, and what is expected of them.

mod attributes;
pub mod base;
mod case;
mod formats;
mod images;
mod layers;
mod places;
mod refused;
mod selinux;

pub use case::{Case, Expect};

/// Returns every case by module.
pub fn cases() -> [(&'static str, Vec<Case>); 7] {
    [
        ("images", images::cases()),
        ("layers", layers::cases()),
        ("attributes", attributes::cases()),
        ("places", places::cases()),
        ("formats", formats::cases()),
        ("refused", refused::cases()),
        ("selinux", selinux::cases()),
    ]
}
