// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A container image: what it is ([`oci`]) and its bytes made safe ([`stream`]). Readers of bytes that are handed in; this
//! crate opens no file and no connection.

pub mod oci;
pub mod stream;
