//! The requests that wait to be executed: nodes take turns, and on one node its programs.
//!
//! However many one node asks for, a request of another is the next but one, and one place of execution is never taken by
//! the first. The place is free for the next request while an answer is on its way; a node that does not take its answers
//! gets no more of them made. What waits is bounded; when that is reached, the node that has most in the queue gives way.

use std::collections::VecDeque;

/// Bytes of a request that count as one.
const PLACE: usize = 512 * 1024;

/// What waits, and what is executed. `P` names a node, or a peer.
pub(super) struct Queue<P, J> {
    /// In the order of their turns. None is without a request.
    nodes: VecDeque<Asking<P, J>>,
    begun: Vec<Begun<P>>,
    /// The next of [`Begun::ticket`].
    ticket: Ticket,
    /// Places that those that wait may take.
    most: usize,
    /// How many of one node are executed at a time; as many answers to it may be on their way beside them.
    of_one: usize,
}

/// Names a request that has begun.
pub(super) type Ticket = u64;

/// A request that is executed, or whose answer is on its way.
struct Begun<P> {
    ticket: Ticket,
    node: P,
    peer: P,
    executed: bool,
}

/// What waits of one node.
struct Asking<P, J> {
    node: P,
    /// In the order of their turns, each with its requests in the order in which they came. None is without one.
    peers: VecDeque<(P, VecDeque<Waiting<J>>)>,
}

struct Waiting<J> {
    job: J,
    places: usize,
}

impl<P: PartialEq + Clone, J> Queue<P, J> {
    /// An empty queue with room for `most` requests, of which `of_one` may be executed at a time for one node.
    pub(super) fn new(most: usize, of_one: usize) -> Self {
        Self { nodes: VecDeque::new(), begun: Vec::new(), ticket: 0, most, of_one }
    }

    /// How many may have begun and not be done: of one node, and one of another.
    pub(super) fn places(&self) -> usize {
        2 * self.of_one + 1
    }

    /// Adds a request of `bytes` bytes. Gives those that found no place: this one, or younger ones of a node that has more.
    pub(super) fn add(&mut self, (node, peer): (P, P), job: J, bytes: usize) -> Vec<J> {
        let places = 1 + bytes / PLACE;
        let mut refused = Vec::new();
        while self.taken() + places > self.most {
            let own = self.nodes.iter().find(|asking| asking.node == node).map_or(0, Asking::places) + places;
            match self.nodes.iter_mut().max_by_key(|asking| asking.places()) {
                Some(most) if most.places() > own => {
                    refused.extend(most.give_way());
                    self.nodes.retain(|asking| !asking.peers.is_empty());
                }
                _ => {
                    refused.push(job);
                    return refused;
                }
            }
        }
        let at = self.nodes.iter().position(|asking| asking.node == node).unwrap_or_else(|| {
            self.nodes.push_back(Asking { node, peers: VecDeque::new() });
            self.nodes.len() - 1
        });
        let peers = &mut self.nodes[at].peers;
        let at = peers.iter().position(|(other, _)| *other == peer).unwrap_or_else(|| {
            peers.push_back((peer, VecDeque::new()));
            peers.len() - 1
        });
        peers[at].1.push_back(Waiting { job, places });
        refused
    }

    /// The request whose turn it is; [`Queue::done`] must follow. None if none waits, or only such of nodes that have enough.
    pub(super) fn next(&mut self) -> Option<(Ticket, J)> {
        let executing = || self.begun.iter().filter(|begun| !begun.executed);
        if executing().count() > self.of_one {
            return None;
        }
        let may = |asking: &Asking<P, J>| {
            executing().filter(|begun| begun.node == asking.node).count() < self.of_one
                && self.begun.iter().filter(|begun| begun.node == asking.node).count() < 2 * self.of_one
        };
        let at = self.nodes.iter().position(may)?;
        let mut asking = self.nodes.remove(at)?;
        let (peer, mut requests) = asking.peers.pop_front()?;
        let Waiting { job, .. } = requests.pop_front()?;
        let node = asking.node.clone();
        let begun = Begun { ticket: self.ticket, node, peer: peer.clone(), executed: false };
        if !requests.is_empty() {
            asking.peers.push_back((peer, requests));
        }
        if !asking.peers.is_empty() {
            self.nodes.push_back(asking);
        }
        self.begun.push(begun);
        self.ticket += 1;
        Some((self.ticket - 1, job))
    }

    /// The request has been executed, and its answer is kept elsewhere: another may be executed.
    pub(super) fn executed(&mut self, ticket: Ticket) {
        if let Some(begun) = self.begun.iter_mut().find(|begun| begun.ticket == ticket) {
            begun.executed = true;
        }
    }

    /// Whoever asked for it has its answer, or does not get one.
    pub(super) fn done(&mut self, ticket: Ticket) {
        self.begun.retain(|begun| begun.ticket != ticket);
    }

    /// Takes out what waits of peers that have gone.
    pub(super) fn forget(&mut self, gone: impl Fn(&P) -> bool) -> Vec<J> {
        let mut forgotten = Vec::new();
        for asking in &mut self.nodes {
            let (gone, stay) = std::mem::take(&mut asking.peers).into_iter().partition(|(peer, _)| gone(peer));
            asking.peers = stay;
            let gone: VecDeque<(P, VecDeque<Waiting<J>>)> = gone;
            forgotten.extend(gone.into_iter().flat_map(|(_, requests)| requests).map(|waiting| waiting.job));
        }
        self.nodes.retain(|asking| !asking.peers.is_empty());
        forgotten
    }

    /// Whether a request of this peer waits, is executed or is being answered.
    pub(super) fn has(&self, is_it: impl Fn(&P) -> bool) -> bool {
        let mut waiting = self.nodes.iter().flat_map(|asking| asking.peers.iter().map(|(peer, _)| peer));
        waiting.any(&is_it) || self.begun.iter().any(|begun| is_it(&begun.peer))
    }

    fn taken(&self) -> usize {
        self.nodes.iter().map(Asking::places).sum()
    }
}

impl<P, J> Asking<P, J> {
    fn places(&self) -> usize {
        self.peers.iter().flat_map(|(_, requests)| requests).map(|waiting| waiting.places).sum()
    }

    /// Takes the youngest request of the peer that has most.
    fn give_way(&mut self) -> Option<J> {
        let places = |(_, requests): &(P, VecDeque<Waiting<J>>)| requests.iter().map(|one| one.places).sum::<usize>();
        let (_, requests) = self.peers.iter_mut().max_by_key(|peer| places(peer))?;
        let job = requests.pop_back().map(|waiting| waiting.job);
        self.peers.retain(|(_, requests)| !requests.is_empty());
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Letters = Queue<char, u32>;

    fn queue(most: usize, of_one: usize) -> Letters {
        Queue::new(most, of_one)
    }

    /// Adds requests of a node whose only peer it is itself.
    fn add(queue: &mut Letters, node: char, jobs: std::ops::Range<u32>) -> Vec<u32> {
        jobs.flat_map(|job| queue.add((node, node), job, 100)).collect()
    }

    /// All that is to be executed, each done before the next.
    fn order(queue: &mut Letters) -> Vec<u32> {
        std::iter::from_fn(|| queue.next().map(|(ticket, job)| (queue.done(ticket), job).1)).collect()
    }

    #[test]
    fn nodes_take_turns_and_keep_their_order() {
        let mut queue = queue(100, 1);
        assert!(add(&mut queue, 'a', 0..5).is_empty());
        assert!(add(&mut queue, 'b', 10..12).is_empty());
        assert!(add(&mut queue, 'c', 20..21).is_empty());
        assert_eq!(order(&mut queue), [0, 10, 20, 1, 11, 2, 3, 4]);
        assert!(queue.next().is_none());
    }

    #[test]
    fn on_one_node_programs_take_turns() {
        let mut queue = queue(100, 1);
        (0..3).for_each(|job| assert!(queue.add(('l', 'x'), job, 0).is_empty()));
        assert!(queue.add(('l', 'y'), 10, 0).is_empty() && queue.add(('w', 'w'), 20, 0).is_empty());
        assert_eq!(order(&mut queue), [0, 20, 10, 1, 2]);
    }

    #[test]
    fn one_node_leaves_places_of_execution_to_others() {
        let mut queue = queue(100, 3);
        add(&mut queue, 'a', 0..9);
        let running: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(running.iter().map(|(_, job)| *job).collect::<Vec<_>>(), [0, 1, 2]);
        add(&mut queue, 'b', 10..11);
        assert_eq!(queue.next().map(|(_, job)| job), Some(10));
        assert!(queue.next().is_none());
        queue.done(running[1].0);
        assert_eq!(queue.next().map(|(_, job)| job), Some(3));
    }

    #[test]
    fn while_an_answer_is_on_its_way_another_request_is_executed() {
        let mut queue = queue(100, 2);
        add(&mut queue, 'a', 0..9);
        let tickets: Vec<_> = (0..2).map(|_| queue.next().unwrap().0).collect();
        assert!(queue.next().is_none());
        tickets.iter().for_each(|ticket| queue.executed(*ticket));
        assert!(queue.has(|peer| *peer == 'a'));
        let more: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(more.iter().map(|(_, job)| *job).collect::<Vec<_>>(), [2, 3]);
        more.iter().for_each(|(ticket, _)| queue.executed(*ticket));
        assert!(queue.next().is_none(), "it does not take its answers");
        add(&mut queue, 'b', 10..11);
        assert_eq!(queue.next().map(|(_, job)| job), Some(10));
        assert_eq!(queue.begun.len(), queue.places());
        queue.done(tickets[0]);
        assert_eq!(queue.next().map(|(_, job)| job), Some(4));
    }

    #[test]
    fn in_a_full_queue_the_node_that_has_most_gives_way() {
        let mut queue = queue(6, 1);
        assert_eq!(add(&mut queue, 'a', 0..8), [6, 7], "nobody else is there");
        assert_eq!(add(&mut queue, 'b', 10..14), [5, 4, 3, 13], "until both have as many");
        assert_eq!(queue.add(('c', 'c'), 20, 0), [12]);
        assert_eq!(queue.add(('d', 'd'), 30, 4 * PLACE), [30], "it would have more than all others");
        assert_eq!(order(&mut queue), [0, 10, 20, 1, 11, 2]);
    }

    #[test]
    fn a_large_request_counts_more_than_once() {
        let mut queue = queue(6, 1);
        assert!(queue.add(('a', 'a'), 0, 4 * PLACE).is_empty());
        assert_eq!(queue.add(('a', 'a'), 1, PLACE), [1]);
        assert!(queue.add(('a', 'a'), 2, PLACE - 1).is_empty());
        assert_eq!(queue.add(('b', 'b'), 10, 0), [2]);
    }

    #[test]
    fn what_a_peer_asked_for_goes_with_it() {
        let mut queue = queue(100, 9);
        (0..3).for_each(|job| assert!(queue.add(('l', 'x'), job, 0).is_empty()));
        assert!(queue.add(('l', 'y'), 10, 0).is_empty() && queue.add(('w', 'x'), 20, 0).is_empty());
        let running = queue.next().unwrap();
        assert!(queue.has(|peer| *peer == 'x') && queue.has(|peer| *peer == 'y') && !queue.has(|peer| *peer == 'z'));
        assert_eq!(queue.forget(|peer| *peer == 'x'), [20, 1, 2]);
        assert!(queue.has(|peer| *peer == 'x'), "it is still executed");
        queue.done(running.0);
        assert!(!queue.has(|peer| *peer == 'x'));
        assert_eq!(order(&mut queue), [10]);
    }
}
