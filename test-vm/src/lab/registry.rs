// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A registry on this host with the node image, TLS of a private CA, and a password. A guest reaches it by QEMU's user
//! network.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use contract::base64;
use testkit::layout::Layout;
use testkit::signature::{Signatures, payload};

use super::cache::Inputs;
use super::cmd;
use super::places::Lab;

/// This host's loopback, as the guest sees it.
const HOST: &str = "10.0.2.2";
/// Where the node image is.
const REPOSITORY: &str = "os/node";
/// User and password.
const USER: (&str, &str) = ("puller", "open sesame");
/// Both as they are sent, and as they stand in a pull secret.
pub const AUTH: &str = "cHVsbGVyOm9wZW4gc2VzYW1l";
/// What nothing may print.
pub const SECRETS: [&str; 2] = [USER.1, AUTH];
/// How long a server may take to listen. A busy machine is slow.
const START: Duration = Duration::from_secs(20);

/// A registry's address and certificates, and its server while it runs.
pub struct Registry {
    dir: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

impl Registry {
    /// Chooses a port and makes the certificates. No server listens yet.
    pub fn new(lab: &Lab) -> Result<Self> {
        let dir = tempfile::tempdir_in(lab.cache.dir()).context("creating a directory for the registry")?;
        let registry = Self { dir, port: free_port()?, server: None };
        registry.issue().context("making certificates")?;
        Ok(registry)
    }

    /// Returns `host:port`, for the guest.
    pub fn address(&self) -> String {
        format!("{HOST}:{}", self.port)
    }

    /// Returns the node image's name in it, by the digest that `reference` ends with.
    pub fn image(&self, reference: &str) -> Result<String> {
        let (_, digest) = reference.split_once('@').context("splitting the image's name")?;
        Ok(format!("{}/{REPOSITORY}@{digest}", self.address()))
    }

    /// Returns the CA that signed the server's certificate.
    pub fn ca(&self) -> Result<String> {
        fs::read_to_string(self.file("ca.pem")).context("reading the CA")
    }

    /// Serves what [`storage`] gave, in place of what was served; requests go to the log.
    pub fn serve(&mut self, storage: &Path, log: &Path) -> Result<()> {
        self.server.take().map_or(Ok(()), stop)?;
        let users = cmd::stdout(&mut cmd::words("htpasswd", ["-Bbn", USER.0, USER.1]))?;
        fs::write(self.file("htpasswd"), users).context("writing htpasswd")?;
        let file = |name: &str| self.file(name).display().to_string();
        let more = format!(
            "  tls: {{certificate: {}, key: {}}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            file("server.pem"),
            file("server.key"),
            file("htpasswd")
        );
        self.server = Some(start(&self.file("registry.yml"), storage, self.port, &more, log)?);
        Ok(())
    }

    /// Makes a key as OpenShift's releases are signed with, and returns the public half of it.
    pub fn make_key(&self) -> Result<String> {
        let mut make =
            cmd::words("openssl", ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"]);
        cmd::run(make.arg("-out").arg(self.file("signer.key")))?;
        let mut public = cmd::words("openssl", ["pkey", "-pubout", "-in"]);
        cmd::stdout(public.arg(self.file("signer.key")))
    }

    /// Returns a copy of what [`storage`] gave, with a signature of the image by that key in the image's repository.
    pub fn sign(&self, lab: &Lab, storage: &Path, image: &str) -> Result<PathBuf> {
        let (name, digest) = image.split_once('@').context("splitting the image's name")?;
        let text = payload(digest, &format!("{name}:4.22"));
        fs::write(self.file("payload"), &text).context("writing what is signed")?;
        let mut sign = cmd::words("openssl", ["dgst", "-sha256", "-sign"]);
        sign.arg(self.file("signer.key")).arg("-out").arg(self.file("payload.sig"));
        cmd::run(sign.arg(self.file("payload")))?;
        let signature = fs::read(self.file("payload.sig")).context("reading the signature")?;
        let signed = Signatures::of(digest).sign(&text, &base64::encode(&signature));
        let layout = Layout::create(&self.file("signature"))?;
        layout.write_index(&[])?;
        signed.write(&layout)?;
        let copy = self.file("storage");
        cmd::run(cmd::words("cp", ["-a"]).args([storage, &copy]))?;
        let port = free_port()?;
        let server = start(&self.file("sign.yml"), &copy, port, "", &self.file("sign.log"))?;
        let tag = &signed.tag;
        let pushed = push(
            lab,
            &format!("{}:{tag}", self.file("signature").display()),
            &format!("127.0.0.1:{port}/{REPOSITORY}:{tag}"),
        );
        stop(server)?;
        pushed.context("pushing the signature")?;
        Ok(copy)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&self) -> Result<()> {
        let subject = |name: &str| ["-newkey", "rsa:2048", "-nodes", "-subj", name].map(str::to_owned);
        let mut authority = cmd::words("openssl", ["req", "-x509", "-days", "2", "-out"]);
        authority.arg(self.file("ca.pem")).arg("-keyout").arg(self.file("ca.key")).args(subject("/CN=ca.example"));
        cmd::run(authority.args(["-addext", "keyUsage=critical,keyCertSign"]))?;
        let mut request = cmd::words("openssl", ["req", "-out"]);
        request.arg(self.file("server.csr")).arg("-keyout").arg(self.file("server.key"));
        cmd::run(request.args(subject("/CN=registry.example")))?;
        let extensions = format!("subjectAltName=IP:{HOST}\nextendedKeyUsage=serverAuth\n");
        fs::write(self.file("server.ext"), extensions).context("writing extensions")?;
        let mut sign = cmd::words("openssl", ["x509", "-req", "-days", "2", "-in"]);
        sign.arg(self.file("server.csr")).arg("-extfile").arg(self.file("server.ext"));
        sign.arg("-CA").arg(self.file("ca.pem")).arg("-CAkey").arg(self.file("ca.key"));
        cmd::run(sign.arg("-out").arg(self.file("server.pem")))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.server.take().map(stop) {
            eprintln!("{error:#}");
        }
    }
}

/// Returns an artefact: what a registry's server has stored after the image called `reference` was pushed to it, which
/// is in `/node` of the file system `staging`.
pub fn storage(lab: &Lab, staging: &Path, reference: &str) -> Result<PathBuf> {
    let inputs = Inputs::default().text(staging.to_string_lossy()).text(reference);
    let inputs = inputs.text(lab.tools().to_string_lossy()).text(REPOSITORY);
    let dir = lab.cache.artefact("registry", inputs, |dir| {
        cmd::run(lab.tool(["debugfs", "-R", &format!("rdump /node {}", dir.display())]).arg(staging))?;
        let storage = dir.join("storage");
        let port = free_port()?;
        let server = start(&dir.join("registry.yml"), &storage, port, "", &dir.join("push.log"))?;
        let layout = dir.join("node");
        let pushed = push(lab, &layout.display().to_string(), &format!("127.0.0.1:{port}/{REPOSITORY}:latest"));
        stop(server)?;
        pushed.context("pushing the node image")?;
        fs::remove_dir_all(dir.join("node")).context("removing the layout")
    })?;
    Ok(dir.join("storage"))
}

/// Pushes as an administrator fills a mirror.
fn push(lab: &Lab, layout: &str, to: &str) -> Result<()> {
    let mut copy = lab.tool(["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests"]);
    copy.arg("--dest-tls-verify=false").arg(format!("oci:{layout}"));
    cmd::run(copy.arg(format!("docker://{to}")))
}

/// Starts the server and waits until it listens. `more` goes on in the configuration's part `http`.
fn start(config: &Path, storage: &Path, port: u16, more: &str, log: &Path) -> Result<Child> {
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http:\n  addr: 127.0.0.1:{port}\n{more}",
        storage.display()
    );
    fs::write(config, text).context("writing the registry's configuration")?;
    let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    // If we are killed, it goes as well.
    let mut command = cmd::words("setpriv", ["--pdeathsig", "KILL", "--", "docker-registry", "serve"]);
    command.arg(config).stdin(Stdio::null()).stdout(output.try_clone().context("sharing a log")?).stderr(output);
    let mut server = command.spawn().context("starting docker-registry")?;
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let ended = server.try_wait().context("waiting for the registry")?;
        if ended.is_some() || started.elapsed() > START {
            stop(server)?;
            let said = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
            bail!("waiting for the registry: it does not listen at port {port}: {}", said.trim());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(server)
}

fn stop(mut server: Child) -> Result<()> {
    server.kill().context("stopping the registry")?;
    server.wait().context("waiting for the registry's end")?;
    Ok(())
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("reading a port")?.port())
}
