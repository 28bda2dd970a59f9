// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the tests of this room share.

use std::sync::Arc;

use contract::files::{Files, RootFiles};
use contract::names::ImageReference;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A root with these files.
pub(crate) fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Arc<dyn Files>) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let files = Arc::new(RootFiles::new(dir.path()));
    (dir, files)
}

/// The pullspec of a repository.
pub(crate) fn image(name: &str) -> ImageReference {
    ImageReference::parse(&format!("{name}@{DIGEST}")).unwrap()
}
