//! Where a member of etcd serves its clients.

use std::{fmt, net::IpAddr, str::FromStr};

/// The longest host, in bytes: that of a name in the DNS.
const LONGEST: usize = 253;

/// `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// A name or an address; one of IPv6 is without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A text is no such URL. A person is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write http://HOST:PORT or https://HOST:PORT, with nothing behind it")]
pub struct NoUrl;

impl Url {
    /// Whether what is sent there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// For the header `Host`.
    pub(super) fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{open}{}{close}:{}", self.host, self.port)
    }
}

impl FromStr for Url {
    type Err = NoUrl;

    fn from_str(text: &str) -> Result<Self, NoUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(NoUrl)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(NoUrl),
        };
        let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':').ok_or(NoUrl)?;
        let port =
            Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())).and_then(|port| port.parse().ok());
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_right = match bracketed {
            Some(address) => address.parse().is_ok_and(|address: IpAddr| address.is_ipv6()),
            None => is_name(host),
        };
        let port = port.filter(|port| is_right && *port > 0).ok_or(NoUrl)?;
        Ok(Self { tls, host: bracketed.unwrap_or(host).to_owned(), port })
    }
}

fn is_name(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST).contains(&host.len()) && host.bytes().all(is_part)
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.tls { "s" } else { "" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_of_members_are_read_and_others_refused() {
        for text in ["http://10.0.0.1:2379", "https://etcd-1.example:2379", "http://[::1]:2379"] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
        assert_eq!("http://a:1/".parse::<Url>().unwrap().to_string(), "http://a:1");
        let bad = [
            "",
            "a:2379",
            "http://a",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "ftp://a:1",
            "http://:1",
            "http://u:p@a:1",
            "http://a:1/v3",
            "http://a b:1",
            "http://::1:2379",
            "http://[10.0.0.1]:1",
            "http://a\r\n:1",
            "HTTP://a:1",
            "http://a:1//",
        ];
        for text in bad {
            assert_eq!(text.parse::<Url>(), Err(NoUrl), "{text}");
        }
        assert!("http://127.0.0.2:1".parse::<Url>().unwrap().is_loopback());
        assert!("http://[::1]:1".parse::<Url>().unwrap().is_loopback());
        assert!(!"http://10.0.0.1:1".parse::<Url>().unwrap().is_loopback());
    }

    proptest! {
        #[test]
        fn what_is_read_can_be_written_and_read(text in "https?://[a-z0-9.:\\[\\]@-]{0,20}(:[0-9]{1,6})?/?") {
            if let Ok(url) = text.parse::<Url>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }
}
