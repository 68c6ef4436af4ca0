//! A relay between a worker and its master that counts the bytes of both directions.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Counts what passes; its threads end with the connections.
pub struct Proxy {
    /// Where the worker connects.
    pub port: u16,
    to_master: Arc<AtomicU64>,
    to_worker: Arc<AtomicU64>,
}

impl Proxy {
    /// Relays to the master at `port` of this machine.
    pub fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { port: listener.local_addr()?.port(), to_master: Arc::default(), to_worker: Arc::default() };
        let (up, down) = (proxy.to_master.clone(), proxy.to_worker.clone());
        thread::spawn(move || {
            for worker in listener.incoming().flatten() {
                // A worker whose master cannot be reached sees its connection closed, and tries again.
                let Ok(master) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let clones = (worker.try_clone(), master.try_clone());
                let (Ok(worker_too), Ok(master_too)) = clones else { continue };
                let (up, down) = (up.clone(), down.clone());
                thread::spawn(move || relay(worker, master, &up));
                thread::spawn(move || relay(master_too, worker_too, &down));
            }
        });
        Ok(proxy)
    }

    /// Bytes so far: to the master, and to the worker.
    pub fn bytes(&self) -> (u64, u64) {
        (self.to_master.load(Ordering::Relaxed), self.to_worker.load(Ordering::Relaxed))
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        count.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Either end is over for both.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
