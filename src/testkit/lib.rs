// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kit that tests are made with: images and what they consist of, servers, repositories and sysroots in directories,
//! and the harness that runs cases by name.
//!
//! It has what at least two programs need; the rest stays with its test. Nothing here reads or writes by slipstream's own
//! modules, so that an error there cannot hide itself.
//!
//! | room | what it has |
//! | --- | --- |
//! | [`layer`] | A tar with exactly the bytes that a case is about. |
//! | [`blob`] | A tar as a layout keeps it: packed, and named by its digest. |
//! | [`layout`] | An OCI layout on disk. |
//! | [`signature`] | What signs an image: a manifest of its own. |
//! | [`image`] | Manifest, config and layers of an image, until they are written to a layout. |
//! | [`objects`] | Objects of ostree, honest or not. |
//! | [`base`] | Images that have an ostree commit in them. |
//! | [`repo`] | A repository of ostree, looked at from outside. |
//! | [`machine`] | A sysroot in a directory, with a bootimage that is deployed and a node image that is staged. |
//! | [`sandbox`] | A place where an importer is ill-treated and watched. |
//! | [`schema`] | A JSON schema that allows no further field. |
//! | [`server`] | A web server that misbehaves as it is told. |
//! | [`daemon`] | A program that serves until it is dropped. |
//! | [`programs`] | Programs of the system: whether they are there, and what they print. |
//! | [`tools`] | Programs of another system, in a root directory of their own. |
//! | [`suite`] | Cases as named tests. |

// The kit starts programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

pub mod base;
pub mod blob;
pub mod daemon;
pub mod image;
pub mod layer;
pub mod layout;
pub mod machine;
pub mod objects;
pub mod programs;
pub mod repo;
pub mod sandbox;
pub mod schema;
pub mod server;
pub mod signature;
#[cfg(feature = "harness")]
pub mod suite;
pub mod tools;
