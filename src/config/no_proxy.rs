//! `NO_PROXY`: who is reached without the proxy.

use std::net::{IpAddr, SocketAddr};

/// A list of hosts, domains, addresses and networks, between commas or blanks.
#[derive(Debug, Default)]
pub struct NoProxy(Vec<Rule>);

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// `*`
    All,
    /// A host, or a domain that it lies in, without the dots around; on one port or on all.
    Domain(String, Option<u16>),
    Address(IpAddr, Option<u16>),
    /// `10.0.0.0/8`
    Network(IpAddr, u32),
}

impl NoProxy {
    pub(super) fn of(list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        Self(entries.filter_map(Rule::of).collect())
    }

    /// Whether it names `host`, which is asked on `port`.
    pub fn names(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.');
        let address = host
            .parse()
            .ok()
            .map(|address: IpAddr| address.to_canonical());
        self.0.iter().any(|rule| match rule {
            Rule::All => true,
            Rule::Domain(domain, of) => {
                address.is_none() && is_within(host, domain) && (of.is_none() || *of == port)
            }
            Rule::Address(named, of) => address == Some(*named) && (of.is_none() || *of == port),
            Rule::Network(network, bits) => {
                address.is_some_and(|address| lies_in(address, *network, *bits))
            }
        })
    }
}

impl Rule {
    /// `None` where there is nothing in it.
    fn of(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((network, bits)) = entry.split_once('/')
            && let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse())
        {
            return Some(Self::Network(network, bits));
        }
        if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), None));
        }
        if let Ok(socket) = entry.parse::<SocketAddr>() {
            return Some(Self::Address(
                socket.ip().to_canonical(),
                Some(socket.port()),
            ));
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let name = name.strip_prefix('*').unwrap_or(name);
        let name = name.trim_start_matches('.').trim_end_matches('.');
        (!name.is_empty()).then(|| Self::Domain(name.to_ascii_lowercase(), port))
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host.strip_suffix(domain)
        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn lies_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_hosts_domains_addresses_and_networks() {
        for (list, host, port, expected) in [
            ("", "s3.amazonaws.com", 443, false),
            ("*", "s3.amazonaws.com", 443, true),
            ("amazonaws.com", "s3.amazonaws.com", 443, true),
            (".amazonaws.com", "s3.Amazonaws.com", 443, true),
            ("*.amazonaws.com", "s3.amazonaws.com", 443, true),
            ("aws.com", "s3.amazonaws.com", 443, false),
            (
                "example.org, S3.amazonaws.com",
                "s3.amazonaws.com",
                443,
                true,
            ),
            (
                "example.org s3.amazonaws.com",
                "s3.amazonaws.com",
                443,
                true,
            ),
            ("s3.amazonaws.com.evil", "s3.amazonaws.com", 443, false),
            ("amazonaws.com.", "s3.amazonaws.com", 443, true),
            ("amazonaws.com", "s3.amazonaws.com.", 443, true),
            ("minio.internal:9000", "minio.internal", 9000, true),
            ("minio.internal:9000", "minio.internal", 443, false),
            ("127.0.0.1", "127.0.0.1", 443, true),
            ("127.0.0.1:443", "127.0.0.1", 443, true),
            ("127.0.0.1:80", "127.0.0.1", 443, false),
            ("0.0.1", "127.0.0.1", 443, false),
            ("::1", "[::1]", 443, true),
            ("[::1]", "[::1]", 443, true),
            ("[::1]:443", "[::1]", 443, true),
            ("[::1]:80", "[::1]", 443, false),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("10.0.0.0/8", "10.example.org", 443, false),
            ("0.0.0.0/0", "10.1.2.3", 443, true),
            ("10.0.0.0/33", "10.0.0.0", 443, false),
            ("fd00::/8", "[fd12::1]", 443, true),
            ("fd00::/8", "[fe80::1]", 443, false),
            (" , . ,:,", "s3.amazonaws.com", 443, false),
        ] {
            let found = NoProxy::of(list).names(host, Some(port));
            assert_eq!(found, expected, "{list} {host}:{port}");
        }
    }
}
