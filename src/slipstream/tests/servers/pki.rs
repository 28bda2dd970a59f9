// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A private CA and what it signs, made by the program openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::programs::output;

use crate::place::HOSTS;

/// Keys and certificates, as PEM files.
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Make the CA, a server's and a client's certificate, and a second CA that signed nothing.
    pub fn make(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).context("creating a directory")?;
        let pki = Self { dir: dir.to_owned() };
        pki.authority("ca")?;
        pki.authority("other")?;
        // Each by its name: a wildcard directly below a top-level domain is not believed.
        let names: Vec<_> = HOSTS.iter().map(|(name, _)| format!("DNS:{name}")).collect();
        pki.issue("server", &format!("subjectAltName={}\nextendedKeyUsage=serverAuth\n", names.join(",")))?;
        pki.issue("client", "extendedKeyUsage=clientAuth\n")?;
        pki.issue("signer", "keyUsage=digitalSignature\n")?;
        Ok(pki)
    }

    fn authority(&self, name: &str) -> Result<()> {
        let subject = format!("/CN={name}.example");
        let mut command = self.request(name, &subject);
        output(
            command
                .args(["-x509", "-days", "2", "-addext", "keyUsage=critical,keyCertSign", "-out"])
                .arg(self.pem(name)),
        )?;
        Ok(())
    }

    fn issue(&self, name: &str, extensions: &str) -> Result<()> {
        let (request, extra) = (self.dir.join(format!("{name}.csr")), self.dir.join(format!("{name}.ext")));
        output(self.request(name, &format!("/CN={name}")).arg("-out").arg(&request))?;
        fs::write(&extra, extensions).context("writing extensions")?;
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", "2", "-in"]).arg(request).arg("-extfile").arg(extra);
        output(sign.arg("-CA").arg(self.pem("ca")).arg("-CAkey").arg(self.key("ca")).arg("-out").arg(self.pem(name)))?;
        Ok(())
    }

    fn request(&self, name: &str, subject: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(["req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout"]).arg(self.key(name));
        command
    }

    /// The path of a certificate.
    pub fn pem(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.pem"))
    }

    /// The path of a key.
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// The text of a certificate.
    pub fn text(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.pem(name)).context("reading a certificate")
    }

    /// The text of a key.
    pub fn key_text(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.key(name)).context("reading a key")
    }
}
