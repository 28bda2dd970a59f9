// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A policy that demands signatures, as OpenShift's MCO renders it from 4.22 on: with an RSA key of 4096 bits.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use contract::base64;
use serde_json::{Value, json};
use testkit::layout::Layout;
use testkit::machine::{Machine, outcome};
use testkit::programs::run;
use testkit::signature::{Signatures, payload};
use testkit::suite::Case;

use crate::case::{SLIPSTREAM, case};
use crate::ignition::{escaped, write_files};

/// The name under which the image is signed. A signature of a name alone is for no image.
const NAME: &str = "example.com/os/node:4.22";
const POLICY: &str = "/etc/containers/policy.json";

pub fn cases() -> Vec<Case> {
    vec![
        case("boots_an_image_that_is_signed", signed),
        case("verifies_what_the_repository_has", already_there),
        skips(
            "skips_an_image_without_a_signature",
            "has no signature, and its policy requires sigstoreSigned by keyData",
            |_, _| Ok(()),
        ),
        skips("skips_an_image_with_a_signature_by_another_key", "it was not made with key", |machine, _| {
            sign(machine, &make_key(machine, "other")?, NAME)
        }),
        skips("skips_an_image_that_is_signed_by_another_name", "example.com/os/other:4.22", |machine, key| {
            sign(machine, key, "example.com/os/other:4.22")
        }),
        skips("skips_an_image_that_is_signed_by_its_name_alone", "with a tag or digest", |machine, key| {
            sign(machine, key, "example.com/os/node")
        }),
        case("pull_fails_without_a_signature", pulled),
        case("check_names_the_key_and_the_endpoints", checked),
    ]
}

/// Makes a key, and returns the path of it.
fn make_key(machine: &Machine, name: &str) -> Result<String> {
    let path = machine.path(name).display().to_string();
    run(&["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096", "-out", &path])?;
    run(&["openssl", "pkey", "-in", &path, "-pubout", "-out", &format!("{path}.pub")])?;
    Ok(path)
}

/// Returns the policy that demands a signature by a key.
fn policy(key: &str) -> Result<Value> {
    let data = base64::encode(&fs::read(format!("{key}.pub")).context("reading the key")?);
    let identity = json!({"type": "matchRepoDigestOrExact"});
    let signed = json!([{"type": "sigstoreSigned", "keyData": data, "signedIdentity": identity}]);
    let accept = json!([{"type": "insecureAcceptAnything"}]);
    let scopes = json!({"example.com/os": signed});
    Ok(json!({"default": accept, "transports": {"atomic": scopes, "docker": scopes, "docker-daemon": {"": accept}}}))
}

/// Signs the node image under a name, beside it.
fn sign(machine: &Machine, key: &str, name: &str) -> Result<()> {
    let digest = digest(machine)?;
    let text = payload(digest, name);
    let (path, signature) = (machine.path("payload"), machine.path("payload.sig"));
    fs::write(&path, &text)?;
    let [path, out] = [&path, &signature].map(|path: &std::path::PathBuf| path.display().to_string());
    run(&["openssl", "dgst", "-sha256", "-sign", key, "-out", &out, &path])?;
    let signed = Signatures::of(digest).sign(&text, &base64::encode(&fs::read(signature)?));
    signed.write(&Layout::at(&machine.path("node"))).map(drop)
}

fn digest(machine: &Machine) -> Result<&str> {
    machine.image.split_once('@').map(|(_, digest)| digest).context("no digest")
}

fn signed(machine: &mut Machine) -> Result<()> {
    let key = make_key(machine, "key")?;
    sign(machine, &key, NAME)?;
    write_files(machine, &[(POLICY, escaped(&policy(&key)?.to_string()))])?;
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    let found = &status["node_image"]["signatures"];
    let expected = json!([{"requirement": "sigstoreSigned by keyData", "key": fingerprint(machine, &key)?,
        "identity": NAME, "digest": digest(machine)?, "endpoint": found[0]["endpoint"]}]);
    ensure!(*found == expected, "{found}");
    ensure!(found[0]["endpoint"].as_str().is_some_and(|text| text.contains("/node")), "{found}");
    Ok(())
}

fn fingerprint(machine: &Machine, key: &str) -> Result<String> {
    let der = machine.path("key.der");
    run(&["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER", "-out", &der.display().to_string()])?;
    let text = run(&["sha256sum", &der.display().to_string()])?;
    Ok(text.split_whitespace().next().context("no sum")?.to_owned())
}

/// Makes a case of a policy that nothing meets: nothing is written, no reboot is asked for.
fn skips(name: &str, why: &'static str, prepare: fn(&Machine, &str) -> Result<()>) -> Case {
    case(name, move |machine| {
        let key = make_key(machine, "key")?;
        prepare(machine, &key)?;
        write_files(machine, &[(POLICY, escaped(&policy(&key)?.to_string()))])?;
        let before = machine.listing()?;
        let request = machine.request(&format!("{} slipstream.on-failure=reboot", machine.source()))?;
        let (output, status) = machine.boot(&request)?;
        ensure!(outcome(status.as_ref()) == "skipped", "{status:?}, {output:?}");
        let status = status.context("no status")?;
        ensure!(status["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{status}");
        ensure!(status["node_image"]["signatures"] == json!([]), "{status}");
        ensure!(machine.listing()? == before, "something was written");
        Ok(())
    })
}

fn pull(machine: &Machine, root: &Path) -> Result<String> {
    let (source, repo) = (format!("oci:{}", machine.path("node").display()), machine.repo().display().to_string());
    let root = root.display().to_string();
    run(&[SLIPSTREAM, "pull", &source, "--image", &machine.image, "--repo", &repo, "--root", &root])
}

/// That it was imported before says nothing about who has signed it.
fn already_there(machine: &mut Machine) -> Result<()> {
    fs::create_dir(machine.path("root"))?;
    pull(machine, &machine.path("root"))?;
    let key = make_key(machine, "key")?;
    write_files(machine, &[(POLICY, escaped(&policy(&key)?.to_string()))])?;
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(outcome(status.as_ref()) == "skipped", "{status:?}, {output:?}");
    Ok(())
}

fn pulled(machine: &mut Machine) -> Result<()> {
    let key = make_key(machine, "key")?;
    let root = machine.path("root");
    fs::create_dir_all(root.join("etc/containers"))?;
    fs::write(root.join(&POLICY[1..]), policy(&key)?.to_string())?;
    let refs = machine.refs()?;
    let error = pull(machine, &root).err().context("it was pulled")?.to_string();
    ensure!(error.contains("has no signature, and its policy requires sigstoreSigned by keyData"), "{error}");
    ensure!(machine.refs()? == refs, "{}", machine.refs()?);
    sign(machine, &key, NAME)?;
    pull(machine, &root).map(drop)
}

/// What a boot would verify, and where it would look, mirrors first; one cannot be asked.
fn checked(machine: &mut Machine) -> Result<()> {
    let key = make_key(machine, "key")?;
    let registries = "[[registry]]\nlocation = \"example.com\"\n[[registry.mirror]]\nlocation = \"mirror.example\"\n\
                      [[registry]]\nlocation = \"mirror.example\"\nblocked = true\n";
    let files = [(POLICY, policy(&key)?.to_string()), ("/etc/containers/registries.conf", registries.to_owned())];
    write_files(machine, &files.map(|(path, text)| (path, escaped(&text))))?;
    let cmdline = machine.path("cmdline");
    fs::write(&cmdline, machine.request("slipstream.source=registry")?)?;
    let mut command = Command::new(SLIPSTREAM);
    command.args(["check", "--json", "--ignition"]).arg(machine.path("ignition.json"));
    let output = command.arg("--sysroot").arg(machine.path("sysroot")).arg("--cmdline").arg(cmdline).output()?;
    let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("reading {output:?}"))?;
    let needed = json!([{"requirement": "sigstoreSigned by keyData", "keys": [fingerprint(machine, &key)?],
        "identity": "matchRepoDigestOrExact"}]);
    ensure!(answer["signatures"] == needed, "{answer}");
    let endpoints = &answer["endpoints"];
    ensure!(endpoints[0]["source"] == "mirror.example/os/node", "{answer}");
    ensure!(endpoints[0]["error"].as_str().is_some_and(|error| error.contains("is blocked")), "{answer}");
    ensure!(endpoints[1] == json!({"source": "example.com/os/node", "error": null}), "{answer}");
    Ok(())
}
