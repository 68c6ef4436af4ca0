//! Addresses of agents, in the one spelling that client.keys has (`spec/registration.md` 1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of an agent that may have any.
pub(super) const ANY: &str = "any";

/// Bits of the part that makes an IPv6 address one of IPv4.
const MAPPED: u8 = 96;

/// Where an agent may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// As the answer tells it.
    pub(super) told: String,
    /// As client.keys has it: without the prefix of a single address.
    pub(super) written: String,
}

impl Address {
    /// Understands `any`, an address, or an address and a prefix or, for IPv4, a netmask.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == ANY {
            return Some(Self { told: ANY.to_owned(), written: ANY.to_owned() });
        }
        let text = text.strip_prefix('!').unwrap_or(text);
        let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
        let (address, longest, prefix) = match address.parse().ok()? {
            IpAddr::V4(address) => (address.to_string(), 32, mask.map(mask_v4)),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => {
                    let prefix = |mask| number(mask, 128)?.checked_sub(MAPPED);
                    (mapped.to_string(), 32, mask.map(prefix))
                }
                None => (expanded(address), 128, mask.map(|mask| number(mask, 128))),
            },
        };
        let Some(prefix) = prefix else { return Some(Self { told: address.clone(), written: address }) };
        let prefix = prefix?;
        let told = format!("{address}/{prefix}");
        let written = if prefix == longest { address } else { told.clone() };
        Some(Self { told, written })
    }
}

/// The address of client.keys without its prefix.
pub(super) fn without_prefix(address: &str) -> &str {
    address.split('/').next().unwrap_or(address)
}

fn number(text: &str, most: u8) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= most)
}

fn mask_v4(text: &str) -> Option<u8> {
    number(text, 32).or_else(|| {
        let mask = u32::from(text.parse::<Ipv4Addr>().ok()?);
        (mask.leading_ones() + mask.trailing_zeros() >= 32).then_some(mask.leading_ones() as u8)
    })
}

fn expanded(address: Ipv6Addr) -> String {
    address.segments().map(|segment| format!("{segment:04X}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_has_one_spelling() {
        for (text, told, written) in [
            ("any", "any", "any"),
            ("192.0.0.0", "192.0.0.0", "192.0.0.0"),
            ("!10.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("10.10.10.10/0", "10.10.10.10/0", "10.10.10.10/0"),
            ("10.10.10.1/24", "10.10.10.1/24", "10.10.10.1/24"),
            ("10.10.10.1/32", "10.10.10.1/32", "10.10.10.1"),
            ("10.0.0.0/255.0.0.0", "10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/0.0.0.0", "10.0.0.0/0", "10.0.0.0/0"),
            ("10.0.0.0/255.255.255.255", "10.0.0.0/32", "10.0.0.0"),
            ("2001:db8:0:b::1A", "2001:0DB8:0000:000B:0000:0000:0000:001A", "2001:0DB8:0000:000B:0000:0000:0000:001A"),
            ("::1/64", "0000:0000:0000:0000:0000:0000:0000:0001/64", "0000:0000:0000:0000:0000:0000:0000:0001/64"),
            ("::1/128", "0000:0000:0000:0000:0000:0000:0000:0001/128", "0000:0000:0000:0000:0000:0000:0000:0001"),
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.0/120", "10.1.2.0/24", "10.1.2.0/24"),
        ] {
            let expected = Address { told: told.to_owned(), written: written.to_owned() };
            assert_eq!(Address::parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "!",
            "Any",
            "10.10.10",
            "10.10.10.nn",
            "10.10.10.257",
            "999.9999.999.999",
            "10.10.10.1/55",
            "10.10.10.1/2{",
            "10.10.10.1/<",
            "10.10.10.1/",
            "10.10.10.1/+8",
            "10.10.10.1/8/8",
            "10.0.0.0/255.0.255.0",
            "10.0.0.0/ffff::",
            "::1/129",
            "::1/255.0.0.0",
            "::ffff:10.1.2.3/95",
            "fe80::1%eth0",
            "56FE::2159:5BBC::6594",
            "11AA:11AA:11AA:11AA:11AA:11AA:11AA:11AA:11AA",
            "02db:4660:46af:invalid:d05e:a62e:4ca7:8e58",
            " 10.0.0.1",
            "10.0.0.1\n",
        ] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_told_and_what_is_written_mean_the_same(bits in any::<u128>(), four in any::<bool>(), prefix in 0u8..=128) {
            let (address, longest) = match four {
                true => (Ipv4Addr::from(bits as u32).to_string(), 32),
                false => (Ipv6Addr::from(bits).to_string(), 128),
            };
            let prefix = prefix.min(longest);
            let parsed = Address::parse(&format!("{address}/{prefix}"));
            let mapped = !four && Ipv6Addr::from(bits).to_ipv4_mapped().is_some();
            prop_assert!(mapped || parsed.is_some());
            if let Some(parsed) = parsed {
                prop_assert_eq!(Address::parse(&parsed.told).unwrap(), parsed.clone());
                prop_assert_eq!(Address::parse(&parsed.written).unwrap().written, parsed.written.clone());
                prop_assert!(parsed.written.len() <= 43 && !parsed.written.contains(' '));
                prop_assert!(without_prefix(&parsed.told).parse::<IpAddr>().is_ok());
            }
        }

        #[test]
        fn no_text_panics(text in "[!0-9a-f:./]{0,50}|\\PC{0,20}") {
            let _ = Address::parse(&text);
        }
    }
}
