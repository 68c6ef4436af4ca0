//! What may stand where an address is expected.

use std::net::IpAddr;

/// Whether `text` is an IP address (IPv6 with or without a zone) or has the form of a host name. Underscores are let
/// pass: container networks have such names, and resolvers take them.
pub(super) fn is_address(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    match address.parse::<IpAddr>() {
        Ok(address) => zone.is_none_or(|zone| address.is_ipv6() && !zone.is_empty()),
        Err(_) => zone.is_none() && is_host_name(text),
    }
}

fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last part is a number is a mistyped IPv4 address.
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label) && !numeric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        let good =
            "0.0.0.0 127.0.0.1 :: ::1 fe80::1%eth0 2001:db8::7 localhost wazuh.master manager-0.cluster.svc. a_b";
        for text in good.split(' ') {
            assert!(is_address(text), "{text}");
        }
        let bad = [
            "",
            ".",
            "256.1.1.1",
            "1.2.3",
            "10.0.0.1:1516",
            "[::]",
            "a b",
            "-a",
            "a..b",
            "10.0.0.1%eth0",
            "::1%",
            "ü",
            "a/b",
            "tcp://a",
        ];
        for text in bad.into_iter().chain([["a"; 64].concat().as_str()]) {
            assert!(!is_address(text), "{text}");
        }
    }
}
