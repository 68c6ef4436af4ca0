//! `metrics`: ours.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::Value;

use super::section::Section;

/// `metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Where those who watch this node find it; none for nowhere.
    pub listen: Option<Listen>,
}

/// A place that only programs of this machine can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address.
    Address(SocketAddr),
    /// The path of a UNIX socket, relative to the home unless it is absolute.
    Socket(PathBuf),
}

impl Metrics {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let what = "\"127.0.0.1:PORT\" or \"[::1]:PORT\" (a loopback address, as there is no encryption and no login), the \
                    path of a UNIX socket, or \"\" for nowhere";
        let listen = section.convert("listen", what, |value| match value {
            Value::Null => Some(None),
            Value::String(text) if text.is_empty() => Some(None),
            Value::String(text) => place(text).map(Some),
            _ => None,
        });
        section.finish();
        Self { listen: listen.flatten() }
    }
}

fn place(text: &str) -> Option<Listen> {
    if text.contains('/') && !text.ends_with('/') && !text.contains('\0') {
        return Some(Listen::Socket(text.into()));
    }
    let address: SocketAddr = text.parse().ok()?;
    (address.ip().is_loopback() && address.port() > 0).then_some(Listen::Address(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_served() {
        assert_eq!(place("127.0.0.1:9100"), Some(Listen::Address(([127, 0, 0, 1], 9100).into())));
        assert!(matches!(place("[::1]:9100"), Some(Listen::Address(_))));
        assert_eq!(place("/run/x.sock"), Some(Listen::Socket("/run/x.sock".into())));
        assert_eq!(place("queue/sockets/x"), Some(Listen::Socket("queue/sockets/x".into())));
        for bad in
            ["0.0.0.0:9100", "10.0.0.1:1", "[::]:1", "localhost:9100", "127.0.0.1", "127.0.0.1:0", "9100", "x", "/a/"]
        {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
