// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The proxies of the machine. The process's own environment says nothing: systemd starts us without one.

use anyhow::{Context, Result, ensure};
use contract::files::Files;

use crate::containers::text::read_text;
use crate::http::Proxy;

/// Where the MCO writes the cluster's proxies; CRI-O, the kubelet and rpm-ostree read it as a systemd EnvironmentFile.
const PATH: &str = "/etc/mco/proxy.env";
/// Longest value. NO_PROXY of a cluster has some hundred bytes.
const MAX_VALUE: usize = 64 << 10;

/// Read the file, if it is there.
pub(super) fn load(files: &dyn Files) -> Result<Proxy> {
    match read_text(files, PATH)? {
        Some(text) => parse(&text).with_context(|| format!("reading {PATH}")),
        None => Ok(Proxy::default()),
    }
}

/// Parse lines of NAME=VALUE (systemd.exec(5), EnvironmentFile=). Names in capitals win, as in Go. Other variables are
/// no business of ours.
pub(crate) fn parse(text: &str) -> Result<Proxy> {
    let mut found = Proxy::default();
    let mut no_proxy = None;
    // Capitals last, so that they stay.
    for capitals in [false, true] {
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let (name, value) = line.split_once('=').with_context(|| format!("line {} is not NAME=VALUE", n + 1))?;
            let name = name.trim();
            let spelled = if capitals { name.to_owned() } else { name.to_ascii_uppercase() };
            let slot = match spelled.as_str() {
                "HTTP_PROXY" => &mut found.http,
                "HTTPS_PROXY" => &mut found.https,
                "NO_PROXY" => &mut no_proxy,
                _ => continue,
            };
            let value = unquote(value.trim());
            let plain = value.len() <= MAX_VALUE && !value.chars().any(|c| c.is_control());
            ensure!(plain, "{name} is longer than {MAX_VALUE} bytes, or has control characters");
            *slot = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
    }
    found.no_proxy = no_proxy.unwrap_or_default();
    Ok(found)
}

fn unquote(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_environment_file() {
        for (label, text, expected) in [
            ("empty", "", Ok(("", "", ""))),
            (
                "the MCO's",
                "# Proxy environment variables\nHTTP_PROXY=http://p:3128\nHTTPS_PROXY=https://u:hush@p\nNO_PROXY=.local,10.0.0.0/8\n",
                Ok(("http://p:3128", "https://u:hush@p", ".local,10.0.0.0/8")),
            ),
            ("small letters", "http_proxy=a\nhttps_proxy = b\nno_proxy=c\n", Ok(("a", "b", "c"))),
            ("capitals win", "HTTP_PROXY=big\nhttp_proxy=small\n", Ok(("big", "", ""))),
            ("capitals win from below", "http_proxy=small\nHTTP_PROXY=big\n", Ok(("big", "", ""))),
            ("the last one wins", "HTTP_PROXY=one\nHTTP_PROXY=two\n", Ok(("two", "", ""))),
            ("quotes", "HTTP_PROXY=\"a b\"\nHTTPS_PROXY='c'\nNO_PROXY=\"\n", Ok(("a b", "c", "\""))),
            ("others", "; no\nPATH=/bin\nALL_PROXY=x\n", Ok(("", "", ""))),
            ("no value", "HTTP_PROXY=\n", Ok(("", "", ""))),
            ("no equals sign", "HTTP_PROXY=a\nhush\n", Err("line 2 is not NAME=VALUE")),
            (
                "control character",
                "HTTP_PROXY=hush\u{1}b\n",
                Err("HTTP_PROXY is longer than 65536 bytes, or has control"),
            ),
        ] {
            match (parse(text), expected) {
                (Ok(got), Ok((http, https, no_proxy))) => {
                    let got = (got.http.unwrap_or_default(), got.https.unwrap_or_default(), got.no_proxy);
                    assert_eq!(got, (http.into(), https.into(), no_proxy.into()), "{label}");
                }
                (Err(error), Err(text)) => {
                    let error = error.to_string();
                    assert!(error.contains(text) && !error.contains("hush"), "{label}: {error}");
                }
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }
}
