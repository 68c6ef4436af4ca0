//! The nodes of a trial: their directories and their processes.

use std::{
    io::{self, Read, Write},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::PathBuf,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    proxy::Proxy,
    support::{Address, Daemon, Home, clusterd, until},
};

/// A node, which may be running or not.
pub struct Node {
    /// Its files.
    pub home: Home,
    daemon: Option<Daemon>,
}

/// A master, which is node 0, and its workers.
pub struct Cluster {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// One for each worker, if there is a network between the nodes.
    pub proxies: Vec<Proxy>,
}

impl Cluster {
    /// The homes of a master and of workers, with these settings. Nothing runs yet.
    pub fn new(workers: usize, network: bool, settings: &Value) -> Self {
        let master = Home::master();
        let there = master.address;
        let mut proxies = Vec::new();
        let mut nodes = vec![Node { home: master, daemon: None }];
        for number in 1..=workers {
            let mut address = there;
            if network {
                address = Address::new();
                proxies.push(Proxy::start(address.socket(), there.socket()));
            }
            nodes.push(Node { home: Home::worker(&format!("w{number}"), address), daemon: None });
        }
        nodes.iter().for_each(|node| node.home.settings(settings.clone()));
        Self { nodes, proxies }
    }

    /// The home of the master.
    pub fn master(&self) -> PathBuf {
        self.home(0)
    }

    /// The home of a node.
    pub fn home(&self, node: usize) -> PathBuf {
        self.nodes[node].home.path("")
    }

    /// Whatever was done to the nodes, lets all of them run and waits until they serve.
    pub fn revive(&mut self) {
        for node in &mut self.nodes {
            node.start();
            node.signal(Signal::SIGCONT);
        }
        for node in &mut self.nodes {
            until("a node that serves", || {
                node.is_as_it_should();
                node.daemon.as_ref().unwrap().serves(&node.home).then_some(())
            });
        }
    }

    /// Orders all nodes to stop, the workers first, and waits for it.
    pub fn stop(&mut self) {
        for node in self.nodes.iter_mut().rev() {
            node.is_as_it_should();
            let status = node.daemon.take().unwrap().stop();
            // Once it has ended in order it dies of the signal, as its parent expects.
            assert_eq!(status.signal(), Some(15), "{status}\n{}", node.last_lines());
        }
    }
}

impl Node {
    /// Starts it, if it is not running, and waits for nothing.
    pub fn start(&mut self) {
        if self.daemon.is_none() {
            self.daemon = Some(Daemon::spawn(&self.home, clusterd(&self.home), &["-f", "-r"]));
        }
    }

    /// Kills it, if it is running.
    pub fn kill(&mut self) -> bool {
        self.is_as_it_should();
        self.daemon.take().map(Daemon::kill).is_some()
    }

    /// Sends a signal, if it is running.
    pub fn signal(&mut self, signal: Signal) {
        self.is_as_it_should();
        if let Some(daemon) = &self.daemon {
            daemon.signal(signal);
        }
    }

    /// Tells it to read its configuration again. A process that has only just begun would end by that.
    pub fn reload(&mut self) {
        if self.daemon.as_ref().is_some_and(|daemon| daemon.serves(&self.home)) {
            self.signal(Signal::SIGHUP);
        }
    }

    /// Its process, if it is running.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::pid)
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let log = self.home.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Panics if the process has ended by itself.
    pub fn is_as_it_should(&mut self) {
        if self.daemon.as_mut().is_some_and(|daemon| !daemon.is_running()) {
            panic!("a node has ended by itself:\n{}\n{}", self.last_lines(), self.said());
        }
    }

    /// What it has said on standard error since its start.
    fn said(&self) -> String {
        std::fs::read_to_string(self.home.beside("stderr")).unwrap_or_default()
    }
}

/// What a socket of a node answers to a frame within a time.
pub fn ask(socket: PathBuf, request: &str, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&[&(request.len() as u32).to_le_bytes(), request.as_bytes()].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    String::from_utf8(answer).map_err(io::Error::other)
}
