// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The keys of a request. The table in `docs/usage.md` is generated from [`KEYS`].
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `src/contract/request/mod.rs`.

use std::fmt;

use anyhow::{Result, bail};

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The node image.
    Image,
    /// Where its bytes are.
    Source,
    /// What to do about another kernel.
    Kernel,
    /// How far apart bootimage and node image may be.
    Skew,
    /// What to do when the MCO would reboot anyway.
    McoReboot,
    /// On which boots the request counts.
    When,
    /// What to do on a failure.
    OnFailure,
    /// Time for the whole of our work.
    Deadline,
    /// Say more.
    Debug,
}

/// Every key with its name, its values (the first is the default) and its meaning.
pub const KEYS: [(Key, &str, &str, &str); 9] = [
    (
        Key::Image,
        "image",
        "`none`; `auto`; `registry/repo@sha256:…`",
        "The node image, by digest. This text becomes the origin of the deployment. `auto`: the `osImageURL` of the \
         MachineConfig in the Ignition config.",
    ),
    (
        Key::Source,
        "source",
        "`registry`; `oci:[DEV:]/dir`; `oci-archive:[DEV:]/file`; `https://host/dir`; `http://host/dir`",
        "Where the image's bytes are: its registry or a mirror; or an OCI layout. May be given several times; \
         sources are tried in order. `DEV` is `LABEL=x`, `UUID=x`, `PARTLABEL=x`, `PARTUUID=x` or a path below `/dev`; it is mounted read-only.",
    ),
    (
        Key::Kernel,
        "kernel",
        "`keep`; `same`",
        "When the running kernel is not the node image's: keep it together with its modules; or do not swap.",
    ),
    (
        Key::Skew,
        "skew",
        "`major`; `minor`; `any`; `N.M..`",
        "How far the bootimage's version may be from the node image's: the same major, or the same minor version; or as far as it \
         is; or a bootimage of version N.M or later. Beyond that nothing is done.",
    ),
    (
        Key::McoReboot,
        "mco-reboot",
        "`skip`; `pull`",
        "When OpenShift's MCO would reboot the node anyway: leave the image to it; or boot the node image \
         nevertheless.",
    ),
    (
        Key::When,
        "when",
        "`first-boot`; `once`",
        "On which boots the request counts: on a first boot (`ignition.firstboot`); or, without Ignition, on the next boot and on \
         no later one, which the file `/ostree/slipstream-once` on the disk keeps.",
    ),
    (
        Key::OnFailure,
        "on-failure",
        "`continue`; `emergency`; `reboot`",
        "When we fail: boot the bootimage as if we were not there; or stop in the emergency shell; or reboot and try again, and \
         after the third try boot the bootimage.",
    ),
    (Key::Deadline, "deadline", "`10min`; a time span", "Time for the whole of our work; then it has failed."),
    (Key::Debug, "debug", "`no`; `yes`", "Say more in the journal. The bare argument means `yes`."),
];

impl Key {
    /// Find a key by its name.
    pub(super) fn parse(name: &str) -> Result<Self> {
        match KEYS.iter().find(|(_, known, ..)| *known == name) {
            Some((key, ..)) => Ok(*key),
            None => bail!("unknown key {name:?}; the keys are: {}", KEYS.map(|(_, name, ..)| name).join(", ")),
        }
    }

    /// The name of the key.
    pub fn name(self) -> &'static str {
        KEYS.iter().find(|(key, ..)| *key == self).map_or("", |(_, name, ..)| name)
    }

    /// Whether the key may be given several times.
    pub fn repeatable(self) -> bool {
        self == Self::Source
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
