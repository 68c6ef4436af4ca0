//! One attempt to reach a master, and what to do when it fails.

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use crate::system::{own_address::is_own, shutdown::Shutdown, thread::spawn};

/// How long one address may take to accept a connection where nothing else is to be tried.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the master was not reached. Its text ends with what a person is to do.
#[derive(Debug)]
pub struct NotReached {
    host: String,
    port: u16,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// The name has no address.
    Unresolved(io::Error),
    /// The machine is there, and nobody listens at the port. Is that machine this one?
    Refused(io::Error, bool),
    /// No answer, or no way.
    Other(io::Error),
}

/// Tries the addresses of `host` in turn, each for `limit` at the most. It may take long, and cannot be called off.
///
/// # Errors
/// When none accepts a connection. The configuration may be at fault, the master, or the network between.
fn dial(host: &str, port: u16, limit: Duration) -> Result<(TcpStream, SocketAddr), NotReached> {
    let failed = |why| NotReached { host: host.to_owned(), port, why };
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
    let addresses = (host, port).to_socket_addrs().map_err(|error| failed(Why::Unresolved(error)))?;
    let mut last = Why::Unresolved(nowhere());
    for address in addresses {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok((stream, address)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                last = Why::Refused(error, is_own(&address.ip().to_string()) == Some(true));
            }
            Err(error) => last = Why::Other(error),
        }
    }
    Err(failed(last))
}

/// Connects to `host` on a thread that nobody joins: neither the resolution of a name nor a connection attempt can be called
/// off, and the order to stop is not to wait for them. An address that is silent is given up after `limit`.
///
/// # Errors
/// When no thread can be started; inside, why there is no connection.
pub fn reach(
    (host, port): (&str, u16),
    limit: Duration,
    order: &Shutdown,
) -> io::Result<Result<(TcpStream, SocketAddr), NotReached>> {
    let (done, result) = crossbeam_channel::bounded(1);
    let to = host.to_owned();
    drop(spawn("dial", move || done.send(dial(&to, port, limit)))?);
    let interrupted = || Err(NotReached::interrupted(host, port));
    Ok(crossbeam_channel::select! {
        recv(result) -> result => result.unwrap_or_else(|_| interrupted()),
        recv(order.channel()) -> _ => interrupted(),
    })
}

impl NotReached {
    /// Of an attempt that was called off.
    fn interrupted(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, why: Why::Other(io::ErrorKind::Interrupted.into()) }
    }
}

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, why } = self;
        match why {
            Why::Unresolved(error) => {
                write!(
                    f,
                    "cannot resolve the <node> '{host}': {error}; set <nodes> to an address of the master, or mend the name \
                     service"
                )
            }
            Why::Refused(error, own) => {
                write!(
                    f,
                    "{host}:{port}: {error}; start the master there, or set <nodes> and <port> to those of the master"
                )?;
                if *own {
                    // Two workers and no master, or a worker that looks for its master at home.
                    f.write_str(
                        "; that is this machine: if it is to be the master, write <node_type>master</node_type>",
                    )?;
                }
                Ok(())
            }
            Why::Other(error) => {
                write!(
                    f,
                    "{host}:{port}: {error}; check <nodes> and <port>, and firewalls between this node and the master"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(host: &str, port: u16) -> String {
        dial(host, port, CONNECT_TIMEOUT).expect_err("nobody is there").to_string()
    }

    /// As a machine without power: the queue of the listener is full, and the kernel answers nobody any more.
    #[test]
    fn a_silent_host_is_given_up() {
        use nix::sys::socket::{
            AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
        };
        use std::os::fd::AsRawFd;
        let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let port = getsockname::<SockaddrIn>(listener.as_raw_fd()).unwrap().port();
        let limit = Duration::from_millis(100);
        let mut taken = Vec::new();
        let silent = loop {
            match dial("127.0.0.1", port, limit) {
                Ok((stream, _)) => taken.push(stream),
                Err(silent) => break silent.to_string(),
            }
            assert!(taken.len() < 100);
        };
        assert!(silent.contains("timed out") && silent.contains("firewalls between"), "{silent}");
    }

    #[test]
    fn each_failure_names_what_is_to_be_done() {
        let unresolved = failure("no such name", 1516);
        assert!(unresolved.starts_with("cannot resolve the <node> 'no such name': "), "{unresolved}");
        assert!(
            unresolved.ends_with("; set <nodes> to an address of the master, or mend the name service"),
            "{unresolved}"
        );
        let refused = failure("127.0.0.1", 1);
        assert!(refused.starts_with("127.0.0.1:1: Connection refused "), "{refused}");
        assert!(
            refused
                .contains("; start the master there, or set <nodes> and <port> to those of the master; that is this"),
            "{refused}"
        );
        let other = NotReached::interrupted("m", 1516).to_string();
        assert!(
            other.starts_with("m:1516: ") && other.contains("; check <nodes> and <port>, and firewalls"),
            "{other}"
        );
    }
}
