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

/// A network namespace.
pub struct Machine(File);

/// The machines that were asked for, each with the interface `eth0`, and one more between them, which has the bridge.
pub struct Lan {
    pub middle: Machine,
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
    /// With these addresses of one network of 256. An error where this machine does not permit it.
    pub fn new(middle: Ipv4Addr, machines: &[Ipv4Addr]) -> io::Result<Self> {
        let lan = Self { middle: Machine::new()?, machines: vec![] };
        lan.middle.ip("link add bridge type bridge")?;
        lan.middle.ip(&format!("address add {middle}/24 dev bridge"))?;
        lan.middle.ip("link set bridge up")?;
        machines.iter().enumerate().try_fold(lan, |mut lan, (at, address)| {
            let machine = Machine::new()?;
            let there = format!("/proc/{}/fd/{}", id(), machine.0.as_raw_fd());
            lan.middle.ip(&format!("link add port{at} type veth peer name eth0 netns {there}"))?;
            lan.middle.ip(&format!("link set port{at} master bridge up"))?;
            machine.ip(&format!("address add {address}/24 dev eth0"))?;
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
