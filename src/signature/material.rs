// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and certificates that a policy has in it, as base64, or points to, by a path.
//!
//! Tested by `src/signature/sigstore.rs`

use anyhow::{Context, Result, bail, ensure};
use contract::files::Files;

use crate::json::Fields;
use crate::pem;

/// Bytes of a policy, or why a file of it cannot be read: that rejects the requirement, not the policy, as the file may be
/// that of an image that is never asked for.
#[derive(Debug)]
pub(crate) struct Material {
    /// How the policy gives them, for messages.
    pub(crate) place: String,
    bytes: Result<Vec<u8>>,
}

impl Material {
    /// Returns what is given in one of four ways: a path, a list of paths, base64, a list of base64.
    pub(crate) fn list(fields: &Fields<'_>, names: [&str; 4], files: &dyn Files) -> Result<Option<Vec<Self>>> {
        let [path, paths, data, datas] = names;
        at_most_one(fields, &names)?;
        if let Some(list) = fields.texts(paths)? {
            return Ok(Some(list.into_iter().map(|file| Self::file(paths, file, files)).collect()));
        }
        if let Some(list) = fields.texts(datas)? {
            return list.into_iter().map(|text| Self::data(datas, text)).collect::<Result<_>>().map(Some);
        }
        Ok(Self::one(fields, [path, data], files)?.map(|one| vec![one]))
    }

    /// Returns what is given in one of two ways: a path, or base64.
    pub(crate) fn one(fields: &Fields<'_>, names: [&str; 2], files: &dyn Files) -> Result<Option<Self>> {
        let [path, data] = names;
        at_most_one(fields, &names)?;
        if let Some(file) = fields.text(path)? {
            ensure!(!file.is_empty(), "{path} of {} is empty", fields.name());
            return Ok(Some(Self::file(path, file, files)));
        }
        fields.text(data)?.map(|text| Self::data(data, text)).transpose()
    }

    /// Parses the bytes.
    pub(crate) fn read<T>(self, parse: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        self.bytes.and_then(|bytes| parse(&bytes)).with_context(|| format!("reading {}", self.place))
    }

    fn file(name: &str, path: &str, files: &dyn Files) -> Self {
        let read = files.read(path).and_then(|bytes| bytes.with_context(|| format!("{path} does not exist")));
        Self { place: format!("{name} {path}"), bytes: read }
    }

    fn data(name: &str, text: &str) -> Result<Self> {
        let bytes = pem::decode_lines(text).with_context(|| format!("decoding {name}"))?;
        Ok(Self { place: name.to_owned(), bytes: Ok(bytes) })
    }
}

fn at_most_one(fields: &Fields<'_>, names: &[&str]) -> Result<()> {
    if names.iter().filter(|name| fields.get(name).is_some()).count() > 1 {
        bail!("{} has more than one of {}", fields.name(), names.join(", "));
    }
    Ok(())
}
