// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Boots of a node of OpenShift: the request, the image and the registry's password are in its Ignition config.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Machine, outcome, run};

/// A config as the MCO's server makes it, with these fields of the MachineConfig's spec changed.
fn write_ignition(machine: &Machine, changes: &[(&str, Value)]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mco/machine-configs/worker.json");
    let mut config: Value = serde_json::from_slice(&fs::read(path)?)?;
    config["spec"]["osImageURL"] = machine.image.clone().into();
    for (field, value) in changes {
        config["spec"][*field] = value.clone();
    }
    let keyfile = format!("[slipstream]\nimage = auto\nsource = oci:{}\n", machine.path("node").display());
    write_files(
        machine,
        &[
            ("/etc/ignition-machine-config-encapsulated.json", escaped(&config.to_string())),
            ("/etc/slipstream.conf", escaped(&keyfile)),
        ],
    )
}

fn escaped(text: &str) -> String {
    text.bytes().fold("data:,".to_owned(), |url, byte| format!("{url}%{byte:02x}"))
}

fn write_files(machine: &Machine, files: &[(&str, String)]) -> Result<()> {
    let files: Vec<_> =
        files.iter().map(|(path, url)| serde_json::json!({"path": path, "contents": {"source": url}})).collect();
    let config = serde_json::json!({"ignition": {"version": "3.5.0"}, "storage": {"files": files}});
    Ok(fs::write(machine.path("ignition.json"), config.to_string())?)
}

const V2: [&str; 2] = ["systemd.unified_cgroup_hierarchy=1", r#"cgroup_no_v1="all""#];

pub fn auto(machine: &Machine) -> Result<()> {
    // An argument with a space must come through libostree in one piece.
    const QUOTED: &str = r#"dyndbg="file drivers/usb/* +p""#;
    write_ignition(machine, &[("kernelArguments", serde_json::json!([QUOTED, V2[0], V2[1]]))])?;
    let entry = fs::read_dir(machine.path("sysroot/boot/loader/entries"))?.next().context("no entry")??.path();
    let text = fs::read_to_string(&entry)?;
    fs::write(&entry, text.replace("options rw", &format!("options rw {QUOTED}")))?;
    let cmdline = machine.options()?.swap_remove(0);
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    ensure!(status["request"]["image"] == serde_json::json!({"value": "auto", "from": "ignition"}), "{status}");
    ensure!(status["node_image"]["image"] == machine.image.as_str(), "{status}");
    let reboot = &status["reboot"];
    ensure!(reboot["avoided"] == true && reboot["mco"] == "nothing-to-do", "{reboot}");
    ensure!(reboot["deferred_kargs"].as_array().is_some_and(|kargs| kargs.len() == 2), "{reboot}");
    // What `rpm-ostree kargs` prints, and the MCO compares.
    let options = machine.options()?;
    let (ours, _) = options[0].split_once(" ostree=").context("no ostree=")?;
    ensure!(ours == format!("rw {QUOTED} $ignition_firstboot {} {}", V2[0], V2[1]), "new entry: {}", options[0]);
    ensure!(!options[1].contains("cgroup"), "old entry: {}", options[1]);
    let before = machine.listing()?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "already-booted", "{status:?}, {output:?}");
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}

/// A registry on loopback, which ends with the test.
struct Registry(std::process::Child);

impl Drop for Registry {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("stopping the registry: {error}");
        }
    }
}

impl Registry {
    /// Start it with one user, `node` with the password `hunter2`, and return its address.
    fn start(dir: &Path) -> Result<(Self, String)> {
        let users = run(&["htpasswd", "-Bbn", "node", "hunter2"])?;
        fs::create_dir_all(dir)?;
        fs::write(dir.join("htpasswd"), users)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {0}/data}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n\
             auth: {{htpasswd: {{realm: test, path: {0}/htpasswd}}}}\n",
            dir.display()
        );
        fs::write(dir.join("config.yml"), config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("config.yml")).stdout(fs::File::create(dir.join("log"))?);
        let registry = Self(command.stderr(std::process::Stdio::null()).spawn().context("starting docker-registry")?);
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok((registry, format!("127.0.0.1:{port}")));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        anyhow::bail!("the registry does not listen")
    }
}

pub fn auto_registry(machine: &Machine) -> Result<()> {
    if Command::new("docker-registry").arg("--version").output().is_err() {
        eprintln!("SKIPPED: image=auto from a registry: docker-registry is not installed");
        return Ok(());
    }
    let (_registry, address) = Registry::start(&machine.path("registry"))?;
    let (_, digest) = machine.image.split_once('@').context("no digest")?;
    let name = format!("{address}/os/node");
    let layout = format!("oci:{}", machine.path("node").display());
    let to = format!("docker://{name}:latest");
    run(&[
        "skopeo",
        "copy",
        "-q",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "--dest-creds=node:hunter2",
        &layout,
        &to,
    ])?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mco/machine-configs/worker.json");
    let mut config: Value = serde_json::from_slice(&fs::read(path)?)?;
    config["spec"]["osImageURL"] = format!("{name}@{digest}").into();
    let files = |auth: &str| {
        let registries = format!("[[registry]]\nlocation = {address:?}\ninsecure = true\n");
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
            ensure!(!said.contains(secret), "it tells {secret:?}: {said}");
        }
        ensure!(expected == "swapped" || said.contains("401"), "{said}");
    }
    Ok(())
}

pub fn auto_without(machine: &Machine) -> Result<()> {
    let before = machine.listing()?;
    let cmdline = format!("{} slipstream.image=auto {}", machine.options()?.swap_remove(0), machine.source());
    for config in [None, Some("/etc/hostname")] {
        if let Some(path) = config {
            write_files(machine, &[(path, "data:,node".to_owned())])?;
        }
        let (output, status) = machine.boot(&cmdline)?;
        ensure!(output.status.success() && status.is_none(), "{config:?}: {status:?}, {output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(text.contains("image=auto, and the Ignition config has no MachineConfig: nothing to do"), "{text}");
    }
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}

pub fn mco_reboots(machine: &Machine) -> Result<()> {
    let refs = machine.refs()?;
    write_ignition(machine, &[("extensions", serde_json::json!(["usbguard"]))])?;
    let cmdline = machine.options()?.swap_remove(0);
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "skipped" && output.status.success(), "{status:?}, {output:?}");
    let status = status.context("no status")?;
    let expected = serde_json::json!({
        "avoided": false, "mco": "reboots", "deferred_kargs": [],
        "reasons": ["the MachineConfig wants extensions: usbguard"],
    });
    ensure!(status["reboot"] == expected, "{}", status["reboot"]);
    ensure!(status["endpoints"] == serde_json::json!([]), "a source was asked: {status}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    let (output, status) = machine.boot(&format!("{cmdline} slipstream.mco-reboot=pull"))?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    ensure!(status["reboot"] == expected, "{}", status["reboot"]);
    let options = machine.options()?.swap_remove(0);
    ensure!(options.starts_with("rw $ignition_firstboot ostree="), "the MCO writes its arguments itself: {options}");
    Ok(())
}

pub fn remote_file(machine: &Machine) -> Result<()> {
    write_files(machine, &[("/etc/slipstream.conf", "https://user:hunter2@example.com/?hunter2".to_owned())])?;
    let (output, status) = machine.boot(&machine.options()?.swap_remove(0))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && !text.contains("hunter2"), "{text}");
    ensure!(text.contains("/etc/slipstream.conf of the Ignition config: it has a remote source (https)"), "{text}");
    ensure!(status.is_none(), "the launcher reports what the importer cannot: {status:?}");
    Ok(())
}

/// Run `slipstream check` on the disk: exit code, standard output, and what it says if it fails.
fn run_check(machine: &Machine, more: &[&str]) -> Result<(Option<i32>, String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream"));
    command.arg("check").arg("--ignition").arg(machine.path("ignition.json"));
    command.arg("--sysroot").arg(machine.path("sysroot")).args(more);
    let output = command.output().context("running slipstream")?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

pub fn check(machine: &Machine) -> Result<()> {
    let before = machine.listing()?;
    let (code, _, error) = run_check(machine, &[])?;
    ensure!(code == Some(1) && error.contains("there is no Ignition config"), "no file: {code:?} {error}");
    for (label, changes, expected, line) in [
        ("saved", vec![], 0, "decision: the reboot would be saved"),
        ("FIPS", vec![("fips", Value::Bool(true))], 0, "decision: the reboot would be saved"),
        (
            "kernel",
            vec![("kernelType", "realtime".into()), ("extensions", serde_json::json!(["usbguard"]))],
            2,
            "  because: the MachineConfig wants extensions: usbguard",
        ),
        ("tag", vec![("osImageURL", "quay.io/example/node:latest".into())], 1, ""),
    ] {
        write_ignition(machine, &changes)?;
        let (code, text, error) = run_check(machine, &[])?;
        ensure!(code == Some(expected), "{label}: {code:?} {text} {error}");
        ensure!(line.is_empty() || text.lines().any(|found| found == line), "{label}: {text}");
    }
    write_ignition(machine, &[])?;
    let (code, text, _) = run_check(machine, &["--json"])?;
    let value: Value = serde_json::from_str(&text)?;
    ensure!(code == Some(0) && value["verdict"] == "saved" && value["pull"] == true, "{value}");
    ensure!(value["image"] == machine.image.as_str(), "{value}");
    ensure!(value["deferred_kargs"][1]["karg"] == r#"cgroup_no_v1="all""#, "{value}");
    // A running kernel that is not in FIPS mode, on a command line that takes the request back.
    write_ignition(machine, &[("fips", Value::Bool(true))])?;
    let cmdline = machine.path("cmdline");
    let with_cmdline = ["--cmdline", cmdline.to_str().context("path")?];
    for (more, expected) in [("", 2), ("slipstream.image=none", 3)] {
        fs::write(&cmdline, format!("{} {more}", machine.options()?[0]))?;
        let (code, text, error) = run_check(machine, &with_cmdline)?;
        ensure!(code == Some(expected), "{more}: {code:?} {text} {error}");
    }
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}
