//! The content of client.keys (`spec/registration.md` 1), with an index for each thing that must not be there twice.

use std::io::{self, Read};

use super::{
    address::ANY,
    lines::{Agent, Lines, Part, Place, Starts},
};
use crate::agents::client_keys::{self, Key, Line, number};

/// The largest id; the agent database and the agents themselves know no longer ones.
const LARGEST: u32 = 99_999_999;

/// So many agents that were removed are never worth reading a file anew.
const SPARSE: usize = 1_000;

/// All agents, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Table {
    agents: Lines,
    ids: Index,
    names: Index,
    addresses: Index,
    /// Lines that are no agents, written back as they are.
    kept: Vec<u8>,
    /// Whether some of them are of agents whose number an earlier line has.
    has_doubles: bool,
    /// The largest id that was ever given.
    counter: u32,
    count: usize,
    /// Whether the last line of the file had no end, so that who else reads the file takes it for one that is not
    /// complete.
    pub(super) had_half_a_line: bool,
}

impl Table {
    /// Understands a file. With `purge`, agents that were removed are forgotten.
    ///
    /// # Errors
    /// When it cannot be read, or is too long.
    pub(super) fn read(file: impl Read, purge: bool) -> io::Result<Self> {
        let mut table = Self::default();
        let mut lines = client_keys::Lines::new(file);
        while let Some((line, is_whole)) = lines.read()? {
            table.had_half_a_line |= !is_whole;
            match Line::parse(line) {
                Line::Agent(key) => {
                    table.raise(key.id);
                    table.agents.push(key);
                }
                Line::Removed { .. } if purge => {}
                _ if line.is_empty() => {}
                other => {
                    if let Line::Removed { id } = other {
                        table.raise(id);
                    }
                    table.kept.extend_from_slice(line);
                    table.kept.push(b'\n');
                }
            }
        }
        table.ids = Index::new((0..table.agents.places() as u32).collect(), &table.agents, Starts::number);
        table.leave_out_doubles();
        table.count = table.ids.0.len();
        let there = |at: &u32| table.agents.agent_is_there(*at as Place);
        let all = || (0..table.agents.places() as u32).filter(there);
        table.names = Index::new(all().collect(), &table.agents, Starts::name);
        let with_address = all().filter(|at| table.agents.part(*at as Place, Starts::ip) != ANY);
        table.addresses = Index::new(with_address.collect(), &table.agents, Starts::address);
        Ok(table)
    }

    /// Of agents with one number the first counts. The lines of the others stay in the file until that one is removed:
    /// then they go with it, or the next of them would come to life.
    fn leave_out_doubles(&mut self) {
        let Self { agents, ids, .. } = self;
        let mut doubles = Vec::new();
        ids.0.dedup_by(|at, first| {
            let is_double = agents.part(*at as Place, Starts::number) == agents.part(*first as Place, Starts::number);
            if is_double {
                doubles.push(*at);
            }
            is_double
        });
        self.has_doubles = !doubles.is_empty();
        doubles.sort_unstable();
        for at in doubles {
            if let Some(agent) = self.agents.remove(at as Place) {
                self.keep(&agent, "");
            }
        }
    }

    fn keep(&mut self, agent: &Agent, mark: &str) {
        let line = format!("{} {mark}{} {} {}\n", agent.id(), agent.name(), agent.ip(), agent.key());
        self.kept.extend_from_slice(line.as_bytes());
    }

    /// Marks the lines of others with this number as removed, or takes them out.
    fn remove_doubles(&mut self, id: &str, purge: bool) {
        let mut kept = Vec::with_capacity(self.kept.len());
        for line in self.kept.split_inclusive(|byte| *byte == b'\n') {
            match Line::parse(line.strip_suffix(b"\n").unwrap_or(line)) {
                Line::Agent(key) if number(key.id) == number(id) => {
                    if !purge {
                        let name = key.id.len() + 1;
                        kept.extend([&line[..name], b"!", &line[name..]].concat());
                    }
                }
                _ => kept.extend_from_slice(line),
            }
        }
        self.kept = kept;
    }

    /// The same of what a test has in memory.
    #[cfg(test)]
    pub(super) fn parse(bytes: &[u8], purge: bool) -> Self {
        Self::read(bytes, purge).unwrap()
    }

    /// The file, in pieces.
    pub(super) fn text(&self) -> impl Iterator<Item = &[u8]> {
        self.agents.text().map(str::as_bytes).chain([&self.kept[..]])
    }

    /// All of it is written.
    pub(super) fn settle(&mut self) {
        self.agents.settle();
    }

    /// How many bytes at its beginning are those that were written last.
    pub(super) fn settled(&self) -> usize {
        self.agents.settled()
    }

    /// Whether most of what it holds are agents that were removed, so that it is worth being read anew.
    pub(super) fn is_sparse(&self) -> bool {
        self.agents.places() > 2 * self.count + SPARSE
    }

    /// The agents that there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// An agent that is there.
    ///
    /// # Panics
    /// When it was removed; its place is known to nobody then.
    pub(super) fn agent(&self, at: Place) -> Agent {
        self.agents.agent(at).expect("a place that was just found")
    }

    /// The agent with an id, however many zeros that begins with.
    pub(super) fn by_id(&self, id: &str) -> Option<Place> {
        self.ids.find(&self.agents, Starts::number, number(id)).next()
    }

    /// The first agent with this name that is not one of `without`.
    pub(super) fn by_name(&self, name: &str, without: &[Place]) -> Option<Place> {
        self.names.find(&self.agents, Starts::name, name).find(|at| !without.contains(at))
    }

    /// The first agent with this address, whatever its prefix is, that is not one of `without`.
    pub(super) fn by_address(&self, address: &str, without: &[Place]) -> Option<Place> {
        self.addresses.find(&self.agents, Starts::address, address).find(|at| !without.contains(at))
    }

    /// Adds an agent under this id, or the next one; none if there is no next one.
    pub(super) fn add(&mut self, id: Option<&str>, name: &str, ip: &str, key: &str) -> Option<Place> {
        let next = (self.counter < LARGEST).then(|| format!("{:03}", self.counter + 1));
        let id = id.or(next.as_deref())?;
        self.raise(id);
        let at = self.agents.push(Key { id, name, ip, key });
        self.ids.insert(&self.agents, Starts::number, at);
        self.names.insert(&self.agents, Starts::name, at);
        if ip != ANY {
            self.addresses.insert(&self.agents, Starts::address, at);
        }
        self.count += 1;
        Some(at)
    }

    /// Takes an agent out; unless `purge`, its line stays with a mark.
    pub(super) fn remove(&mut self, at: Place, purge: bool) -> Option<Agent> {
        self.agents.agent(at)?;
        self.ids.remove(&self.agents, Starts::number, at);
        self.names.remove(&self.agents, Starts::name, at);
        self.addresses.remove(&self.agents, Starts::address, at);
        let agent = self.agents.remove(at)?;
        self.count -= 1;
        if self.has_doubles {
            self.remove_doubles(agent.id(), purge);
        }
        if !purge {
            self.keep(&agent, "!");
        }
        Some(agent)
    }

    /// The largest id that was ever given.
    pub(super) fn counter(&self) -> u32 {
        self.counter
    }

    /// Whether the agent with the largest id is there, so that a process that reads the file finds this id. An agent whose
    /// line is only marked counts as gone: the next one that reads the file may purge.
    pub(super) fn has_highest(&self) -> bool {
        self.counter == 0 || self.by_id(&self.counter.to_string()).is_some()
    }

    /// Lets no id up to `counter` be given again.
    pub(super) fn raise_to(&mut self, counter: u32) {
        self.counter = self.counter.max(counter);
    }

    fn raise(&mut self, id: &str) {
        let digits = id.bytes().all(|byte| byte.is_ascii_digit());
        self.raise_to(id.parse().ok().filter(|id| digits && *id <= LARGEST).unwrap_or(0));
    }
}

/// Places in the order of one part of the agents, equal ones in the order of the file.
#[derive(Debug, Default)]
struct Index(Vec<u32>);

impl Index {
    fn new(mut places: Vec<u32>, agents: &Lines, part: Part) -> Self {
        places.sort_by_key(|at| Self::key(agents, part, *at));
        Self(places)
    }

    fn key(agents: &Lines, part: Part, at: u32) -> (&str, u32) {
        (agents.part(at as Place, part), at)
    }

    fn place(&self, agents: &Lines, part: Part, at: Place) -> Result<usize, usize> {
        let key = Self::key(agents, part, at as u32);
        self.0.binary_search_by_key(&key, |at| Self::key(agents, part, *at))
    }

    fn find<'a>(&'a self, agents: &'a Lines, part: Part, text: &'a str) -> impl Iterator<Item = Place> + 'a {
        let first = self.0.partition_point(|at| Self::key(agents, part, *at).0 < text);
        let equal = self.0[first..].iter().take_while(move |at| Self::key(agents, part, **at).0 == text);
        equal.map(|at| *at as Place)
    }

    fn insert(&mut self, agents: &Lines, part: Part, at: Place) {
        if let Err(place) = self.place(agents, part, at) {
            self.0.insert(place, at as u32);
        }
    }

    fn remove(&mut self, agents: &Lines, part: Part, at: Place) {
        if let Ok(place) = self.place(agents, part, at) {
            self.0.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "001 web any k1\n002 !old any k2\n# a comment\n003 db 10.0.0.0/8 k3 k4\n005 half any k5";

    fn text(table: &Table) -> String {
        String::from_utf8(table.text().flatten().copied().collect()).unwrap()
    }

    #[test]
    fn live_agents_come_first_and_all_else_stays_as_it_is() {
        let mut table = Table::parse(FILE.as_bytes(), false);
        let live = "001 web any k1\n003 db 10.0.0.0/8 k3 k4\n005 half any k5\n";
        let rest = "002 !old any k2\n# a comment\n";
        assert_eq!(text(&table), format!("{live}{rest}"));
        assert_eq!(table.count(), 3);
        let added = table.add(None, "new", "any", "k6").unwrap();
        assert_eq!((table.agent(added).id(), table.agent(added).key()), ("006", "k6"));
        let db = table.by_id("3").unwrap();
        assert_eq!((table.agent(db).ip(), table.agent(db).key()), ("10.0.0.0/8", "k3 k4"));
        assert_eq!(table.by_address("10.0.0.0", &[]), Some(db));
        table.remove(db, false).unwrap();
        assert_eq!(
            (table.by_id("003"), table.by_name("db", &[]), table.by_address("10.0.0.0", &[])),
            (None, None, None)
        );
        table.remove(added, true).unwrap();
        assert_eq!(table.remove(added, true), None);
        let live = "001 web any k1\n005 half any k5\n";
        assert_eq!(text(&table), format!("{live}{rest}003 !db 10.0.0.0/8 k3 k4\n"));
        assert_eq!(text(&Table::parse(FILE.as_bytes(), true)).lines().filter(|line| line.contains('!')).count(), 0);
        let long = format!("007 long any {}\nx\n\n", "k".repeat(3000));
        assert_eq!((text(&Table::parse(long.as_bytes(), false)), 0), (long.replace("\n\n", "\n"), 0));
    }

    #[test]
    fn ids_are_not_given_twice_and_explicit_ones_stand_as_they_were_given() {
        let mut table = Table::parse(b"7 a any k\n010 !b any k\nx c any k\n123456789 d any k\n", false);
        assert_eq!(table.counter(), 10);
        let mut add = |id| table.add(id, "n", "any", "k").map(|at| table.agent(at).id().to_owned());
        assert_eq!(add(None).as_deref(), Some("011"));
        assert_eq!(add(Some("0100")).as_deref(), Some("0100"));
        assert_eq!(add(Some("8")).as_deref(), Some("8"));
        assert_eq!(add(None).as_deref(), Some("101"));
        assert_eq!(add(Some("999")).as_deref(), Some("999"));
        assert_eq!(add(None).as_deref(), Some("1000"));
        let last = table.by_id("1000").unwrap();
        table.remove(last, true);
        assert_eq!(table.counter(), 1000, "it is not given again");
        assert!(table.by_id("007").is_some() && table.by_id("100").is_some() && table.by_id("x").is_some());
        table.raise_to(LARGEST);
        assert_eq!(table.add(None, "n", "any", "k"), None);
    }

    #[test]
    fn of_equal_agents_the_first_is_found() {
        let mut table = Table::parse(b"001 a 1.1.1.1 k\n002 a 1.1.1.1/24 k\n003 a any k\n", false);
        assert_eq!(table.by_name("a", &[]), Some(0));
        assert_eq!(table.by_name("a", &[0, 1]), Some(2));
        assert_eq!(table.by_address("1.1.1.1", &[0]), Some(1));
        assert_eq!(table.by_address("any", &[]), None);
        table.remove(0, true);
        assert_eq!((table.by_name("a", &[]), table.by_address("1.1.1.1", &[])), (Some(1), Some(1)));
    }

    /// Case 3.6: two lines with one number.
    #[test]
    fn of_one_number_the_first_line_counts_and_removal_takes_all() {
        let file = "001 first any k1\n002 b 1.1.1.1 k\n1 second 2.2.2.2 k2\n001 third any k3\n";
        for (purge, rest) in [(false, "1 !second 2.2.2.2 k2\n001 !third any k3\n001 !first any k1\n"), (true, "")] {
            let mut table = Table::parse(file.as_bytes(), purge);
            let at = table.by_id("001").unwrap();
            assert_eq!((table.agent(at).name(), table.count()), ("first", 2));
            assert_eq!((table.by_name("second", &[]), table.by_address("2.2.2.2", &[])), (None, None));
            // Nobody's line is lost.
            let lines = "001 first any k1\n002 b 1.1.1.1 k\n1 second 2.2.2.2 k2\n001 third any k3\n";
            assert_eq!(text(&table), lines);
            table.remove(at, purge).unwrap();
            assert_eq!(text(&table), format!("002 b 1.1.1.1 k\n{rest}"));
            let again = Table::parse(text(&table).as_bytes(), purge);
            assert_eq!((again.by_id("001"), again.count()), (None, 1), "no other has come to life");
        }
    }

    /// What can be done to a table, for names and addresses of a small world.
    #[derive(Clone, Debug)]
    enum Step {
        Add(Option<u32>, u8, u8),
        Remove(u32, bool),
        Reread,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (proptest::option::weighted(0.2, 1u32..40), 0u8..6, 0u8..4).prop_map(|(id, n, ip)| Step::Add(id, n, ip)),
            (1u32..40, any::<bool>()).prop_map(|(id, purge)| Step::Remove(id, purge)),
            Just(Step::Reread),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_line_by_line(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), Just(b'!'), Just(b'#'), any::<u8>()], 0..200)) {
            let table = Table::parse(&bytes, false);
            let written: Vec<u8> = table.text().flatten().copied().collect();
            let sorted = |bytes: &[u8]| {
                let mut all: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect();
                all.retain(|line| !line.is_empty());
                all.sort();
                all
            };
            prop_assert_eq!(sorted(&bytes), sorted(&written));
            let again = Table::parse(&written, false);
            prop_assert_eq!(again.text().flatten().copied().collect::<Vec<u8>>(), written);
            prop_assert_eq!(again.counter(), table.counter());
        }

        #[test]
        fn the_indexes_agree_with_the_lines(steps in proptest::collection::vec(step(), 0..60)) {
            let mut table = Table::default();
            for step in steps {
                match step {
                    Step::Add(id, name, ip) => {
                        let ip = if ip == 0 { ANY.to_owned() } else { format!("10.0.0.{ip}") };
                        let id = id.map(|id| id.to_string()).filter(|id| table.by_id(id).is_none());
                        let before = table.counter();
                        let at = table.add(id.as_deref(), &format!("name{name}"), &ip, "key").unwrap();
                        prop_assert!(id.is_some() || number(table.agent(at).id()).parse::<u32>().unwrap() == before + 1);
                    }
                    Step::Remove(id, purge) => {
                        if let Some(at) = table.by_id(&id.to_string()) {
                            prop_assert!(table.remove(at, purge).is_some());
                        }
                    }
                    Step::Reread => {
                        let (written, counter) = (text(&table), table.counter());
                        table = Table::parse(written.as_bytes(), false);
                        table.raise_to(counter);
                        prop_assert_eq!(text(&table), written);
                    }
                }
                let live: Vec<Place> = (0..table.agents.places()).filter(|at| table.agents.agent(*at).is_some()).collect();
                prop_assert_eq!(live.len(), table.count());
                for at in &live {
                    let agent = table.agent(*at);
                    prop_assert_eq!(table.by_id(agent.id()), Some(*at));
                    let first = |part: Part| live.iter().copied().find(|other| table.agents.part(*other, part) == table.agents.part(*at, part));
                    prop_assert_eq!(table.by_name(agent.name(), &[]), first(Starts::name));
                    let expected = if agent.ip() == ANY { None } else { first(Starts::address) };
                    prop_assert_eq!(table.by_address(agent.ip(), &[]), expected);
                }
            }
        }
    }
}
