//! Machines on one wire: network namespaces of this test, joined by a bridge.
//!
//! They have no names, so nothing has to be removed: each ends with the last process in it, and with the test.

use std::{
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    process::{Command, id},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use crate::support::Address;

/// The machine in the middle of the tests: etcd is there, and who is no candidate.
pub const MIDDLE: Address = Address(Ipv4Addr::new(192, 0, 2, 1));

/// The two others, the candidates; as in the sample for keepalived.
pub const CANDIDATES: [Address; 2] = [Address(Ipv4Addr::new(192, 0, 2, 11)), Address(Ipv4Addr::new(192, 0, 2, 12))];

/// A network namespace.
pub struct Machine(File);

/// Machines, each with the interface `eth0`, and one more between them, which has the bridge.
pub struct Lan {
    /// Has [`MIDDLE`].
    pub middle: Machine,
    /// Have [`CANDIDATES`].
    pub machines: Vec<Machine>,
}

impl Machine {
    /// With nothing but a loopback interface.
    fn new() -> io::Result<Self> {
        // A thread that ends at once is the only one in it.
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let machine = Self(made.join().unwrap()?);
        machine.ip("link set lo up")?;
        Ok(machine)
    }

    /// Does something there. Sockets that it opens and programs that it starts stay there.
    pub fn on<T>(&self, act: impl FnOnce() -> T) -> T {
        /// Leads the thread back, also from a panic.
        struct Back(File);
        impl Drop for Back {
            fn drop(&mut self) {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            }
        }
        let _back = Back(File::open("/proc/thread-self/ns/net").unwrap());
        setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
        act()
    }

    /// Runs `ip` with these words.
    fn ip(&self, words: &str) -> io::Result<()> {
        let output = self.on(|| Command::new("ip").args(words.split(' ')).output())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(io::Error::other(format!("ip {words}: {said}"))) }
    }
}

impl Lan {
    /// With [`MIDDLE`] and [`CANDIDATES`]. An error where this machine does not permit it.
    pub fn new() -> io::Result<Self> {
        let lan = Self { middle: Machine::new()?, machines: vec![] };
        lan.middle.ip("link add bridge type bridge")?;
        lan.middle.ip(&format!("address add {}/24 dev bridge", MIDDLE.0))?;
        lan.middle.ip("link set bridge up")?;
        CANDIDATES.iter().enumerate().try_fold(lan, |mut lan, (at, address)| {
            let machine = Machine::new()?;
            let there = format!("/proc/{}/fd/{}", id(), machine.0.as_raw_fd());
            lan.middle.ip(&format!("link add port{at} type veth peer name eth0 netns {there}"))?;
            lan.middle.ip(&format!("link set port{at} master bridge up"))?;
            machine.ip(&format!("address add {}/24 dev eth0", address.0))?;
            machine.ip("link set eth0 up")?;
            lan.machines.push(machine);
            Ok(lan)
        })
    }

    /// Pulls the wire out of a machine.
    pub fn pull(&self, at: usize) {
        self.middle.ip(&format!("link set port{at} down")).unwrap();
    }

    /// Puts it in again.
    pub fn plug(&self, at: usize) {
        self.middle.ip(&format!("link set port{at} up")).unwrap();
    }
}
