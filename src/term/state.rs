//! What `term.json` says, and what follows from it for the role of the node.
//!
//! ```text
//! {"term": 2, "master": "b", "ids": 231, "floor": 131, "role": "worker", "wished": "master", "former": 1}
//! ```

use serde::{Deserialize, Serialize};

use super::Claim;
use crate::config::NodeType;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "File", into = "File")]
pub struct State {
    /// The highest term that was seen, and whose it is.
    pub claim: Claim,
    /// The mark: as a worker, no id up to it is certain to be free; as the master, what the workers were told.
    pub ids: u32,
    /// As the master: ids up to this one may have been given by others, so none of them is given here.
    pub floor: u32,
    /// The role that a change of master has given to this node, and the `<node_type>` that it had then.
    change: Option<(NodeType, NodeType)>,
    /// The `<node_type>` of this run; not kept.
    wished: Option<NodeType>,
    /// The term in which this node was the master, until what it has alone is set aside.
    pub former: Option<u64>,
    /// Whether a master that this node was, or has followed, was elected by the arbiter.
    pub elected: bool,
}

impl State {
    /// A change of master gives this role to the node.
    pub fn become_of(&mut self, role: NodeType) {
        self.change = self.wished.map(|wished| (role, wished));
        if role == NodeType::Master {
            self.former = None;
        }
    }

    /// The node `name`, whose `<node_type>` is `wished`, starts; gives its role. That of a change holds until a person
    /// writes another `<node_type>`.
    pub fn settle(&mut self, name: &str, wished: NodeType) -> NodeType {
        self.wished = Some(wished);
        self.change = self.change.filter(|(_, then)| *then == wished);
        let role = self.change.map_or(wished, |(role, _)| role);
        let (was_master, followed) = (self.claim.master == name, !self.claim.master.is_empty());
        match role {
            NodeType::Master => {
                if followed && !was_master {
                    self.claim.term = self.claim.term.saturating_add(1);
                    self.floor = self.ids;
                }
                self.claim.master = name.to_owned();
                self.former = None;
            }
            NodeType::Worker if followed && was_master => self.former = Some(self.claim.term),
            NodeType::Worker => {}
        }
        role
    }
}

impl State {
    /// The same of a candidate: it is the master while it acts as that, and what it was before counts for nothing else. One
    /// that starts for the first time, and was the master under another daemon, may have something to set aside.
    pub fn settle_candidate(&mut self, name: &str, wished: NodeType, acts: bool) {
        if *self == Self::default() && wished == NodeType::Master {
            self.claim.master = name.to_owned();
        }
        self.change = None;
        self.settle(name, if acts { NodeType::Master } else { NodeType::Worker });
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    term: u64,
    master: String,
    ids: u32,
    #[serde(default)]
    floor: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wished: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    elected: bool,
}

impl From<File> for State {
    fn from(File { term, master, ids, floor, role, wished, former, elected }: File) -> Self {
        let of = |text: Option<String>| text.as_deref().and_then(named);
        let change = of(role).zip(of(wished));
        Self { claim: Claim { term, master }, ids, floor, change, wished: None, former, elected }
    }
}

impl From<State> for File {
    fn from(State { claim: Claim { term, master }, ids, floor, change, former, elected, .. }: State) -> Self {
        let (role, wished) = change.unzip();
        let text = |role: Option<NodeType>| role.map(|role| role.as_str().to_owned());
        Self { term, master, ids, floor, role: text(role), wished: text(wished), former, elected }
    }
}

fn named(text: &str) -> Option<NodeType> {
    [NodeType::Master, NodeType::Worker].into_iter().find(|role| role.as_str() == text)
}

#[cfg(test)]
mod tests {
    use NodeType::{Master, Worker};

    use super::*;

    fn state(term: u64, master: &str) -> State {
        State { claim: Claim { term, master: master.to_owned() }, ..State::default() }
    }

    #[test]
    fn a_node_that_was_never_in_a_change_is_what_its_configuration_says() {
        let mut first = State::default();
        assert_eq!(first.settle("a", Master), Master);
        assert_eq!(first.claim, state(0, "a").claim);
        let mut other = State::default();
        assert_eq!(other.settle("b", Worker), Worker);
        assert_eq!(other.claim, Claim::default());
    }

    #[test]
    fn the_role_of_a_change_holds_until_a_person_writes_another_type() {
        let mut promoted = state(0, "a");
        assert_eq!(promoted.settle("b", Worker), Worker);
        promoted.claim = state(1, "b").claim;
        promoted.become_of(Master);
        assert_eq!(promoted.settle("b", Worker), Master);
        assert_eq!(promoted.settle("b", Master), Master, "the person writes it down");
        assert_eq!((promoted.change, promoted.claim.term, promoted.former), (None, 1, None));
        // Back to what it was, by hand.
        assert_eq!(promoted.settle("b", Worker), Worker);
        assert_eq!(promoted.former, Some(1));
    }

    #[test]
    fn a_worker_that_a_person_makes_the_master_begins_a_term() {
        let mut followed = State { ids: 231, ..state(3, "a") };
        assert_eq!(followed.settle("b", Master), Master);
        assert_eq!((&followed.claim, followed.floor), (&state(4, "b").claim, 231));
        assert_eq!(followed.settle("b", Master), Master);
        assert_eq!(followed.claim.term, 4, "once");
    }

    #[test]
    fn a_candidate_is_the_master_while_it_acts_as_that() {
        let mut first = State::default();
        first.settle_candidate("a", Master, false);
        assert_eq!((first.claim.master.as_str(), first.former), ("a", Some(0)), "it may have files of its own");
        let mut other = State::default();
        other.settle_candidate("b", Worker, false);
        assert_eq!(other, State { wished: Some(Worker), ..State::default() });
        other.claim = state(4, "b").claim;
        other.become_of(Master);
        let mut late = other.clone();
        late.settle_candidate("b", Worker, false);
        assert_eq!(late.former, Some(4), "it was elected, and fenced before it ran anew");
        other.settle_candidate("b", Worker, true);
        assert_eq!((other.claim.term, other.former), (4, None));
        other.settle_candidate("b", Worker, false);
        assert_eq!(other.former, Some(4), "it is fenced");
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let mut all = State { ids: 231, floor: 131, former: Some(1), elected: true, ..state(2, "b") };
        all.change = Some((Worker, Master));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(
            text,
            r#"{"term":2,"master":"b","ids":231,"floor":131,"role":"worker","wished":"master","former":1,"elected":true}"#
        );
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), all);
        let few = state(0, "a");
        assert_eq!(serde_json::from_str::<State>(&serde_json::to_string(&few).unwrap()).unwrap(), few);
        assert!(serde_json::from_str::<State>("{}").is_err());
    }
}
