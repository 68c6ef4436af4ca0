//! The service manager that started this process, as far as it wants to be told: `sd_notify(3)`, one datagram for each
//! fact, without its library.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            fs::MetadataExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// Who is told. Where no service manager listens, nothing is sent.
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub fn of_this_process() -> Self {
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let for_another = number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|period| *period > 0 && !for_another);
        Self::new(env::var_os("NOTIFY_SOCKET"), watchdog.map(Duration::from_micros))
    }

    fn new(name: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let socket = name.and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                [b'/', ..] => SocketAddr::from_pathname(name),
                _ => return None,
            };
            let socket = UnixDatagram::unbound().ok()?;
            // It is never waited for: the node goes on whether or not somebody reads.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address.ok()?))
        });
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// Whether anybody listens.
    pub fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// After this time without [`ServiceManager::alive`] it takes the process for hung.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The node serves, or serves again after [`ServiceManager::reloading`].
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// One line for people, shown by `systemctl status`.
    pub fn status(&self, text: &str) {
        self.tell(&format!("STATUS={}", text.replace(char::is_control, " ")));
    }

    /// The process is not hung.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// What can be changed while the node runs is being read again.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// The node has begun to stop.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, fact: &str) {
        if let Some((socket, address)) = &self.socket {
            // A service manager that is gone, or does not read, has no right to stop the node.
            let _ = socket.send_to_addr(fact.as_bytes(), address);
        }
    }
}

/// Whether standard error of this process is the journal, which takes `<N>` at the beginning of a line for its priority
/// (`sd-daemon(3)`).
pub fn stderr_is_journal() -> bool {
    let Some(stream) = env::var_os("JOURNAL_STREAM") else { return false };
    let about = || File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok();
    about().is_some_and(|about| stream.to_str() == Some(&format!("{}:{}", about.dev(), about.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn sockets_with_a_path_and_without_one_are_told_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("wazuh-clusterd test {}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
        ] {
            let manager = ServiceManager::new(Some(name), Some(Duration::from_secs(3)));
            assert!(manager.listens() && manager.watchdog() == Some(Duration::from_secs(3)));
            manager.ready();
            assert_eq!(heard(&socket), "READY=1");
            manager.status("two\nlines");
            assert_eq!(heard(&socket), "STATUS=two lines");
            manager.alive();
            assert_eq!(heard(&socket), "WATCHDOG=1");
            manager.reloading();
            let text = heard(&socket);
            let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(time.parse::<u64>().unwrap() > 0, "{text}");
            manager.stopping();
            assert_eq!(heard(&socket), "STOPPING=1");
        }
    }

    #[test]
    fn nobody_and_somebody_gone_are_nobody() {
        for name in [None, Some("".into()), Some("relative".into()), Some("/a\0b".into())] {
            let manager = ServiceManager::new(name, Some(Duration::from_secs(3)));
            assert!(!manager.listens() && manager.watchdog().is_none());
            manager.ready();
        }
        let gone = ServiceManager::new(Some("/nonexistent/notify".into()), None);
        gone.ready();
    }

    #[test]
    fn one_that_does_not_read_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::new(Some(path.into_os_string()), None);
        (0..10_000).for_each(|_| manager.alive());
    }
}
