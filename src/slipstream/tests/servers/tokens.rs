// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A token server: it looks at a password and signs tokens that docker-registry believes
//! (distribution.github.io/distribution/spec/auth/jwt). nginx does TLS for it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use testkit::programs::output;

use crate::pki::Pki;

/// The names that registry and token server have for each other.
pub const ISSUER: &str = "tokens.example";
pub const SERVICE: &str = "token.example";
/// The only user: `puller`, `open sesame`.
pub const BASIC: &str = "cHVsbGVyOm9wZW4gc2VzYW1l";

/// The request lines, with `+` before those that were granted, and what nginx says of the client's certificate behind them.
pub type Journal = Arc<Mutex<Vec<String>>>;

/// Serve, in a thread that ends with the test.
pub fn serve(address: &str, pki: &Pki, work: PathBuf) -> Result<Journal> {
    let listener = TcpListener::bind((address, 8080)).context("listening for token requests")?;
    let journal = Journal::default();
    // Of a certificate in PEM, what is between the lines is the base64 of its DER.
    let chain: String = pki.text("signer")?.lines().filter(|line| !line.starts_with('-')).collect();
    let signer = Signer { key: pki.key("signer"), chain, work };
    let seen = Arc::clone(&journal);
    thread::spawn(move || {
        for stream in listener.incoming() {
            if let Err(error) = stream.context("accepting").and_then(|stream| answer(stream, &signer, &seen)) {
                eprintln!("token server: {error:#}");
            }
        }
    });
    Ok(journal)
}

fn answer(mut stream: TcpStream, signer: &Signer, journal: &Journal) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone().context("sharing a stream")?).lines();
    let request = lines.next().context("reading a request")??;
    let (mut granted, mut client) = (false, "unknown".to_owned());
    for line in lines {
        let line = line.context("reading a header")?;
        granted |= line.eq_ignore_ascii_case(&format!("authorization: basic {BASIC}"));
        if let Some(verdict) = line.strip_prefix("X-Client: ") {
            verdict.clone_into(&mut client);
        }
        if line.is_empty() {
            break;
        }
    }
    let right = request.starts_with("GET /token?") && request.contains(&format!("service={SERVICE}"));
    let (status, body) = match granted && right {
        true => ("200 OK", format!("{{\"token\":\"{}\",\"expires_in\":300}}", signer.token()?)),
        false => ("401 Unauthorized", "{}".to_owned()),
    };
    let mark = if granted { "+" } else { "" };
    journal.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{mark}{request} client={client}"));
    let head = "Content-Type: application/json\r\nWWW-Authenticate: Basic realm=\"tokens\"\r\nConnection: close";
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").context("answering")
}

struct Signer {
    key: PathBuf,
    chain: String,
    work: PathBuf,
}

impl Signer {
    /// A token for pulling os/node.
    fn token(&self) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
        let head = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{}"]}}"#, self.chain);
        let claims = format!(
            r#"{{"iss":"{ISSUER}","sub":"puller","aud":"{SERVICE}","exp":{},"nbf":{},"iat":{now},"jti":"1","access":[{{"type":"repository","name":"os/node","actions":["pull"]}}]}}"#,
            now + 300,
            now - 10
        );
        let signed = format!("{}.{}", base64url(head.as_bytes()), base64url(claims.as_bytes()));
        let path = self.work.join("claims");
        fs::write(&path, &signed).context("writing claims")?;
        let signature = output(Command::new("openssl").args(["dgst", "-sha256", "-sign"]).arg(&self.key).arg(&path))?;
        Ok(format!("{signed}.{}", base64url(&signature)))
    }
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).for_each(|n| text.push(char::from(DIGITS[(bits >> (18 - 6 * n)) as usize & 63])));
    }
    text
}
