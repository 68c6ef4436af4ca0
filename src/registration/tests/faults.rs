//! A fault or a crash at any operation of the disk: what was answered is so, and what was refused is not.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{super::embedded::Asked, *};
use crate::{
    registration::journal::{Entry, Journal},
    system::{
        disk::faults::{ERRORS, HARMLESS, at_each, crash_at_each},
        handover::handover,
        replacement::remove_leftover,
    },
};

/// A master of which the agent database is away: what it is to be told stands in the files only.
struct Master {
    folder: TempDir,
    home: Home,
    clock: Clock,
    order: Shutdown,
    /// Whether the line of an agent goes with it.
    purge: bool,
    _trigger: Trigger,
}

/// What somebody asks for.
#[derive(Clone, Copy)]
enum Wish<'a> {
    /// An agent of this name, with more arguments.
    Add(&'a str, &'a str),
    /// That this agent goes, if it was ever registered.
    Remove(&'a str),
}

use Wish::{Add, Remove};

/// What was answered.
#[derive(Default)]
struct Told {
    /// Id and key of each agent that was registered, by its name.
    agents: BTreeMap<String, (String, String)>,
    /// Those whose removal was asked for, and whether it was answered to be done.
    removed: BTreeMap<String, bool>,
    /// Those that were not registered.
    refused: Vec<String>,
}

impl Master {
    fn new(purge: bool) -> Self {
        // In memory, where there is one: each of many runs waits for the disk several times.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for name in ["etc/shared/web", "queue/cluster-state", "queue/diff/first/local", "queue/rids"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("queue/rids/001"), "7").unwrap();
        fs::write(folder.path().join("queue/diff/first/local/1"), "x").unwrap();
        let (home, (clock, _), (trigger, order)) = (Home::new(folder.path()), FakeClock::new(), shutdown::channel());
        Self { folder, home, clock, order, purge, _trigger: trigger }
    }

    fn registrar(&self, disk: &Disk) -> Registrar {
        let hearers = Hearers { covered: Covered::default(), outlines: None, changed: Box::new(|_| ()) };
        let auth = Auth { purge: self.purge, ..Auth::default() };
        let (home, clock, order) = (self.home.clone(), self.clock.clone(), self.order.clone());
        Registrar::new(
            Setup { home, auth, store: away(), clock, disk: disk.clone(), order, floor: 0, candidate: None },
            never(),
            hearers,
        )
    }

    /// A day of a registrar.
    fn day(&self, disk: &Disk) -> Told {
        let (mut registrar, mut told) = (self.registrar(disk), Told::default());
        registrar.recover();
        let days: [&[Wish<'_>]; 4] = [
            &[Add("first", WEB)],
            &[Add("second", ""), Add("third", "")],
            &[Add("fourth", WEB), Remove("first")],
            // The largest id is nowhere but in its own file then, if lines are purged.
            &[Remove("fourth")],
        ];
        days.iter().for_each(|wishes| self.ask(&mut registrar, &mut told, wishes));
        told
    }

    fn ask(&self, registrar: &mut Registrar, told: &mut Told, wishes: &[Wish<'_>]) {
        let request = |wish| match wish {
            Add(name, more) => Some((wish, add(name, more))),
            Remove(name) => Some((wish, remove(&told.agents.get(name)?.0))),
        };
        let hand_in = |(wish, text): (_, String)| {
            let (ticket, waiting) = handover(LONG, &self.order);
            assert!(ticket.take());
            (Asked { request: Request::parse(&text).unwrap(), ticket }, (wish, waiting))
        };
        let (works, waiting): (Vec<_>, Vec<_>) = wishes.iter().copied().filter_map(request).map(hand_in).unzip();
        registrar.carry_out(&works);
        for (wish, waiting) in waiting {
            let answer: Value = serde_json::from_slice(&waiting.wait(None).unwrap()).unwrap();
            let (done, of) = (answer["error"] == 0, |member| answer["data"][member].as_str().unwrap().to_owned());
            match wish {
                Add(name, _) if done => _ = told.agents.insert(name.to_owned(), (of("id"), of("key"))),
                Add(name, _) => told.refused.push(name.to_owned()),
                Remove(name) => _ = told.removed.insert(name.to_owned(), done),
            }
        }
    }

    /// Active agents, by name, with id and key. No line is half.
    fn keys(&self, context: &str) -> BTreeMap<String, (String, String)> {
        let text = fs::read_to_string(self.home.client_keys()).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "{context}: {text}");
        let mut keys = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, name, "any", key] = words[..] else { panic!("{context}: {text}") };
            assert_eq!(key.len(), 64, "{context}: {text}");
            if !name.starts_with('!') {
                keys.insert(name.to_owned(), (id.to_owned(), key.to_owned()));
            }
        }
        keys
    }

    /// Promise 7: what was answered is so. If it was `killed`, nobody was told what became of the rest.
    fn assert_kept(&self, told: &Told, killed: bool, context: &str) {
        let keys = self.keys(context);
        for (name, agent) in &told.agents {
            match (told.removed.get(name), keys.get(name)) {
                (Some(true), found) => assert_eq!(found, None, "{context}: {name}"),
                (Some(false), None) if killed => {}
                (_, found) => assert_eq!(found, Some(agent), "{context}: {name}"),
            }
        }
        let came = told.refused.iter().find(|name| keys.contains_key(*name));
        assert!(killed || came.is_none(), "{context}: {came:?} was refused");
        let pending = Journal::open(self.home.agents_pending(), Disk::new(), self.clock.now()).unwrap();
        for name in ["first", "fourth"].into_iter().filter(|name| told.agents.contains_key(*name)) {
            let Some((agent, _)) = keys.get(name) else { continue };
            let has_groups =
                |entry: &Entry| matches!(entry, Entry::Added { id, groups, .. } if id == agent && groups == "web");
            let is_there = pending.entries.iter().any(|one| has_groups(&one.entry));
            assert!(is_there, "{context}: the groups of {name} are lost");
        }
    }

    /// What the next start does: nothing is left over, and the next agent gets an id that nobody has had.
    fn restart(&self, told: &Told, killed: bool, context: &str) {
        let replaced = [self.home.client_keys(), self.home.highest_id(), self.home.agents_pending()];
        for replaced in replaced.into_iter().chain([self.home.agents_timestamp()]) {
            remove_leftover(&Disk::new(), &replaced).unwrap();
        }
        let mut registrar = self.registrar(&Disk::new());
        registrar.recover();
        self.assert_kept(told, killed, context);
        let (before, mut last) = (self.keys(context), Told::default());
        self.ask(&mut registrar, &mut last, &[Add("last", "")]);
        assert_eq!(self.keys(context).len(), before.len() + 1, "{context}");
        let (id, _) = &last.agents["last"];
        assert!(before.values().chain(told.agents.values()).all(|(other, _)| other < id), "{context}: {id} again");
        if told.removed.get("first") == Some(&true) {
            assert!(!self.folder.path().join("queue/rids/001").exists(), "{context}");
            assert!(!self.folder.path().join("queue/diff/first").exists(), "{context}");
        }
        for folder in ["etc", "queue", "queue/cluster-state"] {
            for entry in self.folder.path().join(folder).read_dir().unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.starts_with('.'), "{context}: {name} is left over");
            }
        }
    }
}

const WEB: &str = r#","groups":"web""#;

#[test]
fn whatever_fails_what_was_answered_is_so_and_what_was_refused_is_not() {
    for (fault, purge) in ERRORS.into_iter().chain(HARMLESS).flat_map(|fault| [(fault, false), (fault, true)]) {
        let mut refused = 0;
        let operations = at_each(fault, |disk, context| {
            let (master, context) = (Master::new(purge), format!("{context}, purge {purge}"));
            let told = master.day(disk);
            refused += told.refused.len();
            master.assert_kept(&told, false, &context);
            master.restart(&told, false, &context);
        });
        assert!(operations > 50, "{operations}");
        assert_eq!(refused == 0, HARMLESS.contains(&fault), "{fault:?}");
    }
}

#[test]
fn a_registration_that_was_answered_exists_after_any_crash() {
    for purge in [false, true] {
        crash_at_each(|disk, luck, context| {
            let master = Master::new(purge);
            disk.faults.watch(master.folder.path());
            let told = master.day(disk);
            disk.faults.cut_power(luck);
            master.restart(&told, true, &format!("{context}, purge {purge}"));
        });
    }
}
