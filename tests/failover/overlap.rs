//! A network between candidates and etcd that fails in all ways: never are two of them the master at one moment.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use clusterd::{
    arbiter::etcd::{Etcd, Options},
    config::{Home, Settings},
    crypto::Fernet,
    election::{Candidate, Change, Own, order},
    system::clock::Clock,
    term::Term,
};
use serde_json::json;

use crate::{
    members::Members,
    proxy::{Proxy, Weather},
    random::Random,
    support::Address,
};

/// Shorter than an operator may set it, so that much happens.
const TTL: Duration = Duration::from_secs(2);

/// How long the network fails.
const BAD: Duration = Duration::from_secs(8);

/// How long after that there must be a master.
const GOOD: Duration = Duration::from_secs(20);

/// Schedules that run beside each other.
const AT_ONCE: u64 = 16;

#[test]
fn there_is_never_a_second_master() {
    schedules(0..6);
}

#[test]
#[ignore = "`make failover` runs it, for minutes"]
fn slow_two_hundred_schedules_without_a_second_master() {
    schedules(1000..1200);
}

fn schedules(seeds: std::ops::Range<u64>) {
    let Some(members) = Members::start(3, &[]) else { return };
    let (first, last) = (seeds.start, seeds.end);
    let (mut masters, mut recorded) = (0, 0);
    let mut next = first;
    while next < last {
        let until = (next + AT_ONCE).min(last);
        let outcomes: Vec<_> = scope(|scope| {
            let started: Vec<_> = (next..until)
                .map(|seed| {
                    scope.spawn({
                        let members = &members;
                        move || schedule(seed, members)
                    })
                })
                .collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (terms, records) in outcomes {
            masters += terms;
            recorded += records;
        }
        next = until;
    }
    println!("{} schedules: {masters} masters, {recorded} records, never two masters at one moment", last - first);
}

struct Seat {
    name: &'static str,
    home: tempfile::TempDir,
    candidate: Arc<Candidate>,
    proxies: Vec<Proxy>,
}

impl Seat {
    fn new(name: &'static str, seed: u64, members: &Members) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("queue/cluster-state")).unwrap();
        let proxy = |url: String| {
            let there = url.trim_start_matches("http://").parse().unwrap();
            let here = std::net::SocketAddr::from((Address::new().0, 2379));
            (format!("http://{here}"), Proxy::start(here, there))
        };
        let (urls, proxies): (Vec<_>, Vec<_>) = members.urls().into_iter().map(proxy).unzip();
        let settings = json!({"failover": {"etcd": urls, "candidates": ["a", "b"]}}).to_string();
        let settings = Settings::parse(settings.as_bytes(), std::path::Path::new("cluster.json")).unwrap();
        let mut failover = settings.failover.unwrap();
        failover.ttl = TTL;
        let (trigger, shutdown) = order();
        let options =
            Options { cluster: format!("s{seed}"), endpoints: failover.etcd.clone(), user: None, tls: None, ttl: TTL };
        let etcd = Arc::new(Etcd::new(&options, &shutdown).unwrap());
        let own = Own { name: name.into(), address: name.into(), port: 1, cluster: "k".into(), is_first: name == "a" };
        let candidate = Candidate::new(own, failover, etcd, &Clock::real(), (trigger, shutdown));
        candidate.use_ciphers(vec![Fernet::new(&[7; 32])]);
        candidate.start().unwrap();
        Self { name, home, candidate, proxies }
    }

    fn term(&self) -> Term {
        Term::load(&Home::new(self.home.path()), self.name).unwrap()
    }

    /// Becomes the master whenever it may, and acts as that; gives its terms and the numbers of its records.
    fn run(&self, over: &AtomicBool) -> (BTreeSet<u64>, Vec<u64>) {
        let (mut terms, mut numbers, mut id) = (BTreeSet::new(), Vec::new(), 0);
        let other = if self.name == "a" { "b" } else { "a" };
        while !over.load(Ordering::Relaxed) {
            if self.candidate.acts() {
                id += 1;
                let change = Change::Removed { id: id.to_string(), name: self.name.into() };
                if let Ok(written) = self.candidate.record(&[change], id) {
                    numbers.extend(written);
                }
                let _ = self.candidate.set_in_sync(&[self.name.to_owned(), other.to_owned()]);
                sleep(Duration::from_millis(20));
                continue;
            }
            self.candidate.resign();
            let term = self.term();
            if let Ok(elected) = self.candidate.stand(&term, true, false) {
                assert!(terms.insert(elected.term), "{} had term {} before", self.name, elected.term);
            }
            sleep(Duration::from_millis(30));
        }
        (terms, numbers)
    }
}

/// Gives how many masters there were, and how many records.
fn schedule(seed: u64, members: &Members) -> (usize, usize) {
    let seats = ["a", "b"].map(|name| Seat::new(name, seed, members));
    let over = AtomicBool::new(false);
    scope(|scope| {
        let running = [0, 1].map(|at| {
            let (seat, over) = (&seats[at], &over);
            scope.spawn(move || seat.run(over))
        });
        // One recorder, one clock: whoever held before and after the other one was seen to hold, held at that moment.
        let recorder = scope.spawn(|| {
            let [a, b] = [&seats[0].candidate, &seats[1].candidate];
            while !over.load(Ordering::Relaxed) {
                assert!(!(a.acts() && b.acts() && a.acts()), "seed {seed}: two masters");
                sleep(Duration::from_micros(500));
            }
        });
        let (mut random, end) = (Random::new(seed), Instant::now() + BAD);
        while Instant::now() < end {
            let seat = &seats[random.below(2)];
            let weather = match random.below(6) {
                0 | 1 => Weather::Fair,
                2 => Weather::Delayed(Duration::from_millis(random.next() % 700)),
                3 => Weather::Stalled { up: true, down: random.below(2) == 0 },
                4 => Weather::Stalled { up: false, down: true },
                _ => Weather::Parted,
            };
            // All its ways, or one of them.
            let only = random.below(6);
            for (at, proxy) in seat.proxies.iter().enumerate() {
                if only >= 3 || only == at {
                    proxy.set(weather);
                }
            }
            sleep(Duration::from_millis(random.next() % 900));
        }
        seats.iter().flat_map(|seat| &seat.proxies).for_each(|proxy| proxy.set(Weather::Fair));
        let end = Instant::now() + GOOD;
        while !seats.iter().any(|seat| seat.candidate.acts()) {
            assert!(Instant::now() < end, "seed {seed}: nobody is the master in a good network");
            sleep(Duration::from_millis(10));
        }
        over.store(true, Ordering::Relaxed);
        recorder.join().unwrap();
        let [(a, of_a), (b, of_b)] = running.map(|thread| thread.join().unwrap());
        assert!(a.is_disjoint(&b), "seed {seed}: {a:?} and {b:?} have a term in common");
        let distinct: BTreeSet<_> = of_a.iter().chain(&of_b).collect();
        assert_eq!(distinct.len(), of_a.len() + of_b.len(), "seed {seed}: one record was written over another");
        seats.iter().for_each(|seat| seat.candidate.end());
        (a.len() + b.len(), distinct.len())
    })
}
