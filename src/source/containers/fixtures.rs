// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the tests of this room share.

use std::sync::Arc;

use contract::files::{Files, RootFiles};
use contract::names::ImageReference;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Two CAs, of the years 2026 to 2126.
pub(crate) const ONE: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBczCCARmgAwIBAgIULL371eAj42C0E8srUp9bKQuPe5MwCgYIKoZIzj0EAwIw\n\
    DjEMMAoGA1UEAwwDT25lMCAXDTI2MTEyNzIxMjMwMVoYDzIxMjYxMTAzMjEyMzAx\n\
    WjAOMQwwCgYDVQQDDANPbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARFFoO4\n\
    il/pZl7cYwaZ/Twl+NzIDfiL80vNVrkZLyh0EII0L4pg6zv6XB6jt12XUmeBjF9y\n\
    449ULskl2aSoUXMBo1MwUTAdBgNVHQ4EFgQUC23INU9WphR9jbdi7eMS/BJhn14w\n\
    HwYDVR0jBBgwFoAUC23INU9WphR9jbdi7eMS/BJhn14wDwYDVR0TAQH/BAUwAwEB\n\
    /zAKBggqhkjOPQQDAgNIADBFAiEAwlCUpM/J1qmbiJDYK5KbBUuwsnm/1El83yXv\n\
    FnHNlPQCIA5GOBPDdYY7IIH/zzYfpWhiwdXa+epRvMWsPeCwmN4o\n\
    -----END CERTIFICATE-----\n";
pub(crate) const TWO: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBczCCARmgAwIBAgIUCGH0pfGaaJm8FZwQ9e5JlNObUTAwCgYIKoZIzj0EAwIw\n\
    DjEMMAoGA1UEAwwDVHdvMCAXDTI2MTEyNzIxMjMwMVoYDzIxMjYxMTAzMjEyMzAx\n\
    WjAOMQwwCgYDVQQDDANUd28wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATkW/De\n\
    ePn97lgccgqeDBOpuKsRC7k84UQF11JphHMmFXqN7Taw10mLu24p37o0NI1H7zUd\n\
    yJITlMD+ULeJFRFXo1MwUTAdBgNVHQ4EFgQUwaRoFG6qhAyJANd+w+J2Ve3V+VUw\n\
    HwYDVR0jBBgwFoAUwaRoFG6qhAyJANd+w+J2Ve3V+VUwDwYDVR0TAQH/BAUwAwEB\n\
    /zAKBggqhkjOPQQDAgNIADBFAiAsnf5CvHWOowfM7UcKQVSDrkoMevlK4/EZZuNe\n\
    /hmyvgIhAN8tf5Y6d1Ui0cAFpABN9tx/Bdgka2U6YDzJ3ip9hDxr\n\
    -----END CERTIFICATE-----\n";

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
