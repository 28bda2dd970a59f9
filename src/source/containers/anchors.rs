// SPDX-License-Identifier: Apache-2.0 OR MIT
//! CAs that the administrator trusts everywhere, and those that are trusted nowhere.
//!
//! `update-ca-trust` merges them into the system's bundle in the real root only, long after us: so we look where it
//! looks.

use anyhow::Result;
use contract::files::Files;

use crate::containers::certificate::{self, Certificate};

/// Where `update-ca-trust` (Fedora, RHEL; the MCO puts openshift-config-user-ca-bundle.crt into the first one) and
/// `update-ca-certificates` (Debian) take CAs from.
const ANCHORS: [&str; 3] =
    ["/etc/pki/ca-trust/source/anchors", "/usr/share/pki/ca-trust-source/anchors", "/usr/local/share/ca-certificates"];
/// Where `update-ca-trust` has CAs that it leaves out, under today's name and that of RHEL 8.
const BLOCKLISTS: [&str; 4] = [
    "/etc/pki/ca-trust/source/blocklist",
    "/usr/share/pki/ca-trust-source/blocklist",
    "/etc/pki/ca-trust/source/blacklist",
    "/usr/share/pki/ca-trust-source/blacklist",
];
/// How a file of p11-kit's own begins. It may say that its certificate is not to be trusted.
const P11_KIT: &[u8] = b"[p11-kit-object-v1]";

/// Returns the CAs that the administrator has added, in PEM.
pub(super) fn load(files: &dyn Files) -> Result<Vec<Vec<u8>>> {
    let mut blocked = Vec::new();
    read_all(files, &BLOCKLISTS, |_, certificate| blocked.push(certificate))?;
    let mut found = Vec::new();
    read_all(files, &ANCHORS, |path, certificate| {
        if blocked.iter().any(|other| certificate.is_like(other)) {
            log::info!("a certificate of {path} does not count: it is on the blocklist");
        } else if certificate.for_servers {
            found.push(certificate.to_pem());
        } else {
            log::info!("a certificate of {path} does not count: it is not trusted for servers");
        }
    })?;
    Ok(found)
}

/// Reads the certificates of all files in directories. One odd file must not keep the others from being trusted.
fn read_all(files: &dyn Files, directories: &[&str], mut take: impl FnMut(&str, Certificate)) -> Result<()> {
    for directory in directories {
        for name in files.list(directory)?.unwrap_or_default() {
            let path = format!("{directory}/{name}");
            match files.read(&path) {
                Ok(Some(bytes)) if bytes.trim_ascii_start().starts_with(P11_KIT) => {
                    log::warn!("{path} does not count: it is in the format of p11-kit");
                }
                Ok(Some(bytes)) => {
                    let found = certificate::of_file(&bytes);
                    good_ones(found, &path).for_each(|certificate| take(&path, certificate));
                }
                Ok(None) => log::warn!("{path} is a link that leads nowhere: it does not count"),
                Err(error) => log::warn!("{path} does not count: {error:#}"),
            }
        }
    }
    Ok(())
}

/// Returns the certificates of a file that can be parsed; the others go to the log.
pub(super) fn good_ones(found: Vec<Result<Certificate>>, path: &str) -> impl Iterator<Item = Certificate> {
    if found.is_empty() {
        log::warn!("{path} does not count: it has no certificate in a form that is known");
    }
    found.into_iter().enumerate().filter_map(move |(at, found)| {
        let complain = |error| log::warn!("certificate {} of {path} does not count: {error:#}", at + 1);
        found.map_err(complain).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::fixtures::{ONE, TWO, root};

    const ETC: &str = "/etc/pki/ca-trust/source";

    #[test]
    fn anchors_are_all_read_but_odd_files_are_not() {
        let broken = ONE.replace("MII", "MMM");
        let p11_kit = format!("[p11-kit-object-v1]\nx-distrusted: true\n{TWO}");
        for (label, anchors, blocklist, expected) in [
            ("none", &[][..], &[][..], &[][..]),
            ("two files", &[("a", ONE), ("b", TWO)], &[], &[ONE, TWO]),
            ("a comment", &[("openshift-config-user-ca-bundle.crt", &format!("# One\n{ONE}"))], &[], &[ONE]),
            ("one file", &[("a", &format!("{ONE}{TWO}"))], &[], &[ONE, TWO]),
            ("a broken one before it", &[("a", &broken), ("b", TWO)], &[], &[TWO]),
            ("a broken one in the same file", &[("a", &format!("{broken}{TWO}"))], &[], &[TWO]),
            ("a directory", &[("directory/x", ONE), ("b", TWO)], &[], &[TWO]),
            ("text", &[("README", "words"), ("b", TWO)], &[], &[TWO]),
            ("p11-kit's own format", &[("a.p11-kit", &p11_kit), ("b", ONE)], &[], &[ONE]),
            ("on the blocklist", &[("a", ONE), ("b", TWO)], &[("x", ONE)], &[TWO]),
            ("a broken blocklist", &[("a", ONE)], &[("x", &broken)], &[ONE]),
        ] {
            let place = |(name, text): &(&str, &str), of| (format!("{ETC}/{of}/{name}"), (*text).to_owned());
            let anchors = anchors.iter().map(|file| place(file, "anchors"));
            let paths: Vec<_> = anchors.chain(blocklist.iter().map(|file| place(file, "blocklist"))).collect();
            let paths: Vec<_> = paths.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            let (_dir, files) = root(&paths);
            let got: Vec<_> =
                load(files.as_ref()).unwrap().into_iter().map(|pem| String::from_utf8(pem).unwrap()).collect();
            assert_eq!(got, expected, "{label}");
        }
    }

    #[test]
    fn every_directory_counts() {
        let (dir, files) = root(&[
            ("/usr/share/pki/ca-trust-source/anchors/vendor.pem", ONE),
            ("/usr/local/share/ca-certificates/debian.crt", TWO),
            ("/etc/pki/ca-trust/source/anchors/readable.pem", ONE),
        ]);
        std::os::unix::fs::symlink("nowhere", dir.path().join("etc/pki/ca-trust/source/anchors/link.pem")).unwrap();
        assert_eq!(load(files.as_ref()).unwrap(), [ONE.as_bytes(), ONE.as_bytes(), TWO.as_bytes()]);
    }
}
