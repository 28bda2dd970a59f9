// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A pull, and how it has to end.

use anyhow::{Result, ensure};

use crate::daemons::Daemons;
use crate::tokens::BASIC;

/// The texts that nothing may print: passwords as they are and as they are sent.
pub const SECRETS: [&str; 5] = ["open sesame", BASIC, "drawbridge", "dGhyb3VnaDpkcmF3YnJpZGdl", "PRIVATE KEY"];

/// How it has to end.
pub enum Expected {
    /// With the same commit as from the layout.
    Image,
    /// With an error in which all of this stands.
    Error(&'static [&'static str]),
    /// Nothing is pulled; the image has its signature at this place.
    Signature(&'static str),
}

/// A pull.
pub struct Case {
    /// Its name as a test.
    pub name: &'static str,
    pub source: &'static str,
    /// `registry/repo`.
    pub image: &'static str,
    /// Absolute paths and their text.
    pub files: Vec<(String, Text)>,
    pub expected: Expected,
    /// Ask through the library, which can be told not to wait for a minute.
    pub impatient: bool,
    /// skopeo has to come to the same with the same files, but for the policy.
    pub judged: bool,
    /// Checks one thing more.
    pub after: fn(&Daemons) -> Result<()>,
}

pub const CA: &str = "/etc/pki/ca-trust/source/anchors/openshift-config-user-ca-bundle.crt";
pub const REGISTRIES: &str = "/etc/containers/registries.conf";
pub const POLICY: &str = "/etc/containers/policy.json";
pub const PULL_SECRET: &str = "/var/lib/kubelet/config.json";
pub const PROXY: &str = "/etc/mco/proxy.env";

/// Returns a pull from a registry.
pub fn case(name: &'static str, image: &'static str, files: &[&File], expected: Expected) -> Case {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.clone())).collect();
    Case { name, source: "registry", image, files, expected, impatient: false, judged: false, after: |_| Ok(()) }
}

/// An absolute path and its text.
pub type File = (&'static str, Text);

/// What a file is.
#[derive(Clone, Debug)]
pub enum Text {
    /// This.
    Plain(String),
    /// A certificate of the private CA's.
    Certificate(&'static str),
    /// The key of one.
    Key(&'static str),
    /// None: it is a link to there.
    Link(&'static str),
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

/// The registry has not heard of us.
pub fn nothing_was_asked(daemons: &Daemons) -> Result<()> {
    let log = daemons.open.log()?;
    ensure!(!log.contains("GET "), "the registry was asked: {log}");
    Ok(())
}
