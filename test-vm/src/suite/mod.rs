// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The VM tests. A test is one machine and a few boots of it; every boot that proves something is a line of its own.

mod auto;
mod case;
mod composefs;
mod crash;
mod dracut;
mod first_boot;
mod older;
mod policies;
mod selinux;
mod swap;
mod unswapped;

use anyhow::{Result, ensure};

use crate::images::Images;
use crate::kola;
use case::Case;

const CASES: &[Case] = &[
    Case {
        name: "dracut",
        steps: &["the module works with dracut 059", "the module works with the images' own dracut"],
        run: dracut::module,
    },
    Case {
        name: "swap-xfs-archive",
        steps: &["boots the node image on a first boot", "a plain reboot is the node image's own"],
        run: swap::xfs_archive,
    },
    Case {
        name: "swap-grub",
        steps: &["boots the node image through GRUB", "GRUB follows the new BLS entry"],
        run: swap::grub,
    },
    Case {
        name: "first-boot",
        steps: &["Ignition's stages and CoreOS's units work on the node image's root, and the way back is kept"],
        run: first_boot::with_ignition,
    },
    Case {
        name: "older-bootimage",
        steps: &[
            "a first boot stays on the bootimage, whose programs cannot do the node image's root",
            "boots the node image on a boot without them, with the bootimage's libostree",
            "the same request does nothing on the next boot",
        ],
        run: older::bootimage,
    },
    Case {
        name: "crash-dump",
        steps: &["a crash kernel saves its dump, with a request that would count there"],
        run: crash::dump,
    },
    Case { name: "no-argument", steps: &["the boot of today, nothing written"], run: unswapped::no_argument },
    Case {
        name: "emergency-flipped-byte",
        steps: &["stops in the emergency shell and says why", "without that policy boots the bootimage and says why"],
        run: policies::emergency,
    },
    Case {
        name: "reboot-no-staging",
        steps: &["reboots and says why", "reboots again", "boots the bootimage and says why, three times over"],
        run: policies::reboot,
    },
    Case { name: "not-a-digest", steps: &["boots the bootimage and says why"], run: unswapped::not_a_digest },
    Case {
        name: "auto-registry",
        steps: &[
            "boots the bootimage if its policy wants a signature, and there is none",
            "boots the node image that the Ignition config names, signed, from a registry",
        ],
        run: auto::from_registry,
    },
    Case {
        name: "source-hangs",
        steps: &["boots the bootimage by the deadline and says why"],
        run: policies::source_hangs,
    },
    Case {
        name: "composefs-yes",
        steps: &["boots the node image with a composefs root", "so does a plain reboot"],
        run: composefs::yes,
    },
    Case {
        name: "composefs-maybe",
        steps: &[
            "boots a node image without composefs with a composefs root",
            "a plain reboot is the node image's own",
        ],
        run: composefs::maybe,
    },
    Case {
        name: "selinux-enforcing",
        steps: &[
            "a boot without a request, for what is denied anyway",
            "boots the node image, every file labelled",
            "a plain reboot finds every file labelled",
            "no denial that the boot without a request does not have",
        ],
        run: selinux::enforcing,
    },
];

/// Prints the tests' names.
pub fn list() -> Result<()> {
    for case in CASES {
        println!("{}: {}", case.name, case.steps.join("; "));
    }
    kola::list()
}

/// Runs the tests whose names contain a filter, and returns whether all have passed.
pub fn run(images: &Images<'_>, filters: &[String]) -> Result<bool> {
    let wanted = |case: &&Case| filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter.as_str()));
    let cases: Vec<_> = CASES.iter().filter(wanted).collect();
    let (mut passed, mut failed) = kola::run(images, filters)?;
    let mut ignored = 0;
    ensure!(!cases.is_empty() || passed + failed > 0, "choosing tests: no name contains {}", filters.join(" or "));
    for case in cases {
        let proof = case.prove(images);
        passed += proof.steps;
        failed += usize::from(!proof.ended_well);
        ignored += usize::from(proof.ignored);
    }
    println!("{passed} passed, {failed} failed, {ignored} ignored");
    Ok(failed == 0)
}
