//! What the master's files have been, and what workers may therefore show.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;

/// A generation, or no file.
pub type State = Option<u64>;

/// Every state of every path of the master, in their order, entered before the file is changed.
///
/// A worker has to show a part of these states in the same order: what it shows has existed on the master, and is never
/// older than what it has shown before.
#[derive(Default)]
pub struct History(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The first state of a path is that there is no file.
    states: HashMap<String, Vec<State>>,
    /// In the order in which they came, for those who choose one.
    paths: Vec<String>,
    /// How far in a path's states a worker has come.
    shown: HashMap<(usize, String), usize>,
    /// What was written on a worker by somebody there.
    foreign: HashSet<(usize, String, State)>,
}

impl History {
    /// The master's file is about to be in this state.
    pub fn enter(&self, path: &str, state: State) {
        let mut inner = self.0.lock();
        if !inner.states.contains_key(path) {
            inner.paths.push(path.to_owned());
        }
        inner.states.entry(path.to_owned()).or_insert_with(|| vec![None]).push(state);
    }

    /// The file on a worker is about to be in this state, by the hand of somebody there.
    pub fn enter_foreign(&self, worker: usize, path: &str, state: State) {
        self.0.lock().foreign.insert((worker, path.to_owned(), state));
    }

    /// The present state of all files that there are.
    pub fn present(&self) -> BTreeMap<String, u64> {
        let inner = self.0.lock();
        let last = |path: &String| inner.states[path].last().copied().flatten().map(|state| (path.clone(), state));
        inner.paths.iter().filter_map(last).collect()
    }

    /// The path with this number, counted around.
    pub fn path(&self, number: usize) -> Option<String> {
        let inner = self.0.lock();
        (!inner.paths.is_empty()).then(|| inner.paths[number % inner.paths.len()].clone())
    }

    /// A worker shows this.
    ///
    /// # Errors
    ///
    /// It may not.
    pub fn shows(&self, worker: usize, path: &str, state: State) -> Result<(), String> {
        let mut guard = self.0.lock();
        let inner = &mut *guard;
        // It may be a state of the master, too; nobody knows which of both is shown.
        if inner.foreign.contains(&(worker, path.to_owned(), state)) {
            return Ok(());
        }
        let shown = inner.shown.entry((worker, path.to_owned())).or_default();
        let states = &inner.states[path];
        if let Some(further) = states[*shown..].iter().position(|had| *had == state) {
            *shown += further;
            return Ok(());
        }
        let name = |state: State| state.map_or("no file".to_owned(), |number| format!("generation {number}"));
        let since: Vec<String> = states[*shown..].iter().map(|state| name(*state)).collect();
        let why =
            if states.contains(&state) { "that is older than what it had shown" } else { "the master never had that" };
        Err(format!("worker {worker} shows {} at {path}: {why}; the master since: {}", name(state), since.join(", ")))
    }
}

#[test]
fn a_worker_may_skip_states_but_neither_go_back_nor_invent() {
    let history = History::default();
    for state in [Some(1), Some(2), None, Some(3)] {
        history.enter("a", state);
    }
    assert_eq!(history.present(), BTreeMap::from([("a".to_owned(), 3)]));
    for state in [None, Some(1), Some(1), None, Some(3)] {
        assert_eq!(history.shows(1, "a", state), Ok(()), "{state:?}");
    }
    for state in [Some(1), Some(2), None, Some(4)] {
        assert!(history.shows(1, "a", state).is_err(), "{state:?}");
    }
    history.enter_foreign(1, "a", Some(9));
    assert_eq!(history.shows(1, "a", Some(9)), Ok(()));
    // Whoever deletes it there does not show that the master did.
    history.enter_foreign(1, "a", None);
    history.enter("a", None);
    for state in [None, Some(3)] {
        assert_eq!(history.shows(1, "a", state), Ok(()));
    }
    assert!(history.shows(2, "a", Some(9)).is_err());
}
