// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds the signatures of an image, by its digest: at a tag of its repository, or in the index of a layout. What they are
//! worth is the business of those who ask.
//!
//! Tested by `src/slipstream/tests/http/signatures/`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;

use anyhow::{Context, Result, ensure};
use contract::names::Digest;
use image::oci::{AttachedSignature, MAX_JSON_SIZE, find_signatures, parse_signatures, signature_tag};
use image::stream::read_verified;

use crate::blobs::{Source, read_right};
use crate::http::Fetcher;

/// The file of a layout that names its images.
pub(crate) const INDEX: &str = "index.json";

/// Finds signatures at the endpoints of a registry: by tag, as sigstore's tools do.
pub(crate) fn by_tag(fetcher: &Fetcher, digest: Digest) -> Result<Vec<AttachedSignature>> {
    let found = fetcher.read_named(&signature_tag(digest), |endpoint, manifest| {
        Ok(if_any(read_payloads(fetcher, manifest, endpoint)?))
    });
    Ok(found?.unwrap_or_default())
}

/// Finds signatures in a layout behind a web server.
pub(crate) fn by_index(fetcher: &Fetcher, digest: Digest) -> Result<Vec<AttachedSignature>> {
    let found = fetcher.read_named(INDEX, |_, index| Ok(if_any(read_listed(fetcher, index, digest)?)));
    Ok(found?.unwrap_or_default())
}

/// Reads the index of a layout.
pub(crate) fn read_index(index: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    index.take(MAX_JSON_SIZE + 1).read_to_end(&mut bytes).context("reading index.json")?;
    ensure!(bytes.len() as u64 <= MAX_JSON_SIZE, "index.json is larger than the limit of {MAX_JSON_SIZE} bytes");
    Ok(bytes)
}

/// Reads the signatures that the index of a layout names. The layout does not know its own name: the endpoint is empty.
pub(crate) fn read_listed(layout: &dyn Source, index: &[u8], digest: Digest) -> Result<Vec<AttachedSignature>> {
    let Some(listed) = find_signatures(index, digest)? else { return Ok(Vec::new()) };
    let (wanted, size) = (listed.digest, Some(listed.size));
    let manifest = read_right(layout, wanted, || {
        let blob = layout.open_manifest(wanted, size).context("opening a signature manifest")?;
        read_verified(blob, wanted, size, MAX_JSON_SIZE)
    })?;
    read_payloads(layout, &manifest, "")
}

/// Reads the payloads that a signature manifest names.
fn read_payloads(source: &dyn Source, manifest: &[u8], endpoint: &str) -> Result<Vec<AttachedSignature>> {
    // One payload can have the signatures of several keys.
    let mut payloads = HashMap::new();
    let mut found = Vec::new();
    for layer in parse_signatures(manifest)? {
        let (digest, size) = (layer.descriptor.digest, layer.descriptor.size);
        let payload = match payloads.entry(digest) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(read_payload(source, digest, size)?),
        };
        found.push(layer.with_payload(payload.clone(), endpoint));
    }
    Ok(found)
}

fn read_payload(source: &dyn Source, digest: Digest, size: u64) -> Result<Vec<u8>> {
    read_right(source, digest, || {
        let blob = source.open_blob(digest, Some(size)).context("opening a signature payload")?;
        read_verified(blob, digest, Some(size), size)
    })
}

fn if_any<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
