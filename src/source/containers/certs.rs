// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Certificates: those for one registry (containers-certs.d(5)), and CAs that the administrator trusts everywhere.
//!
//! `update-ca-trust` merges CAs into the system's bundle in the real root only, long after us: so we look where it
//! looks.

use anyhow::{Context, Result, bail, ensure};
use contract::files::Files;

use crate::containers::search_paths;
use crate::http::Secret;

/// Docker's directory, which counts least.
const DOCKER: &str = "/etc/docker/certs.d";
/// Where `update-ca-trust` (Fedora, RHEL; the MCO puts openshift-config-user-ca-bundle.crt into the first one) and
/// `update-ca-certificates` (Debian) take CAs from.
const ANCHORS: [&str; 3] =
    ["/etc/pki/ca-trust/source/anchors", "/usr/share/pki/ca-trust-source/anchors", "/usr/local/share/ca-certificates"];
/// What a CA in PEM starts with.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Certificates for a registry, all in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certs {
    /// CAs that are trusted besides those of the system.
    pub ca: Vec<Vec<u8>>,
    /// Our certificate and its key.
    pub client: Option<(Secret, Secret)>,
}

/// The certificates for `host[:port]`.
pub(super) fn of_host(files: &dyn Files, host: &str) -> Result<Certs> {
    ensure!(!host.contains('/') && !matches!(host, "" | "." | ".."), "{host:?} is no host");
    for parent in search_paths::directories("certs", "").into_iter().chain([DOCKER.to_owned()]) {
        let directory = format!("{parent}/{host}");
        // The first that is there counts, an empty one too.
        if let Some(names) = files.list(&directory)? {
            return read_directory(files, &directory, &names).with_context(|| format!("reading {directory}"));
        }
    }
    Ok(Certs::default())
}

fn read_directory(files: &dyn Files, directory: &str, names: &[String]) -> Result<Certs> {
    let read = |name: &str| files.read(&format!("{directory}/{name}"))?.with_context(|| format!("{name} is not there"));
    let secret = |name: &str| -> Result<Secret> {
        let text = String::from_utf8(read(name)?).ok().with_context(|| format!("{name} is not in PEM"))?;
        Ok(Secret::new(text))
    };
    let has = |name: &str| names.iter().any(|other| other == name);
    let mut certs = Certs::default();
    for name in names {
        if name.ends_with(".crt") {
            certs.ca.push(read(name)?);
        } else if let Some(stem) = name.strip_suffix(".cert") {
            let key = format!("{stem}.key");
            ensure!(has(&key), "client certificate {name} has no key {key}; the name of a CA ends with .crt");
            if certs.client.is_some() {
                log::warn!("{directory} has several client certificates: {name} is not used");
                continue;
            }
            certs.client = Some((secret(name)?, secret(&key)?));
        } else if let Some(stem) = name.strip_suffix(".key")
            && !has(&format!("{stem}.cert"))
        {
            bail!("key {name} has no client certificate {stem}.cert");
        }
    }
    Ok(certs)
}

/// The CAs that the administrator has added, in PEM.
pub(super) fn anchors(files: &dyn Files) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for directory in ANCHORS {
        for name in files.list(directory)?.unwrap_or_default() {
            let path = format!("{directory}/{name}");
            // A directory, a link to nowhere, DER: one odd file must not keep the others from being trusted.
            match files.read(&path) {
                Ok(Some(bytes)) if bytes.windows(PEM.len()).any(|window| window == PEM) => found.push(bytes),
                Ok(_) => log::debug!("{path} has no certificate in PEM"),
                Err(error) => log::warn!("{error:#}"),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::fixtures::root;

    #[test]
    fn certificates_of_hosts() {
        let (dir, files) = root(&[
            ("/etc/docker/certs.d/empty.example/a.crt", "not read"),
            ("/etc/containers/certs.d/one.example/ca.crt", "one"),
            ("/etc/docker/certs.d/one.example/other.crt", "not read"),
            ("/etc/docker/certs.d/two.example:5000/a.crt", "a"),
            ("/etc/docker/certs.d/two.example:5000/b.crt", "b"),
            ("/etc/docker/certs.d/two.example:5000/client.cert", "certificate"),
            ("/etc/docker/certs.d/two.example:5000/client.key", "hush"),
            ("/etc/docker/certs.d/two.example:5000/more.cert", "more"),
            ("/etc/docker/certs.d/two.example:5000/more.key", "more"),
            ("/etc/docker/certs.d/two.example:5000/README", "ignored"),
            ("/etc/containers/certs.rootful.d/root.example/a.crt", "of root"),
            ("/etc/containers/certs.d/root.example/a.crt", "not read"),
            ("/usr/share/containers/certs.d/vendor.example/a.crt", "of the vendor"),
            ("/etc/docker/certs.d/vendor.example/a.crt", "not read"),
            ("/etc/docker/certs.d/nokey/client.cert", "c"),
            ("/etc/docker/certs.d/nocert/client.key", "k"),
        ]);
        std::fs::create_dir(dir.path().join("etc/containers/certs.d/empty.example")).unwrap();
        for (label, host, expected) in [
            ("first directory wins", "one.example", Ok((&["one"][..], None))),
            ("root's directory", "root.example", Ok((&["of root"], None))),
            ("the vendor's directory", "vendor.example", Ok((&["of the vendor"], None))),
            ("an empty directory", "empty.example", Ok((&[], None))),
            ("client", "two.example:5000", Ok((&["a", "b"], Some(("certificate", "hush"))))),
            ("another port", "two.example", Ok((&[], None))),
            ("no key", "nokey", Err("client certificate client.cert has no key client.key")),
            ("no certificate", "nocert", Err("key client.key has no client certificate client.cert")),
            ("up", "..", Err("\"..\" is no host")),
            ("path", "../../tmp", Err("is no host")),
        ] {
            match (of_host(files.as_ref(), host), expected) {
                (Ok(got), Ok((ca, client))) => {
                    assert_eq!(got.ca, ca.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>(), "{label}");
                    assert_eq!(got.client, client.map(|(c, k)| (Secret::new(c), Secret::new(k))), "{label}");
                    assert!(!format!("{got:?}").contains("hush"), "{label}");
                }
                (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn anchors_are_all_read_but_odd_files_are_not() {
        let pem = "# a comment\n-----BEGIN CERTIFICATE-----\n";
        let (_dir, files) = root(&[
            ("/etc/pki/ca-trust/source/anchors/openshift-config-user-ca-bundle.crt", pem),
            ("/etc/pki/ca-trust/source/anchors/der.crt", "0\u{82}"),
            ("/etc/pki/ca-trust/source/anchors/directory/x", pem),
            ("/usr/local/share/ca-certificates/debian.crt", pem),
        ]);
        assert_eq!(anchors(files.as_ref()).unwrap(), [pem.as_bytes(), pem.as_bytes()]);
    }
}
