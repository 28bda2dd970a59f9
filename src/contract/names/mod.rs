// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names of images and of the places that have their bytes: parsed, compared and printed, never opened here.

mod device;
mod digest;
mod reference;
mod source_spec;
mod url;

pub use device::Device;
pub use digest::Digest;
pub use reference::ImageReference;
pub use source_spec::SourceSpec;
pub use url::{Scheme, Url};
