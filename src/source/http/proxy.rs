// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Proxies. They are given, never taken from the environment of the process; NO_PROXY is read as Go does it, because
//! that is what everything else on an OpenShift node does (golang.org/x/net/http/httpproxy).

use std::fmt;
use std::net::IpAddr;

use contract::names::{Scheme, Url};

/// What HTTP_PROXY, HTTPS_PROXY and NO_PROXY say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxy {
    /// For `http://`: `[scheme://][user:password@]host[:port]`.
    pub http: Option<String>,
    /// For `https://`.
    pub https: Option<String>,
    /// Hosts that are reached directly, separated by commas.
    pub no_proxy: String,
}

impl Proxy {
    /// The proxy on the way to `url`.
    pub(super) fn of(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme() {
            Scheme::Http => self.http.as_deref(),
            Scheme::Https => self.https.as_deref(),
        };
        proxy.filter(|proxy| !proxy.is_empty() && !is_direct(&self.no_proxy, url.host(), url.port()))
    }
}

/// A proxy's URL may have a password in it.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |proxy: &Option<String>| proxy.as_ref().map(|proxy| without_password(proxy).to_owned());
        f.debug_struct("Proxy")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// What may be shown of a proxy's URL.
pub(super) fn without_password(proxy: &str) -> &str {
    proxy.rsplit_once('@').map_or(proxy, |(_, host)| host)
}

/// Whether `host` is reached without a proxy.
fn is_direct(no_proxy: &str, host: &str, port: u16) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = entry.split_once('/') {
            return matches_network(network, bits, address);
        }
        let (name, wanted) = split_port(&entry);
        if wanted.is_some_and(|wanted| wanted.parse() != Ok(port)) {
            return false;
        }
        if let Ok(wanted) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            return address == Some(wanted);
        }
        // Go knows a star before a dot, and no other.
        let name = name.strip_prefix('*').filter(|name| name.starts_with('.')).unwrap_or(name);
        match name.strip_prefix('.') {
            Some(domain) => is_below(host, domain),
            None => host == name || is_below(host, name),
        }
    })
}

/// An IPv6 address has colons of its own.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (entry, None),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    !domain.is_empty() && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn matches_network(network: &str, bits: &str, address: Option<IpAddr>) -> bool {
    let (Ok(network), Ok(bits), Some(address)) = (network.parse::<IpAddr>(), bits.parse::<u32>(), address) else {
        return false;
    };
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32_u32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((network, width), (address, other)) = (number(network), number(address));
    let Some(shift) = width.checked_sub(bits).filter(|_| width == other) else { return false };
    // All of the number shifted out: everything matches.
    network.checked_shr(shift).unwrap_or_default() == address.checked_shr(shift).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_as_go_reads_it() {
        for (no_proxy, host, direct) in [
            ("", "quay.io", false),
            ("", "localhost", true),
            ("", "127.0.0.9", true),
            ("", "::1", true),
            ("*", "quay.io", true),
            ("quay.io", "quay.io", true),
            ("QUAY.io", "quay.io", true),
            ("quay.io", "cdn.quay.io", true),
            ("quay.io", "notquay.io", false),
            (".quay.io", "quay.io", false),
            (".quay.io", "cdn.quay.io", true),
            ("*.quay.io", "cdn.quay.io", true),
            ("*.quay.io", "quay.io", false),
            ("*quay.io", "quay.io", false),
            ("*quay.io", "cdn.quay.io", false),
            ("a, b ,quay.io", "quay.io", true),
            ("quay.io:443", "quay.io", true),
            ("quay.io:5000", "quay.io", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "quay.io", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("::/0", "11.1.2.3", false),
            ("::/0", "fd00::1", true),
            ("fd00::/16", "fd00::1", true),
            ("fd00::/16", "fe00::1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:443", "10.1.2.3", true),
            ("[fd00::1]:443", "fd00::1", true),
            ("fd00::1", "fd00::1", true),
            (",,/,", "quay.io", false),
        ] {
            assert_eq!(is_direct(no_proxy, host, 443), direct, "{no_proxy:?} {host}");
        }
    }

    #[test]
    fn each_scheme_has_its_proxy_and_passwords_are_not_printed() {
        let proxy = Proxy {
            http: Some("http://user:hush@proxy:3128".to_owned()),
            https: Some("secure:3128".to_owned()),
            no_proxy: "quay.io".to_owned(),
        };
        for (url, expected) in [
            ("http://a.example/", proxy.http.as_deref()),
            ("https://a.example/", Some("secure:3128")),
            ("https://quay.io/", None),
        ] {
            assert_eq!(proxy.of(&Url::parse(url).unwrap()), expected, "{url}");
        }
        let shown = format!("{proxy:?}");
        assert!(shown.contains("proxy:3128") && !shown.contains("hush") && !shown.contains("user"), "{shown}");
    }
}
