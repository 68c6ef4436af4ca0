//! Client of the stock enrolment daemon, `wazuh-authd` (`spec/registration.md` 2).

use std::time::Duration;

use super::{Backend, Begun};
use crate::{config::Home, sockets::Endpoint, system::shutdown::Shutdown};

/// It serves one program after the other, so an answer may take as long as those of all who came before.
const LIMIT: Duration = Duration::from_secs(30);

/// The enrolment daemon that runs beside this one.
pub(super) struct Authd {
    socket: Endpoint,
    limit: Duration,
}

impl Authd {
    pub(super) fn new(home: &Home, order: &Shutdown) -> Self {
        Self { socket: Endpoint::new("wazuh-authd", home.registration_socket(), order.clone()), limit: LIMIT }
    }
}

impl Backend for Authd {
    fn begin(&self, request: &[u8]) -> Begun<'_> {
        // It takes one request on each connection.
        let request = request.to_vec();
        Box::new(move || self.socket.ask(&request, self.limit))
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixListener, time::Instant};

    use super::*;
    use crate::{sockets::frame, system::shutdown};

    #[test]
    fn a_daemon_that_is_away_dies_or_hangs_costs_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        std::fs::create_dir_all(folder.path().join("queue/sockets")).unwrap();
        let (_trigger, order) = shutdown::channel();
        let authd = Authd { limit: Duration::from_millis(300), ..Authd::new(&home, &order) };
        let refused = |text: &str, sent: bool| {
            let failed = authd.begin(b"{}")().unwrap_err();
            assert!(failed.to_string().contains(text) && failed.sent == sent, "{failed:?}");
        };
        refused("does not exist; start wazuh-authd", false);
        let listener = UnixListener::bind(home.registration_socket()).unwrap();
        std::thread::scope(|scope| {
            let served = scope.spawn(|| {
                // One that answers, one that dies in the middle, one that hangs.
                let (mut stream, _) = listener.accept().unwrap();
                let request = frame::read(&mut stream, |_| ()).unwrap().unwrap();
                frame::write(&mut stream, &[b"ok ", &request[..]].concat()).unwrap();
                let (mut stream, _) = listener.accept().unwrap();
                frame::read(&mut stream, |_| ()).unwrap();
                drop(stream);
                let (mut stream, _) = listener.accept().unwrap();
                let mut rest = Vec::new();
                // Until the other side has given up.
                stream.read_to_end(&mut rest).unwrap();
            });
            assert_eq!(authd.begin(b"{}")().unwrap(), b"ok {}");
            refused("closed the connection", true);
            let begun = Instant::now();
            refused("did not answer", true);
            assert!(begun.elapsed() < Duration::from_secs(10));
            served.join().unwrap();
        });
        drop(listener);
        refused("no program listens at", false);
    }
}
