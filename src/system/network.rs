//! Networks of IP addresses, as people write them: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::{fmt, net::IpAddr, str::FromStr};

/// Bits of the part that makes an IPv6 address one of IPv4.
const MAPPED: u8 = 96;

/// All addresses with the same beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first of them.
    first: IpAddr,
    /// How many bits they have in common.
    prefix: u8,
}

/// Why a text is not a network. A person is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address, or not a prefix.
    #[error("write an address, or an address and the length of its prefix, like 10.0.0.0/8 or fd00::/8")]
    Form,
    /// An address in the network, and not its first one.
    #[error("write {0}, if you mean that network")]
    NotTheFirst(Network),
}

impl Network {
    /// Whether `address` is one of them; an IPv4 address in the form of IPv6 is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && cut(address, self.prefix) == self.first
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let written: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        let address = written.to_canonical();
        let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        let digits = |text: &&str| text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = match prefix {
            None => bits(address),
            Some(prefix) => {
                let prefix: u8 =
                    Some(prefix).filter(digits).and_then(|text| text.parse().ok()).ok_or(NetworkError::Form)?;
                // Of a mapped one the prefix counts the bits before it.
                let before = if written == address { 0 } else { MAPPED };
                prefix.checked_sub(before).filter(|prefix| *prefix <= bits(address)).ok_or(NetworkError::Form)?
            }
        };
        let network = Self { first: cut(address, prefix), prefix };
        if network.first == address { Ok(network) } else { Err(NetworkError::NotTheFirst(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The address with nothing but its first bits.
fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            IpAddr::from((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            IpAddr::from((v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).to_be_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Result<String, NetworkError> {
        text.parse().map(|network: Network| network.to_string())
    }

    #[test]
    fn what_people_write_is_understood_or_told() {
        for (text, meant) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(network(text).as_deref(), Ok(meant), "{text}");
        }
        for text in
            ["", "x", "10.0.0/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "::/1000", "::ffff:0.0.0.0/95"]
        {
            assert_eq!(network(text), Err(NetworkError::Form), "{text}");
        }
        let told = network("10.1.2.3/8").unwrap_err().to_string();
        assert_eq!(told, "write 10.0.0.0/8, if you mean that network");
    }

    #[test]
    fn an_address_is_in_its_network_whatever_its_form() {
        let is_in =
            |address: &str, network: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(is_in("10.255.0.1", "10.0.0.0/8") && is_in("::ffff:10.0.0.1", "10.0.0.0/8"));
        assert!(!is_in("11.0.0.1", "10.0.0.0/8") && !is_in("::1", "0.0.0.0/0") && !is_in("10.0.0.1", "::/0"));
        assert!(is_in("fd00::1", "fd00::/8") && !is_in("fe00::1", "fd00::/8"));
        assert!(is_in("10.0.0.7", "10.0.0.7") && !is_in("10.0.0.6", "10.0.0.7"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-f:./]{0,24}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert!(network.contains(network.first));
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
        }
    }
}
