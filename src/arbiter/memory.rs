//! An arbiter in memory, for tests of what stands on one: it keeps all promises of etcd, on a clock that tests move, and
//! breaks them when it is told to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use super::{
    Arbiter, Changes, Claim, Ended, Entry, Failure, Fault, Folder, Guard, Key, Lease, MOST_ENTRIES, Master, Page,
    Reading, Revision, Term, Why, Write, Written, shapes::text,
};
use crate::system::{clock::Clock, shutdown::Shutdown};

/// The arbiter; each node has a [`Seat`] at it.
#[derive(Clone)]
pub struct Memory {
    clock: Clock,
    shutdown: Shutdown,
    state: Arc<Mutex<State>>,
}

/// The connection of one node to it, which can be cut.
#[derive(Clone)]
pub struct Seat {
    memory: Memory,
    cut: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    revision: Revision,
    entries: BTreeMap<Key, Entry>,
    /// Each with its time, and when it ends.
    leases: BTreeMap<Lease, (Duration, Duration)>,
    /// Woken by each change.
    streams: Vec<Sender<()>>,
}

impl Memory {
    /// An empty one. The order to stop ends all waits.
    pub fn new(clock: &Clock, shutdown: &Shutdown) -> Self {
        let state = State { revision: 1, ..State::default() };
        Self { clock: clock.clone(), shutdown: shutdown.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// For one more node.
    pub fn seat(&self) -> Seat {
        Seat { memory: self.clone(), cut: Arc::default() }
    }

    /// What a person can do with `etcdctl del`.
    pub fn delete(&self, key: &Key) {
        self.state.lock().change(|entries, _| drop(entries.remove(key)));
    }
}

impl Seat {
    /// Whether the arbiter can be reached from now on.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Release);
    }

    /// The state as of now, if it can be reached.
    fn state<T>(&self, work: impl FnOnce(&mut State, Duration) -> T) -> Result<T, Failure> {
        if self.cut.load(Ordering::Acquire) {
            return Err(Failure::of(Fault { endpoint: "memory".to_owned(), why: Why::Late }));
        }
        let now = self.memory.clock.awake_or_suspended();
        let mut state = self.memory.state.lock();
        state.expire(now);
        Ok(work(&mut state, now))
    }
}

impl State {
    fn change(&mut self, work: impl FnOnce(&mut BTreeMap<Key, Entry>, Revision)) {
        self.revision += 1;
        work(&mut self.entries, self.revision);
        // A stream that was woken already, or has gone, needs no second call.
        self.streams
            .retain(|stream| !matches!(stream.try_send(()), Err(crossbeam_channel::TrySendError::Disconnected(()))));
    }

    fn expire(&mut self, now: Duration) {
        let ended: Vec<Lease> =
            self.leases.iter().filter(|(_, (_, end))| *end <= now).map(|(lease, _)| *lease).collect();
        ended.into_iter().for_each(|lease| self.revoke(lease));
    }

    fn revoke(&mut self, lease: Lease) {
        if self.leases.remove(&lease).is_some() && self.entries.values().any(|entry| entry.lease == lease) {
            self.change(|entries, _| entries.retain(|_, entry| entry.lease != lease));
        }
    }
}

fn put(entries: &mut BTreeMap<Key, Entry>, revision: Revision, key: Key, value: Vec<u8>, lease: Lease) {
    let created = entries.get(&key).map_or(revision, |entry| entry.created);
    entries.insert(key, Entry { value, created, changed: revision, lease });
}

impl Arbiter for Seat {
    fn grant(&self, ttl: Duration) -> Result<Lease, Failure> {
        self.state(|state, now| {
            let lease = state.leases.last_key_value().map_or(1, |(last, _)| last + 1).max(state.revision);
            state.leases.insert(lease, (ttl, now + ttl));
            lease
        })
    }

    fn renew(&self, lease: Lease) -> Result<bool, Failure> {
        self.state(|state, now| {
            let held = state.leases.get_mut(&lease);
            held.map(|(ttl, end)| *end = now + *ttl).is_some()
        })
    }

    fn hold(&self, lease: Lease, term: Term) -> Result<Option<Ended>, Failure> {
        if !self.renew(lease)? {
            return Ok(Some(Ended::LeaseLost));
        }
        let own = self.read(&[Key::Master])?.entries.iter().flatten().any(|entry| entry.created == term);
        Ok((!own).then_some(Ended::Superseded))
    }

    fn revoke(&self, lease: Lease) -> Result<(), Failure> {
        self.state(|state, _| state.revoke(lease))
    }

    fn claim(&self, lease: Lease, master: &Master) -> Result<Claim, Failure> {
        self.state(|state, _| match state.entries.get(&Key::Master) {
            Some(own) if own.lease == lease => {
                let last = state.entries.get(&Key::Turn).map_or(own.created, |turn| turn.changed);
                Claim::Won(Guard::new(own.created, lease, last))
            }
            Some(other) => Claim::Lost(other.clone()),
            None => {
                state.change(|entries, revision| {
                    put(entries, revision, Key::Master, text(master), lease);
                    put(entries, revision, Key::Turn, b"0".to_vec(), 0);
                });
                Claim::Won(Guard::new(state.revision, lease, state.revision))
            }
        })
    }

    fn read(&self, keys: &[Key]) -> Result<Reading, Failure> {
        self.state(|state, _| Reading {
            revision: state.revision,
            entries: keys.iter().map(|key| state.entries.get(key).cloned()).collect(),
        })
    }

    fn list(&self, folder: Folder, after: Option<&Key>) -> Result<Page, Failure> {
        self.state(|state, _| {
            let is_in = |key: &Key| match folder {
                Folder::Registrations => matches!(key, Key::Registration(_)),
                Folder::Nodes => matches!(key, Key::Node(_)),
            };
            let behind = |key: &Key| is_in(key) && after.is_none_or(|after| key > after);
            let mut found = state.entries.iter().filter(|(key, _)| behind(key));
            let entries = found.by_ref().take(MOST_ENTRIES).map(|(key, entry)| (key.clone(), entry.clone())).collect();
            Page { entries, more: found.next().is_some() }
        })
    }

    fn announce(&self, key: &Key, value: &[u8], lease: Lease) -> Result<(), Failure> {
        self.state(|state, _| {
            if !state.leases.contains_key(&lease) {
                let message = "requested lease not found".to_owned();
                return Err(Failure::of(Fault { endpoint: "memory".to_owned(), why: Why::Said { code: 5, message } }));
            }
            state.change(|entries, revision| put(entries, revision, key.clone(), value.to_vec(), lease));
            Ok(())
        })?
    }

    fn write(&self, guard: &mut Guard, writes: &[Write]) -> Result<Written, Failure> {
        self.state(|state, _| {
            if state.entries.get(&Key::Master).is_none_or(|master| master.created != guard.term) {
                return Written::Superseded;
            }
            guard.number += 1;
            let turn = guard.number.to_string().into_bytes();
            state.change(|entries, revision| {
                guard.last = revision;
                put(entries, revision, Key::Turn, turn, 0);
                for write in writes {
                    match write {
                        Write::Put(key, value) => put(entries, revision, key.clone(), value.clone(), 0),
                        Write::Delete(key) => drop(entries.remove(key)),
                        Write::DeleteRegistrations(last) => {
                            entries.retain(|key, _| !matches!(key, Key::Registration(number) if number <= last));
                        }
                    }
                }
            });
            Written::Done
        })
    }

    fn changes(&self, revision: Revision) -> Result<Box<dyn Changes>, Failure> {
        let (wake, woken) = bounded(1);
        self.state(|state, _| {
            if state.revision > revision {
                let _ = wake.try_send(());
            }
            state.streams.push(wake);
        })?;
        Ok(Box::new(Stream { seat: self.clone(), woken }))
    }
}

struct Stream {
    seat: Seat,
    woken: Receiver<()>,
}

impl Changes for Stream {
    fn wait(&mut self, limit: Duration) -> Result<bool, Failure> {
        let memory = &self.seat.memory;
        let woken = select! {
            recv(memory.shutdown.channel()) -> _ => false,
            recv(self.woken) -> _ => true,
            recv(memory.clock.after(limit)) -> _ => false,
        };
        // A stream that is cut says nothing.
        Ok(woken && !self.seat.cut.load(Ordering::Acquire))
    }
}
