// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures of an image against a policy: what meets it, and everything that must not.

mod authority;
mod certificates;
mod identities;
mod keys;
mod kit;
mod logins;
mod logs;
mod policies;
mod reference;
mod skopeo;
