//! Strangers at the master's port.

use std::{
    io::Write,
    net::TcpStream,
    thread::{JoinHandle, sleep, spawn},
    time::Duration,
};

use crate::{random::Random, support::Address};

/// Connections that say nothing, or something that is no hello, and then close.
pub fn flood(address: Address, connections: usize, lasting: Duration, mut random: Random) -> JoinHandle<()> {
    spawn(move || {
        let strangers: Vec<TcpStream> = (0..connections)
            .filter_map(|_| {
                // The master may be away.
                let mut stream = TcpStream::connect(address.socket()).ok()?;
                let noise: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
                stream.write_all(&noise).ok()?;
                Some(stream)
            })
            .collect();
        sleep(lasting);
        drop(strangers);
    })
}
