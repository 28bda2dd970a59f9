// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opens the source that a request names.
//!
//! Tested by `src/slipstream/tests/boot/endings.rs`, `src/slipstream/tests/http/web.rs`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use contract::names::{Device, SourceSpec};

use crate::blobs::Source;
use crate::device::{MountPoint, mount_device};
use crate::http::EndpointLog;
use crate::staged::Staged;
use crate::surroundings::Surroundings;
use crate::{archive, layout, registry, web};

/// A staging device holds data only.
const STAGING_OPTIONS: &str = "ro,nosuid,nodev,noexec";

/// An open source; the mount it may stand on goes with it.
#[derive(Debug)]
pub struct OpenSource {
    // Dropped first: it holds files of the mount.
    pub(crate) source: Box<dyn Source>,
    _mount: Option<MountPoint>,
}

impl OpenSource {
    /// Returns what has happened at each endpoint. It continues to be written.
    pub fn log(&self) -> EndpointLog {
        self.source.log()
    }
}

/// Opens the source that `spec` names.
pub fn open(spec: &SourceSpec, around: &Surroundings<'_>) -> Result<OpenSource> {
    let mut mount = None;
    let staged = |source| -> Box<dyn Source> { Box::new(Staged::new(source, spec.to_string(), around)) };
    let source: Box<dyn Source> = match spec {
        SourceSpec::Registry => Box::new(registry::open(around)?),
        SourceSpec::Layout { device, path } => {
            let path = place(device.as_ref(), path, around, &mut mount)?;
            staged(Box::new(layout::Layout::open(&path)?))
        }
        SourceSpec::Archive { device, path } => {
            let path = place(device.as_ref(), path, around, &mut mount)?;
            staged(Box::new(archive::Archive::open(&path)?))
        }
        SourceSpec::Web(url) => staged(Box::new(web::open(url, around)?)),
    };
    Ok(OpenSource { source, _mount: mount })
}

/// Returns where a path is, when the device that it may be on is mounted.
fn place(
    device: Option<&Device>,
    path: &Path,
    around: &Surroundings<'_>,
    mount: &mut Option<MountPoint>,
) -> Result<PathBuf> {
    let Some(device) = device else { return Ok(path.to_owned()) };
    let mounted = mount_device(device, &around.run_dir.join("source"), STAGING_OPTIONS, around.deadline)?;
    mount.insert(mounted).resolve(path)
}
