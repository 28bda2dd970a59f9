// SPDX-License-Identifier: Apache-2.0 OR MIT
//! HTTP over the system's libcurl, blocking, and blobs that survive broken streams.
//!
//! [`Client`] sends one request and follows its redirects; [`Response`] is its body. [`Fetcher`] is above them: it
//! knows the places where a blob can be, and its readers retry, resume by range and go on to the next place. Nothing
//! that a server says is trusted: lengths are bounded, and who reads a blob verifies its digest.

mod backoff;
mod blame;
mod client;
mod clock;
mod curl_error;
mod download;
mod failure;
mod fetch;
mod head;
mod limits;
mod pace;
mod places;
mod proxy;
mod secret;
mod tls;
mod transfer;

use backoff::Backoff;
pub use backoff::RetryPolicy;
pub use client::{Client, Downgrade, Request};
pub use failure::{Failure, Kind};
pub use fetch::Fetcher;
pub use limits::Limits;
pub use places::{EndpointLog, Places, Want};
pub use proxy::Proxy;
pub use secret::Secret;
pub use tls::Tls;
pub use transfer::Response;
