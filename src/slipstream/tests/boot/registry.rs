// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A boot from a registry, with the password that the node's Ignition config has.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use testkit::daemon::Daemon;
use testkit::machine::{Machine, outcome};
use testkit::programs::{needs, run};
use testkit::suite::Case;

use crate::case::case;
use crate::ignition::{escaped, worker, write_files};

pub fn cases() -> [Case; 1] {
    let programs = || needs(&["docker-registry", "htpasswd", "setpriv", "skopeo"]);
    [case("pulls_from_the_mirror_of_a_blocked_registry_with_the_pull_secret", pulls).needs(programs)]
}

/// Starts a registry on loopback with one user, `node` with the password `hunter2`, and returns its address.
fn start(dir: &Path) -> Result<(Daemon, String)> {
    let users = run(&["htpasswd", "-Bbn", "node", "hunter2"])?;
    fs::create_dir_all(dir)?;
    fs::write(dir.join("htpasswd"), users)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {0}/data}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n\
         auth: {{htpasswd: {{realm: test, path: {0}/htpasswd}}}}\n",
        dir.display()
    );
    let path = dir.join("config.yml");
    fs::write(&path, config)?;
    let mut registry = Daemon::start(dir, "registry", "docker-registry", &["serve", &path.display().to_string()])?;
    registry.wait("127.0.0.1", port)?;
    Ok((registry, format!("127.0.0.1:{port}")))
}

fn pulls(machine: &mut Machine) -> Result<()> {
    let (_registry, address) = start(&machine.path("registry"))?;
    let (_, digest) = machine.image.split_once('@').context("no digest")?;
    let name = format!("{address}/os/node");
    let layout = format!("oci:{}", machine.path("node").display());
    let to = format!("docker://{name}:latest");
    let options = ["-q", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds=node:hunter2"];
    run(&[&["skopeo", "copy"], &options[..], &[&layout, &to]].concat())?;
    // As the MCO writes it for an ImageDigestMirrorSet with NeverContactSource.
    let config = worker(&format!("registry.example/os/node@{digest}"))?;
    let files = |auth: &str| {
        let registries = format!(
            "[[registry]]\nprefix = \"\"\nlocation = \"registry.example/os\"\nblocked = true\n\
             [[registry.mirror]]\nlocation = \"{address}/os\"\ninsecure = true\npull-from-mirror = \"digest-only\"\n"
        );
        let secret = serde_json::json!({"auths": {&address: {"auth": auth}}});
        [
            ("/etc/ignition-machine-config-encapsulated.json", escaped(&config.to_string())),
            ("/etc/slipstream.conf", escaped("[slipstream]\nimage = auto\n")),
            ("/etc/containers/registries.conf", escaped(&registries)),
            ("/etc/containers/policy.json", escaped(r#"{"default": [{"type": "insecureAcceptAnything"}]}"#)),
            ("/var/lib/kubelet/config.json", escaped(&secret.to_string())),
        ]
    };
    let cmdline = machine.options()?.swap_remove(0);
    for (label, auth, expected) in [("wrong", "bm9kZTp3cm9uZw==", "failed"), ("right", "bm9kZTpodW50ZXIy", "swapped")] {
        write_files(machine, &files(auth))?;
        let (output, status) = machine.boot(&cmdline)?;
        ensure!(outcome(status.as_ref()) == expected, "{label} password: {status:?}, {output:?}");
        let said = format!("{status:?} {}", String::from_utf8_lossy(&output.stderr));
        for secret in [auth, "hunter2", "node:wrong"] {
            ensure!(!said.contains(secret), "it shows {secret:?}: {said}");
        }
        ensure!(expected == "swapped" || said.contains("401"), "{said}");
    }
    Ok(())
}
