// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A staged image, whose signatures may be in its registry only.
//!
//! A layout has the signatures of its images if somebody copied them too. If not, the registry that the image is named
//! after is asked, and for nothing else. There may be no network at all, or one where packets vanish: an administrator
//! who stages an image often does so because of that. So the registry has little time, and its failure is not one of the
//! source: the image has no signature then.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use contract::names::{Digest, ImageReference};
use image::oci::AttachedSignature;

use crate::blobs::Source;
use crate::containers::HostConfig;
use crate::http::{EndpointLog, Limits, RetryPolicy};
use crate::registry;
use crate::surroundings::Surroundings;

/// Time that the registry has in all. Name, TLS, token, manifest and payload take a second or two; a lost packet costs one
/// to three more. That long a boot waits for a network that loses them all.
const REGISTRY_TIME: Duration = Duration::from_secs(15);
/// Most time for a connection: a mirror that does not answer must leave some for the next endpoint.
const CONNECT: Duration = Duration::from_secs(3);
/// Most time without progress, for the same reason.
const STALL: Duration = Duration::from_secs(5);
/// Most tries. Without a route or a name server each one fails at once, and all of them take about a second.
const TRIES: u32 = 3;

/// A source on a disk or a web server, and what is needed to ask the registry of its image.
#[derive(Debug)]
pub(crate) struct Staged {
    source: Box<dyn Source>,
    /// The name of the source.
    name: String,
    log: EndpointLog,
    image: ImageReference,
    run_dir: PathBuf,
    config: HostConfig,
    limits: Limits,
    deadline: Instant,
    /// What is left of the registry's time.
    left: Mutex<Duration>,
}

impl Staged {
    /// Wraps a source that has this name. Nothing is asked, and no configuration read.
    pub(crate) fn new(source: Box<dyn Source>, name: String, around: &Surroundings<'_>) -> Self {
        let retry = RetryPolicy { tries: around.limits.retry.tries.min(TRIES), ..around.limits.retry };
        let limits = Limits {
            connect: around.limits.connect.min(CONNECT),
            low_speed_time: around.limits.low_speed_time.min(STALL),
            retry,
            ..around.limits
        };
        Self {
            log: source.log(),
            source,
            name,
            image: around.image.clone(),
            run_dir: around.run_dir.to_owned(),
            config: around.config.clone(),
            limits,
            deadline: around.deadline,
            left: Mutex::new(REGISTRY_TIME),
        }
    }

    /// Returns the signatures that the registry has; none, if it cannot be asked.
    fn ask_registry(&self, digest: Digest) -> Vec<AttachedSignature> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let found = self.registry_signatures(digest, self.deadline.min(started + *left));
        *left = left.saturating_sub(started.elapsed());
        found.unwrap_or_else(|error| {
            log::warn!("looking for signatures of {} in its registry: {error:#}", self.image);
            Vec::new()
        })
    }

    fn registry_signatures(&self, digest: Digest, deadline: Instant) -> Result<Vec<AttachedSignature>> {
        let (image, run_dir, config, limits) = (&self.image, self.run_dir.as_path(), &self.config, self.limits);
        let registry = registry::open(&Surroundings { image, run_dir, config, limits, deadline })?;
        let found = registry.signatures(digest);
        self.log.append(&registry.log());
        found
    }
}

impl Source for Staged {
    fn open_blob(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.source.open_blob(digest, size)
    }

    fn open_manifest(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.source.open_manifest(digest, size)
    }

    fn signatures(&self, digest: Digest) -> Result<Vec<AttachedSignature>> {
        let mut found = self.source.signatures(digest)?;
        if found.is_empty() {
            return Ok(self.ask_registry(digest));
        }
        found.iter_mut().for_each(|signature| signature.endpoint.clone_from(&self.name));
        Ok(found)
    }

    fn blame(&self, digest: Digest, why: &str) -> bool {
        self.source.blame(digest, why)
    }

    fn log(&self) -> EndpointLog {
        self.log.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::Path;
    use std::sync::Arc;

    use anyhow::bail;
    use contract::files::RootFiles;

    use super::*;

    /// A layout without anything in it.
    #[derive(Debug)]
    struct Empty;

    impl Source for Empty {
        fn open_blob(&self, digest: Digest, _: Option<u64>) -> Result<Box<dyn Read + Send>> {
            bail!("there is no {digest}")
        }
    }

    #[test]
    fn waits_once_for_a_registry_that_is_silent() {
        // It takes connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let digest = Digest::of(b"image");
        let image = format!("{}/os/node@{digest}", silent.local_addr().unwrap());
        let image = ImageReference::parse(&image).unwrap();
        let root = tempfile::tempdir().unwrap();
        let around = Surroundings {
            image: &image,
            run_dir: Path::new("/nonexistent"),
            config: &HostConfig::new(Arc::new(RootFiles::new(root.path()))),
            limits: Limits::default(),
            deadline: Instant::now() + Duration::from_secs(3600),
        };
        let mut staged = Staged::new(Box::new(Empty), "oci:/srv/node".to_owned(), &around);
        assert!(staged.limits.connect < REGISTRY_TIME, "a second endpoint would not be asked");
        assert_eq!(*staged.left.get_mut().unwrap(), REGISTRY_TIME);
        staged.left = Mutex::new(Duration::from_millis(300));
        for (label, least, most) in [("first", 250, 2000), ("second", 0, 240)] {
            let started = Instant::now();
            assert_eq!(staged.signatures(digest).unwrap(), [], "{label}");
            let took = started.elapsed().as_millis();
            assert!((least..most).contains(&took), "the {label} lookup took {took} ms");
        }
        let log = staged.log().entries();
        let [(name, Some(error))] = log.as_slice() else { panic!("{log:?}") };
        assert_eq!(*name, image.name());
        assert!(error.contains("the deadline is over"), "{error}");
    }
}
