//! The master's half: hands requests of workers to the programs of its manager, and sends the answers back.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use log::Level;

use super::{
    Daemons,
    daemons::{Answered, DAEMONS, Daemon, Message},
    lane::Lane,
    program::failure,
};
use crate::{
    connection::{Connection, send_string},
    limits::Share,
    logging::{log, scope, warn},
    node::Node,
    turn::Turns,
    wire::{Command, Routed},
};

/// What one connected worker asks of the programs of the master's manager.
///
/// Requests to one program keep their order; a slow program holds up neither other programs nor other workers.
pub struct SendSync {
    node: Arc<Node>,
    daemons: Arc<Daemons>,
    connection: Connection,
    turns: Turns,
    lanes: [Lane<Job>; DAEMONS],
}

struct Job {
    origin: String,
    content: Vec<u8>,
    _share: Share,
}

impl SendSync {
    /// For a worker that has just been accepted.
    pub fn new(node: Arc<Node>, daemons: Arc<Daemons>, worker: &str, connection: Connection) -> Arc<Self> {
        let turns = Turns::uncounted(scope(&format!("Worker {worker}"), "SendSync"), &node.clock);
        Arc::new(Self { node, daemons, connection, turns, lanes: Default::default() })
    }

    /// `sendsync`, which was acknowledged already: never waits.
    pub fn request(self: &Arc<Self>, request: Routed<'_>) {
        let origin = request.name.to_owned();
        let Message { daemon, content } = match Message::parse(request.content) {
            Ok(message) => message,
            Err(reason) => return self.refuse(&origin, &reason),
        };
        let Ok(share) = self.connection.try_hold(content.len()) else {
            return self.refuse(&origin, "this node holds too much for its peers already");
        };
        match self.lane(daemon).add(Job { origin, content, _share: share }) {
            Ok(false) => {}
            Ok(true) => self.start(daemon),
            Err(job) => self.refuse(&job.origin, "too many requests of this node wait for the same program already"),
        }
    }

    fn lane(&self, daemon: Daemon) -> &Lane<Job> {
        &self.lanes[daemon as usize]
    }

    fn start(self: &Arc<Self>, daemon: Daemon) {
        let this = self.clone();
        let run = move || {
            this.lane(daemon).empty(|jobs| this.carry_out(jobs, |content| this.daemons.begin(daemon, content)));
        };
        if let Err(error) = self.node.requests.spawn("sendsync", run) {
            let reason = format!("no thread can be started: {error}");
            self.lane(daemon).give_up().iter().for_each(|job| self.refuse(&job.origin, &reason));
        }
    }

    /// Hands in all of them before it waits for the first; `begin` hands one in. After a panic no program is left without
    /// an answer.
    fn carry_out<W: FnOnce() -> Answered>(&self, jobs: Vec<Job>, begin: impl Fn(Vec<u8>) -> W) {
        let (mut waiting, mut unanswered) = (VecDeque::from(jobs), VecDeque::new());
        // What is left in the two is answered below.
        let _ = self.turns.run(|| {
            let mut begun = Vec::with_capacity(waiting.len());
            while let Some(Job { origin, content, .. }) = waiting.pop_front() {
                unanswered.push_back(origin);
                begun.push(begin(content));
            }
            for wait in begun {
                let answered = wait();
                if let Some(origin) = unanswered.front() {
                    self.pass_on(origin, answered);
                    unanswered.pop_front();
                }
            }
            Ok::<_, Infallible>(())
        });
        let reason = || "the master failed: see its log".to_owned();
        for origin in &unanswered {
            self.turns.follow_up(|| self.pass_on(origin, Answered::Unknown(reason())));
        }
        for Job { origin, .. } in &waiting {
            self.turns.follow_up(|| self.pass_on(origin, Answered::Nothing(reason())));
        }
    }

    fn pass_on(&self, origin: &str, answered: Answered) {
        match answered {
            Answered::Answer(answer) => self.answer(origin, &answer),
            Answered::Nothing(reason) => self.refuse(origin, &reason),
            Answered::Unknown(reason) => {
                self.tell(Level::Warn, &format!("A request of this worker may have been done or not: {reason}"));
                self.answer(origin, &failure(&reason));
            }
        }
    }

    fn answer(&self, origin: &str, answer: &[u8]) {
        let sent = send_string(&self.connection, answer.len(), answer)
            .and_then(|id| self.connection.request(Command::SendSyncResult, Routed::payload(origin, id.as_bytes())));
        if let Err(error) = sent {
            warn!(self.turns.scope(), "An answer could not be sent to this worker: {error}");
        }
    }

    fn tell(&self, level: Level, text: &str) {
        let level = self.daemons.told.level(level, text, self.node.clock.now());
        log!(self.turns.scope(), level, "{text}");
    }

    fn refuse(&self, origin: &str, reason: &str) {
        self.tell(Level::Error, &format!("A request of this worker could not be done: {reason}"));
        if !self.connection.tell(Command::SendSyncFailed, Routed::payload(origin, reason.as_bytes())) {
            warn!(self.turns.scope(), "Could not deliver an error to this worker: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::{local_integrity::LocalIntegrity, tests::Pair};

    /// Of case 6.9: whoever waits for what the panic has ended is answered, and so are those behind it.
    #[test]
    fn after_a_panic_no_program_is_left_without_an_answer() {
        let pair = Pair::new();
        let node = pair.shared_node();
        let (services, files) = (pair.services(), Arc::new(LocalIntegrity::new(&node)));
        let (agents, registrar) = (services.agents.clone(), services.registrar.clone());
        let daemons = Arc::new(Daemons::new(&node, agents, registrar, &files));
        let send_sync = SendSync::new(node, daemons, "w", pair.master.clone());
        let jobs = || {
            let job = |origin: &str| Job {
                origin: origin.to_owned(),
                content: origin.into(),
                _share: pair.master.try_hold(1).expect("room"),
            };
            ["one", "two", "three"].map(job).into()
        };
        let answers = |answers: [&str; 3]| {
            for (origin, answer) in ["one", "two", "three"].into_iter().zip(answers) {
                let answer = pair.wait(answer);
                assert!(answer.contains(origin), "{origin}: {answer}");
            }
        };
        let panics = |content: &[u8]| assert_ne!(content, b"two", "as ordered");

        send_sync.carry_out(jobs(), |content| {
            move || {
                panics(&content);
                Answered::Answer(content)
            }
        });
        answers(["sendsyn_res "; 3]);

        // What was not handed in is refused: it has not been done.
        send_sync.carry_out(jobs(), |content| {
            panics(&content);
            move || Answered::Answer(content)
        });
        answers(["sendsyn_res ", "sendsyn_res ", "sendsyn_err "]);
        assert!(pair.is_quiet(), "each is answered once");
    }
}
