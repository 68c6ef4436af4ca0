//! What happens in a trial, and when.

use std::{ops::Range, time::Duration};

use crate::{proxy::Weather, random::Random};

/// One thing that somebody or something does. Nodes are numbered, the master is 0; other numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Somebody edits a file of the master.
    Edit,
    /// Somebody adds one.
    Create,
    /// Somebody deletes one.
    Delete,
    /// Somebody renames one.
    Rename,
    /// Somebody writes a file on a worker.
    WriteOn(usize),
    /// Somebody deletes a file on a worker.
    DeleteOn(usize),
    /// Somebody adds a file on a worker.
    AddOn(usize),
    /// An agent is registered on a node.
    Register { node: usize, groups: usize },
    /// One that is registered is removed, on a node.
    Unregister { node: usize, agent: usize },
    /// An agent gets other groups.
    Assign { agent: usize, groups: usize },
    /// An agent tells its worker its version.
    Report { agent: usize },
    /// Strangers connect to the master.
    Flood { connections: usize, lasting: Duration },
    /// `kill -9`.
    Kill(usize),
    /// A node that was killed is started.
    Start(usize),
    /// SIGSTOP.
    Pause(usize),
    /// SIGCONT.
    Continue(usize),
    /// SIGHUP.
    Reload(usize),
    /// The network of a worker changes.
    Weather(usize, Weather),
}

/// A kind of trial.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// How many.
    pub workers: usize,
    /// How long there are disturbances.
    pub lasting: Duration,
    /// Between two actions.
    pub pause: Range<u64>,
    /// Which actions there are, and how often in comparison.
    pub actions: &'static [(usize, Kind)],
    /// Whether there is a proxy in the way of each worker.
    pub network: bool,
}

/// Makes an action, and what has to follow it after some time.
type Kind = fn(&mut Random, &Plan) -> (Action, Option<(Duration, Action)>);

/// What people and agents do all the time.
const LIFE: [(usize, Kind); 12] = [
    (12, |_, _| (Action::Edit, None)),
    (4, |_, _| (Action::Create, None)),
    (3, |_, _| (Action::Delete, None)),
    (3, |_, _| (Action::Rename, None)),
    (1, |random, plan| (Action::WriteOn(worker(random, plan)), None)),
    (1, |random, plan| (Action::DeleteOn(worker(random, plan)), None)),
    (1, |random, plan| (Action::AddOn(worker(random, plan)), None)),
    (4, |random, plan| (Action::Register { node: node(random, plan), groups: random.below(4) }, None)),
    (3, |random, plan| (Action::Unregister { node: node(random, plan), agent: random.below(1000) }, None)),
    (3, |random, _| (Action::Assign { agent: random.below(1000), groups: random.below(4) }, None)),
    (4, |random, _| (Action::Report { agent: random.below(1000) }, None)),
    (1, |random, _| {
        let lasting = random.milliseconds(10..1000);
        (Action::Flood { connections: 1 + random.below(40), lasting }, None)
    }),
];

/// What happens to processes.
const PROCESSES: [(usize, Kind); 3] = [
    (7, |random, plan| {
        let node = node(random, plan);
        (Action::Kill(node), Some((random.milliseconds(1..1500), Action::Start(node))))
    }),
    (2, |random, plan| {
        let node = node(random, plan);
        (Action::Pause(node), Some((random.milliseconds(10..4000), Action::Continue(node))))
    }),
    (1, |random, plan| (Action::Reload(node(random, plan)), None)),
];

/// What happens to the network.
const NETWORK: [(usize, Kind); 1] = [(12, |random, plan| {
    let worker = worker(random, plan);
    let fair = (random.milliseconds(50..4000), Action::Weather(worker, Weather::Fair));
    (Action::Weather(worker, weather(random)), Some(fair))
})];

/// What happens to processes for a long time: those of the first half of the workers, and the master, live on.
const FEW_PROCESSES: [(usize, Kind); 3] = [
    (3, |random, plan| {
        let node = plan.workers - random.below(plan.workers.div_ceil(2));
        (Action::Kill(node), Some((random.milliseconds(100..10_000), Action::Start(node))))
    }),
    (1, |random, plan| {
        let node = worker(random, plan);
        (Action::Pause(node), Some((random.milliseconds(10..10_000), Action::Continue(node))))
    }),
    (1, |random, plan| (Action::Reload(node(random, plan)), None)),
];

const SOAK: [(usize, Kind); LIFE.len() + FEW_PROCESSES.len()] = joined(LIFE, FEW_PROCESSES);
const KILLS: [(usize, Kind); LIFE.len() + PROCESSES.len()] = joined(LIFE, PROCESSES);
const FAULTS: [(usize, Kind); LIFE.len() + NETWORK.len()] = joined(LIFE, NETWORK);

const fn joined<const A: usize, const B: usize, const C: usize>(
    first: [(usize, Kind); A],
    second: [(usize, Kind); B],
) -> [(usize, Kind); C] {
    let mut all = [first[0]; C];
    let mut at = 0;
    while at < C {
        all[at] = if at < A { first[at] } else { second[at - A] };
        at += 1;
    }
    all
}

fn node(random: &mut Random, plan: &Plan) -> usize {
    random.below(plan.workers + 1)
}

fn worker(random: &mut Random, plan: &Plan) -> usize {
    1 + random.below(plan.workers)
}

fn weather(random: &mut Random) -> Weather {
    let (up, after) = (random.below(2) == 0, random.magnitude(1..500_000));
    match random.below(8) {
        0 => Weather::Delayed(random.milliseconds(1..300)),
        1 => Weather::Narrow(random.magnitude(2_000..2_000_000)),
        2 => [
            Weather::Stalled { up: true, down: false },
            Weather::Stalled { up: false, down: true },
            Weather::Stalled { up: true, down: true },
        ][random.below(3)],
        3 => Weather::Parted,
        4 => Weather::Cut { up, after },
        5 => Weather::CutInFrame { up, after },
        6 => Weather::Flipped { up, after, bit: random.below(8) as u8 },
        _ => Weather::Twice { up, after },
    }
}

impl Plan {
    /// Processes that are killed, stopped and started.
    pub fn kills(seed: u64) -> Self {
        let (workers, lasting) = (crate::replay::workers(), Duration::from_secs(8));
        Self { seed, workers, lasting, pause: 2..200, actions: &KILLS, network: false }
    }

    /// A network that fails.
    pub fn network(seed: u64) -> Self {
        Self { actions: &FAULTS, network: true, ..Self::kills(seed) }
    }

    /// A large cluster for a long time.
    pub fn soak(seed: u64, workers: usize, lasting: Duration) -> Self {
        Self { seed, workers, lasting, pause: 200..4000, actions: &SOAK, network: false }
    }

    /// All actions in their order. Nothing is left killed, stopped or cut off at the end: the judge sees to that.
    pub fn schedule(&self) -> Vec<(Duration, Action)> {
        let mut random = Random::new(self.seed);
        let (mut schedule, mut now) = (Vec::new(), Duration::ZERO);
        let total: usize = self.actions.iter().map(|(weight, _)| weight).sum();
        while now < self.lasting {
            let mut left = random.below(total);
            let chosen = self.actions.iter().find(|(weight, _)| {
                let here = left < *weight;
                left = left.saturating_sub(*weight);
                here
            });
            let (action, next) = chosen.unwrap().1(&mut random, self);
            schedule.push((now, action));
            schedule.extend(next.map(|(after, action)| (now + after, action)).filter(|(at, _)| *at < self.lasting));
            now += random.milliseconds(self.pause.clone());
        }
        schedule.sort_by_key(|(at, _)| *at);
        schedule
    }
}

#[test]
fn a_seed_decides_the_schedule() {
    let [first, again, other] = [3, 3, 4].map(|seed| format!("{:?}", Plan::kills(seed).schedule()));
    assert_eq!(first, again);
    assert_ne!(first, other);
}
