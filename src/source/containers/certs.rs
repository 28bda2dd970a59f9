// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Certificates for one registry (containers-certs.d(5)): CAs that are trusted for it, and ours.

use anyhow::{Context, Result, ensure};
use contract::files::Files;

use crate::containers::anchors::good_ones;
use crate::containers::{certificate, search_paths};
use crate::http::Secret;

/// Docker's directory, which counts least.
const DOCKER: &str = "/etc/docker/certs.d";
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
    let mut certs = Certs::default();
    for name in names {
        let path = format!("{directory}/{name}");
        if name.ends_with(".crt") {
            match files.read(&path)? {
                Some(bytes) => {
                    let found = certificate::of_pem(&bytes);
                    certs.ca.extend(good_ones(found, &path).map(|certificate| certificate.to_pem()));
                }
                // Packages leave such links behind. If this was the CA, the server's certificate will be refused.
                None => log::warn!("{path} is a link that leads nowhere: it does not count"),
            }
        } else if let Some(stem) = name.strip_suffix(".cert") {
            let key = format!("{stem}.key");
            ensure!(
                names.contains(&key),
                "client certificate {name} has no key {key}; the name of a CA ends with .crt"
            );
            let client = (secret(files, &path)?, secret(files, &format!("{directory}/{key}"))?);
            if certs.client.is_some() {
                log::warn!("{directory} has several client certificates: {name} is not offered");
            }
            // libcurl offers one. Go would choose one that the server likes.
            certs.client.get_or_insert(client);
        } else if let Some(stem) = name.strip_suffix(".key") {
            let certificate = format!("{stem}.cert");
            ensure!(names.contains(&certificate), "key {name} has no client certificate {certificate}");
        }
    }
    Ok(certs)
}

fn secret(files: &dyn Files, path: &str) -> Result<Secret> {
    let bytes = files.read(path)?.with_context(|| format!("{path} is not there"))?;
    Ok(Secret::new(String::from_utf8(bytes).ok().with_context(|| format!("{path} is not in PEM"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::fixtures::{ONE, TWO, root};

    #[test]
    fn certificates_of_hosts() {
        let broken = ONE.replace("MII", "MMM");
        let (dir, files) = root(&[
            ("/etc/docker/certs.d/empty.example/a.crt", "not read"),
            ("/etc/containers/certs.d/one.example/ca.crt", ONE),
            ("/etc/docker/certs.d/one.example/other.crt", "not read"),
            ("/etc/docker/certs.d/two.example:5000/a.crt", ONE),
            ("/etc/docker/certs.d/two.example:5000/b.crt", &format!("{ONE}{broken}{TWO}")),
            ("/etc/docker/certs.d/two.example:5000/client.cert", "certificate"),
            ("/etc/docker/certs.d/two.example:5000/client.key", "hush"),
            ("/etc/docker/certs.d/two.example:5000/more.cert", "more"),
            ("/etc/docker/certs.d/two.example:5000/more.key", "more"),
            ("/etc/docker/certs.d/two.example:5000/README", "ignored"),
            ("/etc/containers/certs.rootful.d/root.example/a.crt", ONE),
            ("/etc/containers/certs.d/root.example/a.crt", "not read"),
            ("/usr/share/containers/certs.d/vendor.example/a.crt", TWO),
            ("/etc/docker/certs.d/vendor.example/a.crt", "not read"),
            ("/etc/docker/certs.d/odd.example/a.crt", "words"),
            ("/etc/docker/certs.d/odd.example/b.crt", &broken),
            ("/etc/docker/certs.d/odd.example/c.crt", ONE),
            ("/etc/docker/certs.d/gone.example/client.cert", "c"),
            ("/etc/docker/certs.d/nokey/client.cert", "c"),
            ("/etc/docker/certs.d/nocert/client.key", "k"),
        ]);
        std::fs::create_dir(dir.path().join("etc/containers/certs.d/empty.example")).unwrap();
        let link = |path: &str| std::os::unix::fs::symlink("nowhere", dir.path().join("etc/docker/certs.d").join(path));
        link("odd.example/redhat-ca.crt").unwrap();
        link("gone.example/client.key").unwrap();
        for (label, host, expected) in [
            ("first directory wins", "one.example", Ok((&[ONE][..], None))),
            ("root's directory", "root.example", Ok((&[ONE], None))),
            ("the vendor's directory", "vendor.example", Ok((&[TWO], None))),
            ("an empty directory", "empty.example", Ok((&[], None))),
            ("client", "two.example:5000", Ok((&[ONE, ONE, TWO], Some(("certificate", "hush"))))),
            ("another port", "two.example", Ok((&[], None))),
            ("a link to nowhere, text and a damaged one beside a CA", "odd.example", Ok((&[ONE], None))),
            (
                "a key that is a link to nowhere",
                "gone.example",
                Err(
                    "reading /etc/docker/certs.d/gone.example: /etc/docker/certs.d/gone.example/client.key is not there",
                ),
            ),
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
}
