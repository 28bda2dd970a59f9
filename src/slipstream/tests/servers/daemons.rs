// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The servers: Debian's docker-registry in seven shapes, nginx, tinyproxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};
use testkit::daemon::Daemon;
use testkit::layout::digits;
use testkit::programs::output;

use crate::pki::Pki;
use crate::place::{PROXY_SOURCE, address, layout_of};
use crate::tokens::{self, ISSUER, Journal, SERVICE};

/// User and password of the registry with htpasswd.
pub const USER: (&str, &str) = ("puller", "open sesame");
/// User and password of the proxy.
pub const PROXY_USER: &str = "through:drawbridge";

/// The directory with the CA, for skopeo.
const CERTS: &str = "push";

/// All of them, running.
pub struct Daemons {
    pub open: Daemon,
    pub basic: Daemon,
    pub token: Daemon,
    pub half: Daemon,
    pub mutual: Daemon,
    /// It wants a client certificate and a token.
    pub guarded: Daemon,
    /// It does not do TLS; something else does, on the same host.
    pub plain: Daemon,
    pub web: Daemon,
    pub proxy: Daemon,
    pub tokens: Journal,
}

impl Daemons {
    /// Start them; the registries are filled with the image that the layout has.
    pub fn start(dir: &Path, pki: &Pki, layers: &[String]) -> Result<Self> {
        let registry = Registry { dir, pki, storage: dir.join("storage") };
        let open = registry.start("open", 443, true, "")?;
        fill(dir, pki)?;
        let tokens = tokens::serve(address("tokens.example")?, pki, dir.to_owned())?;
        let half = Registry { dir, pki, storage: half_of(&registry.storage, dir, layers)? };
        let daemons = Self {
            basic: registry.start("basic", 5000, true, &htpasswd(dir)?)?,
            token: registry.start("token", 443, true, &token_auth(pki))?,
            half: half.start("half", 5000, false, "")?,
            mutual: registry.start("mutual", 443, true, "mutual")?,
            guarded: registry.start("guarded", 443, true, &format!("mutual{}", token_auth(pki)))?,
            plain: registry.start("plain", 80, false, "")?,
            web: nginx(dir, pki)?,
            proxy: tinyproxy(dir)?,
            open,
            tokens,
        };
        daemons.wait()
    }

    /// Forgets what happened so far: it is no concern of the next case.
    pub fn mark(&mut self) -> Result<()> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let servers = [&mut self.open, &mut self.basic, &mut self.half, &mut self.proxy];
        servers.into_iter().try_for_each(Daemon::mark)
    }

    fn wait(mut self) -> Result<Self> {
        self.basic.wait(address("basic.example")?, 5000)?;
        self.token.wait(address("token.example")?, 443)?;
        self.half.wait(address("half.example")?, 5000)?;
        self.mutual.wait(address("mutual.example")?, 443)?;
        self.guarded.wait(address("guarded.example")?, 443)?;
        self.plain.wait(address("plain.example")?, 80)?;
        self.web.wait(address("web.example")?, 443)?;
        self.web.wait(address("tokens.example")?, 443)?;
        self.web.wait(address("moved.example")?, 443)?;
        self.proxy.wait(address("proxy.example")?, 3128)?;
        Ok(self)
    }
}

struct Registry<'a> {
    dir: &'a Path,
    pki: &'a Pki,
    storage: PathBuf,
}

impl Registry<'_> {
    /// `auth` is a part of its configuration; with `mutual` in front it wants a client certificate.
    fn start(&self, name: &str, port: u16, tls: bool, auth: &str) -> Result<Daemon> {
        let at = address(&format!("{name}.example"))?;
        let mut text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {at}:{port}\n",
            self.storage.display()
        );
        if tls {
            let (certificate, key) = (self.pki.pem("server"), self.pki.key("server"));
            let (certificate, key) = (certificate.display(), key.display());
            text += &format!("  tls:\n    certificate: {certificate}\n    key: {key}\n");
        }
        let (mutual, auth) = auth.strip_prefix("mutual").map_or((false, auth), |rest| (true, rest));
        if mutual {
            text += &format!("    clientcas:\n      - {}\n", self.pki.pem("ca").display());
        }
        text += auth;
        let path = self.dir.join(format!("{name}.yml"));
        fs::write(&path, text).context("writing a configuration")?;
        let path = path.display().to_string();
        let mut server = Daemon::start(self.dir, name, "docker-registry", &["serve", &path])?;
        if name == "open" {
            server.wait(at, port)?;
        }
        Ok(server)
    }
}

fn htpasswd(dir: &Path) -> Result<String> {
    let (user, password) = USER;
    let lines = output(Command::new("htpasswd").args(["-Bbn", user, password]))?;
    let path = dir.join("htpasswd");
    fs::write(&path, lines).context("writing htpasswd")?;
    Ok(format!("auth:\n  htpasswd:\n    realm: basic\n    path: {}\n", path.display()))
}

fn token_auth(pki: &Pki) -> String {
    format!(
        "auth:\n  token:\n    realm: https://tokens.example/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
         rootcertbundle: {}\n",
        pki.pem("ca").display()
    )
}

/// Push the layout to the first registry, as an administrator does it.
fn fill(dir: &Path, pki: &Pki) -> Result<()> {
    let certs = dir.join(CERTS);
    fs::create_dir(&certs).context("creating a directory")?;
    fs::copy(pki.pem("ca"), certs.join("ca.crt")).context("copying the CA")?;
    copy(dir, &format!("oci:{}", layout_of(dir).display()), "docker://open.example/os/node:latest")
}

/// Copies with skopeo, to or from the first registry.
pub fn copy(dir: &Path, from: &str, to: &str) -> Result<()> {
    let mut copy = Command::new("skopeo");
    copy.args(["--insecure-policy", "copy", "--quiet", "--preserve-digests"]);
    for option in ["--src-cert-dir", "--dest-cert-dir"] {
        copy.arg(option).arg(dir.join(CERTS));
    }
    output(copy.args([from, to])).map(drop)
}

/// A copy of the storage in which every second layer is missing.
fn half_of(storage: &Path, dir: &Path, layers: &[String]) -> Result<PathBuf> {
    let half = dir.join("half");
    output(Command::new("cp").arg("-r").arg(storage).arg(&half))?;
    for hex in layers.iter().skip(1).step_by(2).map(|digest| digits(digest)) {
        let blob = half.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex);
        fs::remove_dir_all(&blob).with_context(|| format!("removing {}", blob.display()))?;
    }
    ensure!(layers.len() > 3, "{} layers are too few to be halved", layers.len());
    Ok(half)
}

fn nginx(dir: &Path, pki: &Pki) -> Result<Daemon> {
    let (web, tokens) = (address("web.example")?, address("tokens.example")?);
    let (plain, moved) = (address("plain.example")?, address("moved.example")?);
    let (certificate, key, ca, root) = (pki.pem("server"), pki.key("server"), pki.pem("ca"), dir.display());
    let text = format!(
        "daemon off; master_process off; pid {root}/nginx.pid; error_log stderr;\nevents {{}}\nhttp {{\n\
         access_log {root}/nginx-access.log; client_body_temp_path {root}/nginx-body; proxy_temp_path {root}/nginx-proxy;\n\
         fastcgi_temp_path {root}/nginx-fastcgi; uwsgi_temp_path {root}/nginx-uwsgi; scgi_temp_path {root}/nginx-scgi;\n\
         ssl_certificate {}; ssl_certificate_key {};\n\
         server {{ listen {web}:443 ssl http2; listen {web}:80; root {root}/www; }}\n\
         server {{ listen {tokens}:443 ssl; ssl_client_certificate {}; ssl_verify_client optional;\n\
         location / {{ proxy_set_header X-Client $ssl_client_verify; proxy_pass http://{tokens}:8080; }} }}\n\
         server {{ listen {plain}:443 ssl; return 404; }}\n\
         server {{ listen {moved}:443 ssl; location = /v2/ {{ return 200 '{{}}'; }}\n\
         location ~ ^/v2/os/node/[a-z]+/sha256:(.*) {{ return 307 http://web.example/node/blobs/sha256/$1; }} }}\n}}\n",
        certificate.display(),
        key.display(),
        ca.display()
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, text).context("writing nginx.conf")?;
    Daemon::start(dir, "web", "nginx", &["-c", &path.display().to_string()])
}

fn tinyproxy(dir: &Path) -> Result<Daemon> {
    let listen = address("proxy.example")?;
    let (user, password) = PROXY_USER.split_once(':').context("splitting the proxy's user")?;
    let text = format!(
        "Port 3128\nListen {listen}\nBind {PROXY_SOURCE}\nTimeout 60\nMaxClients 50\nLogLevel Connect\n\
         BasicAuth {user} {password}\nConnectPort 443\nConnectPort 5000\n"
    );
    let path = dir.join("tinyproxy.conf");
    fs::write(&path, text).context("writing tinyproxy.conf")?;
    Daemon::start(dir, "proxy", "tinyproxy", &["-d", "-c", &path.display().to_string()])
}
