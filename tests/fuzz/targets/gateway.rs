//! Answers of etcd: whatever a member says, calls and streams end, and none takes it for more than it is.

use std::{
    io::{Read, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use clusterd::{
    arbiter::{
        Arbiter, Claim, Folder, Key, MOST_ENTRIES, Master,
        etcd::{Etcd, Options, User},
    },
    system::shutdown,
};

/// The bytes are what a member says to each request.
pub fn body(bytes: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming().map(Result::unwrap).take_while(|_| !over.load(Ordering::Acquire)) {
                // A connection that the client keeps is over when the client is.
                scope.spawn(|| say(stream, bytes));
            }
        });
        let _end = End(&over, address);
        for user in [None, Some(User { name: "u".into(), password: "p".to_owned().into() })] {
            ask(&Options {
                cluster: "wazuh".into(),
                endpoints: vec![format!("http://{address}").parse().unwrap()],
                user,
                tls: None,
                ttl: Duration::from_secs(5),
            });
        }
    });
}

/// Ends the member, also after a panic.
struct End<'a>(&'a AtomicBool, SocketAddr);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        drop(TcpStream::connect(self.1));
    }
}

/// A client may have enough of it, and go.
fn say(mut stream: TcpStream, bytes: &[u8]) {
    let said = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let _ = said.and_then(|()| stream.read_to_end(&mut Vec::new()));
}

fn ask(options: &Options) {
    let (_trigger, order) = shutdown::channel();
    let etcd = Etcd::new(options, &order).unwrap();
    let master = Master { node: "m".into(), address: "m".into(), port: 1, since: 0, cluster: "k".into() };
    if let Ok(Claim::Won(mut guard)) = etcd.claim(7, &master) {
        assert_ne!(guard.term, 0);
        let _ = etcd.write(&mut guard, &[]);
    }
    if let Ok(reading) = etcd.read(&[Key::Master, Key::Switch]) {
        assert!(reading.entries.len() == 2 && reading.revision > 0);
        for entry in reading.entries.iter().flatten() {
            let _ = (entry.master(), entry.switch(), entry.sync(), entry.ids(), entry.node());
        }
    }
    let _ = (etcd.grant(Duration::from_secs(5)), etcd.renew(7), etcd.revoke(7));
    for folder in [Folder::Nodes, Folder::Registrations] {
        if let Ok(page) = etcd.list(folder, None) {
            assert!(page.entries.len() <= MOST_ENTRIES);
        }
    }
    if let Ok(mut changes) = etcd.changes(1) {
        // Each change is a line, and these end.
        while changes.wait(Duration::from_secs(60)).is_ok() {}
    }
}
