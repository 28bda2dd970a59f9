// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tools, and the bases that images are built on: each is made when the first case wants it.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Error, Result};
use testkit::layout::Layout;

use crate::corpus::base::Base;
use crate::tools::{self, INSIDE, Tools};

/// The repository that both start from. It is not synced: no power fails here.
const EMPTY: &str = r#"
ostree init --repo="$1" --mode=bare
ostree config --repo="$1" set core.fsync false
"#;

/// Tools and bases.
pub struct Lab {
    pub tools: Tools,
    bases: [(Base, OnceLock<Result<(), String>>); 5],
}

impl Lab {
    /// Prepares the tools.
    pub fn make() -> Result<Self> {
        let tools = tools::from_env(Path::new(env!("CARGO_BIN_EXE_slipstream")))?;
        tools.shell(EMPTY, &[&format!("{INSIDE}/empty")]).context("creating an empty repository")?;
        let bases = [Base::Composefs, Base::Plain, Base::Transient, Base::Selinux, Base::Hostname];
        Ok(Self { tools, bases: bases.map(|base| (base, OnceLock::new())) })
    }

    /// Returns a base.
    pub fn base(&self, wanted: Base) -> Result<Layout> {
        let (base, made) = self.bases.iter().find(|(base, _)| *base == wanted).context("finding a base")?;
        let made = made.get_or_init(|| base.build(&self.tools).map_err(|error| format!("{error:#}")));
        made.as_ref().map_err(|error| Error::msg(error.clone()))?;
        Ok(base.layout(&self.tools))
    }
}
