// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel arguments as the MCO compares them: those of the boot loader entry that the MachineConfig names, in the order
//! of the entry, must be the MachineConfig's list, item by item and byte by byte, quotes included.

/// Kernel arguments that may wait for the next boot, and why nothing is lost until then.
pub const HARMLESS: [(&str, &str); 5] = [
    (
        "systemd.unified_cgroup_hierarchy=1",
        "cgroup v2 is what systemd uses anyway since RHEL 9; the MCO names it in every pool",
    ),
    (
        r#"cgroup_no_v1="all""#,
        "nothing mounts a v1 hierarchy when systemd uses cgroup v2; the MCO names it in every pool",
    ),
    ("cgroup_no_v1=all", "nothing mounts a v1 hierarchy when systemd uses cgroup v2"),
    ("psi=0", "the kernel keeps statistics that nobody asked for; the MCO up to 4.20 names it in every pool"),
    ("psi=1", "the statistics in /proc/pressure are missing; nothing that runs depends on them"),
];

/// Why an argument may wait for the next boot; `None` if it may not.
pub fn why_harmless(karg: &str) -> Option<&'static str> {
    HARMLESS.iter().find(|(harmless, _)| *harmless == karg).map(|(_, why)| *why)
}

/// Whether an item of the MachineConfig is one argument, as the MCO's split gives it. `hugepagesz=1G hugepages=4` in
/// one item is two in the boot loader entry, so the MCO never finds it there, and reboots.
pub(super) fn is_one(item: &str) -> bool {
    let mut quoted = false;
    let whole = item.bytes().all(|byte| {
        quoted ^= byte == b'"';
        quoted || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
    });
    whole && !quoted && !item.is_empty()
}

/// An entry in which the MCO finds what it wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arranged {
    /// All arguments of the entry.
    pub(super) kargs: Vec<String>,
    /// Those that were not there.
    pub(super) added: Vec<String>,
}

impl Arranged {
    fn add(&mut self, karg: &str) {
        self.kargs.push(karg.to_owned());
        self.added.push(karg.to_owned());
    }
}

/// Put what is missing of `wanted` into `entry`, each before the one that it comes before. `None`: those that are there
/// are there in another order, or too often, and nothing that is added could change that.
pub(super) fn arrange(entry: &[String], wanted: &[String]) -> Option<Arranged> {
    let mut arranged = Arranged { kargs: Vec::new(), added: Vec::new() };
    let mut rest = wanted.iter();
    for karg in entry {
        if wanted.contains(karg) {
            loop {
                let next = rest.next()?;
                if next == karg {
                    break;
                }
                arranged.add(next);
            }
        }
        arranged.kargs.push(karg.clone());
    }
    rest.for_each(|karg| arranged.add(karg));
    Some(arranged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::kargs;

    fn list(text: &str) -> Vec<String> {
        kargs::split(text).map(str::to_owned).collect()
    }

    #[test]
    fn arrange_table() {
        for (label, entry, wanted, expected) in [
            ("nothing wanted", "rw quiet", "", Some(("rw quiet", ""))),
            ("all there", "rw a quiet b", "a b", Some(("rw a quiet b", ""))),
            ("at the end", "rw a", "a b c", Some(("rw a b c", "b c"))),
            ("in between", "rw a c quiet", "a b c", Some(("rw a b c quiet", "b"))),
            ("before", "rw b", "a b", Some(("rw a b", "a"))),
            ("other order", "rw b a", "a b", None),
            ("too often in the entry", "a rw a", "a", None),
            ("twice in both", "a rw a", "a a", Some(("a rw a", ""))),
            ("twice wanted", "a rw", "a a", Some(("a rw a", "a"))),
            ("quotes count", r#"x=a rw"#, r#"x="a""#, Some((r#"x=a rw x="a""#, r#"x="a""#))),
        ] {
            let expected = expected.map(|(kargs, added)| Arranged { kargs: list(kargs), added: list(added) });
            let arranged = arrange(&list(entry), &list(wanted));
            assert_eq!(arranged, expected, "{label}");
            // What the MCO will find in the new entry.
            if let Some(arranged) = arranged {
                let found: Vec<_> = arranged.kargs.into_iter().filter(|karg| list(wanted).contains(karg)).collect();
                assert_eq!(found, list(wanted), "{label}: the comparison of the MCO");
            }
        }
    }

    #[test]
    fn one_argument() {
        for (item, expected) in [
            ("a", true),
            (r#"a="b c""#, true),
            ("a b", false),
            (" a", false),
            ("a\u{b}b", false),
            ("", false),
            (r#"a="b"#, false),
            ("é\u{a0}", true),
        ] {
            assert_eq!(is_one(item), expected, "{item:?}");
        }
    }
}
