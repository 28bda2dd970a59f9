// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tables of registries.conf and what follows from it; the cases are those that upstream's tests are about.

use super::*;
use crate::containers::fixtures::{image, root};

/// Endpoints as text: `location`, with `!` if insecure, `+` if a mirror, `-` if blocked.
fn shown(registries: &Registries, name: &str) -> Result<Vec<String>> {
    let flags = |e: &Endpoint| {
        let flags = [(e.blocked.is_some(), "-"), (e.insecure, "!"), (e.mirror, "+")];
        flags.map(|(set, flag)| if set { flag } else { "" }).concat()
    };
    Ok(registries.endpoints(&image(name))?.iter().map(|e| format!("{}{}", flags(e), e.location)).collect())
}

const CONFIG_TEXT: &str = r#"
unqualified-search-registries = ["registry.example", "docker.io"]
short-name-mode = "enforcing"
unknown = { a = 1 }
[aliases]
"x" = "quay.io/x"
[[registry]]
location = "quay.io"
insecure = true
[[registry]]
prefix = "quay.io/os"
location = "internal.example:5000/mirror/os/"
new-key = 1
[[registry.mirror]]
location = "one.example/os"
insecure = true
[[registry.mirror]]
location = "tags.example/os"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "digests.example/os"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "all.example/os/"
pull-from-mirror = "all"
[[registry]]
prefix = "quay.io/os/exact"
location = "exact.example/renamed"
[[registry]]
prefix = "*.wild.example"
[[registry.mirror]]
location = "wild-mirror.example"
[[registry]]
prefix = "*.deep.wild.example"
location = "deep.example/x"
Insecure = true
[[registry]]
location = "blocked.example"
blocked = true
[[registry]]
prefix = "blocked.example/release"
location = "blocked.example/release"
blocked = true
[[registry.mirror]]
location = "all.example/release"
[[registry.mirror]]
location = "blocked.example/mirror"
[[registry]]
prefix = "open.example"
location = "blocked.example/moved"
[[registry.mirror]]
location = "insecure.example"
[[registry]]
location = "insecure.example"
insecure = true
[[registry]]
prefix = "quay.io/by/digest@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
location = "quay.io/by/digest"
blocked = true
[[registry]]
prefix = "hostonly.example/a/b"
location = "hostonly.example"
"#;

#[test]
fn endpoints_of_images() {
    let registries = parse(CONFIG_TEXT).unwrap();
    for (label, name, expected) in [
        ("unknown registry", "other.example/a", Ok(&["other.example/a"][..])),
        ("insecure", "quay.io/a/b", Ok(&["!quay.io/a/b"])),
        (
            "mirrors in order, location last",
            "quay.io/os/node",
            Ok(&[
                "!+one.example/os/node",
                "+digests.example/os/node",
                "+all.example/os/node",
                "internal.example:5000/mirror/os/node",
            ]),
        ),
        ("longest prefix", "quay.io/os/exact", Ok(&["exact.example/renamed"])),
        ("below the longest prefix", "quay.io/os/exact/x", Ok(&["exact.example/renamed/x"])),
        ("a prefix ends at a slash", "quay.io/osx/y", Ok(&["!quay.io/osx/y"])),
        ("port, as upstream", "quay.io:8443/a", Ok(&["!quay.io:8443/a"])),
        ("other host with the same start", "quay.io.evil.example/a", Ok(&["quay.io.evil.example/a"])),
        ("wildcard", "a.wild.example/x", Ok(&["+wild-mirror.example/x", "a.wild.example/x"])),
        ("wildcard, two levels", "a.b.wild.example:80/x", Ok(&["+wild-mirror.example:80/x", "a.b.wild.example:80/x"])),
        ("longer wildcard", "a.deep.wild.example/y", Ok(&["!deep.example/x/y"])),
        ("a wildcard wants a subdomain", "wild.example/x", Ok(&["wild.example/x"])),
        ("a wildcard is for hosts", "evil.example/a.wild.example/x", Ok(&["evil.example/a.wild.example/x"])),
        ("wildcard ends at the host's end", "a.wild.example.org/x", Ok(&["a.wild.example.org/x"])),
        ("blocked", "blocked.example/x", Ok(&["-blocked.example/x"])),
        (
            "blocked, with mirrors that are and are not",
            "blocked.example/release/node",
            Ok(&["+all.example/release/node", "-+blocked.example/mirror/node", "-blocked.example/release/node"]),
        ),
        (
            "at a location that is blocked; a mirror is insecure by its own key only",
            "open.example/x",
            Ok(&["+insecure.example/x", "-blocked.example/moved/x"]),
        ),
        ("a prefix with a digest", "quay.io/by/digest", Ok(&["!quay.io/by/digest"])),
        (
            "location without repository",
            "hostonly.example/a/b",
            Err("to the location \"hostonly.example\" of registries"),
        ),
    ] {
        match (shown(&registries, name), expected) {
            (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{label}"),
            (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
            (got, _) => panic!("{label}: {got:?}"),
        }
    }
}

#[test]
fn what_is_refused() {
    for (label, text, expected) in [
        ("empty", "", None),
        ("comment", "# nothing\r\n", None),
        ("empty registries of version 1 would be none", "[registries]\n", None),
        ("not TOML", "a = [\n", Some("line 2, column 1: ")),
        ("duplicate key", "[[registry]]\nlocation='a'\nlocation='b'\n", Some("line 3, column 1: duplicate key")),
        ("version 1", "[registries.search]\nregistries=['a']\n", Some("it has the version 1 format")),
        ("one table", "[registry]\nlocation='a'\n", Some("registry is not a list of tables: write [[registry]]")),
        ("list of strings", "registry=['a']\n", Some("registry is not a list of tables")),
        ("no place", "[[registry]]\ninsecure=true\n", Some("a registry has neither location nor prefix")),
        ("no location", "[[registry]]\nprefix='a.example'\n", Some("registry \"a.example\" has no location")),
        ("scheme", "[[registry]]\nlocation='https://a.example'\n", Some("has a scheme: write host[:port]/path")),
        ("wildcard with path", "[[registry]]\nprefix='*.a.example/b'\n", Some("not of the form *.example.com")),
        ("type", "[[registry]]\nlocation=1\n", Some("location is not a string")),
        ("flag", "[[registry]]\nlocation='a'\nblocked='yes'\n", Some("blocked is neither true nor false")),
        ("pull-from-mirror", "[[registry]]\nlocation='a'\npull-from-mirror='all'\n", Some("it is for mirrors")),
        (
            "both restrictions",
            "[[registry]]\nlocation='a'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='all'\n",
            Some("mirror \"b\" has pull-from-mirror, but registry \"a\" has mirror-by-digest-only"),
        ),
        (
            "unknown restriction",
            "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='never'\n",
            Some("write all, digest-only or tag-only"),
        ),
        ("mirror without place", "[[registry]]\nlocation='a'\n[[registry.mirror]]\n", Some("has no location")),
        (
            "conflict",
            "[[registry]]\nlocation='a'\ninsecure=true\n[[registry]]\nprefix='b'\nlocation='a'\n",
            Some("registry \"a\" is there several times, with different values of insecure"),
        ),
        (
            "conflict of blocked",
            "[[registry]]\nlocation='a'\nblocked=true\n[[registry]]\nprefix='b'\nlocation='a'\n",
            Some("different values of blocked"),
        ),
    ] {
        match (parse(text), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
            (got, _) => panic!("{label}: {got:?}"),
        }
    }
    for (label, text) in [
        ("arrays", format!("a = {}", "[".repeat(1 << 20))),
        ("tables", format!("a = {}", "{a=".repeat(1 << 20))),
        ("dots", format!("{} = 1", vec!["a"; 1 << 20].join("."))),
    ] {
        let error = format!("{:#}", parse(&text).unwrap_err());
        assert!(error.contains("nesting depth"), "{label}: {error}");
    }
}

#[test]
fn an_image_is_blocked_if_every_endpoint_is() {
    const SOURCE: &str = "[[registry]]\nlocation='a.example'\nblocked=true\n[[registry.mirror]]\nlocation=";
    let reason = |prefix: &str, file: &str| {
        format!("registry \"{prefix}\" is blocked: /etc/containers/registries.conf{file} has blocked = true for it")
    };
    let (a, b) = (reason("a.example", ""), reason("b.example", ".d/1.conf"));
    for (label, mirror, blocked, expected) in [
        ("a mirror may be asked", "b.example/x", "c.example", None),
        ("no endpoint may be asked", "b.example/x", "b.example", Some(format!("{b}; {a}"))),
        ("for one reason", "a.example/x", "c.example", Some(a)),
    ] {
        let (_dir, files) = root(&[
            ("/etc/containers/registries.conf", &format!("{SOURCE}'{mirror}'\n")),
            (
                "/etc/containers/registries.conf.d/1.conf",
                &format!("[[registry]]\nlocation='{blocked}'\nblocked=true\n"),
            ),
        ]);
        let got = crate::containers::HostConfig::new(files).blocked(&image("a.example/node")).unwrap();
        assert_eq!(got, expected, "{label}");
    }
}

#[test]
fn drop_ins_replace_registries_of_the_same_prefix() {
    let (_dir, files) = root(&[
        (
            "/etc/containers/registries.conf",
            "[[registry]]\nlocation='a.example'\ninsecure=true\n[[registry]]\nlocation='b.example'\nblocked=true\n\
             [[registry]]\nprefix='b.example'\nlocation='b.example'\nblocked=true\ninsecure=false\n",
        ),
        ("/etc/containers/registries.conf.d/10-b.conf", "[[registry]]\nlocation='b.example'\n"),
        ("/etc/containers/registries.conf.d/20-b.conf", "[[registry]]\nprefix='b.example'\nlocation='c.example'\n"),
        ("/etc/containers/registries.conf.d/30-b.txt", "not read"),
        ("/etc/containers/registries.conf.d/sub/40.conf", "not read"),
    ]);
    let registries = load(files.as_ref()).unwrap();
    assert_eq!(shown(&registries, "a.example/x").unwrap(), ["!a.example/x"]);
    assert_eq!(shown(&registries, "b.example/x").unwrap(), ["c.example/x"]);

    // A later name counts more, wherever it is; of the main files the first counts, of equal names too.
    let (dir, files) = root(&[
        ("/usr/share/containers/registries.conf", "[[registry]]\nlocation='a.example'\ninsecure=true\n"),
        ("/usr/share/containers/registries.conf.d/90.conf", "[[registry]]\nlocation='b.example'\ninsecure=true\n"),
        ("/etc/containers/registries.rootful.conf.d/10.conf", "[[registry]]\nlocation='b.example'\nblocked=true\n"),
    ]);
    let of_vendor = load(files.as_ref()).unwrap();
    assert_eq!(shown(&of_vendor, "a.example/x").unwrap(), ["!a.example/x"]);
    assert_eq!(shown(&of_vendor, "b.example/x").unwrap(), ["!b.example/x"]);
    let masks = dir.path().join("etc/containers/registries.conf.d");
    std::fs::create_dir(&masks).unwrap();
    std::os::unix::fs::symlink("/dev/null", masks.join("90.conf")).unwrap();
    std::os::unix::fs::symlink("nowhere", masks.join("95.conf")).unwrap();
    std::fs::write(dir.path().join("etc/containers/registries.conf"), "").unwrap();
    let of_administrator = load(files.as_ref()).unwrap();
    assert_eq!(shown(&of_administrator, "a.example/x").unwrap(), ["a.example/x"]);
    assert_eq!(shown(&of_administrator, "b.example/x").unwrap(), ["-b.example/x"]);

    let (_dir, files) = root(&[("/etc/containers/registries.conf.d/1.conf", "[[registry]]\n")]);
    let error = format!("{:#}", load(files.as_ref()).unwrap_err());
    assert_eq!(error, "reading /etc/containers/registries.conf.d/1.conf: a registry has neither location nor prefix");
}
