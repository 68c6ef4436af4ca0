//! The registrar of this daemon, as those who ask it know it.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Backend, Begun, Given, Resting, Unavailable, answer::Refusal, command, request::Request};
use crate::{
    config::Auth,
    system::{
        handover::{NoAnswer, Ticket, Waiting, handover},
        shutdown::Shutdown,
    },
};

/// Requests that wait for the thread. More wait for room.
const QUEUE: usize = 256;

/// How long a request may wait until it is taken up.
const WAIT: Duration = Duration::from_secs(20);

/// How long it may take from then on. Only a disk that hangs takes so long.
const WORK: Duration = Duration::from_secs(60);

/// The registrar of this daemon.
pub(super) struct Embedded {
    /// To the thread; none on a worker, which registers nobody.
    queue: Option<Sender<Work>>,
    auth: Auth,
    order: Shutdown,
}

/// What the thread has to do.
pub(super) enum Work {
    /// A request.
    Request(Asked),
    /// It is to do nothing.
    Rest(Rest),
}

/// A request on its way to the thread.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) ticket: Ticket<Vec<u8>>,
}

/// The order to do nothing, until its giver is gone.
pub(super) struct Rest {
    /// Told when all that came before is done.
    pub(super) begun: Sender<Given>,
    /// Never told: it ends with its giver.
    pub(super) over: Receiver<()>,
}

impl Embedded {
    /// That of a master, and the thread's end of its queue. `order` ends every wait.
    pub(super) fn master(auth: Auth, order: Shutdown) -> (Self, Receiver<Work>) {
        let (queue, work) = bounded(QUEUE);
        (Self { queue: Some(queue), auth, order }, work)
    }

    /// That of a worker.
    pub(super) fn worker(auth: Auth, order: Shutdown) -> Self {
        Self { queue: None, auth, order }
    }
}

impl Backend for Embedded {
    fn begin(&self, request: &[u8]) -> Begun<'_> {
        // Programs written in C may send the byte that ends their text.
        let text = request.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        if !text.starts_with('{') {
            let answer = command::answer(&text, &self.auth);
            return Box::new(|| Ok(answer));
        }
        let Some(queue) = &self.queue else { return Box::new(|| Ok(Refusal::Worker.answer())) };
        match Request::parse(&text) {
            Ok(request) => {
                let waiting = self.hand_in(queue, request);
                Box::new(|| waiting.and_then(|waiting| waiting.wait(Some(WORK))).map_err(unavailable))
            }
            Err(refusal) => Box::new(move || Ok(refusal.answer())),
        }
    }

    fn rest(&self) -> Option<Resting> {
        let (begun, given) = bounded(1);
        let (until, over) = bounded(0);
        self.queue.as_ref()?.send(Work::Rest(Rest { begun, over })).ok()?;
        Some(Resting { given, _until: until })
    }
}

impl Embedded {
    fn hand_in(&self, queue: &Sender<Work>, request: Request) -> Result<Waiting<Vec<u8>>, NoAnswer> {
        let (ticket, waiting) = handover(WAIT, &self.order);
        waiting.hand_in(queue, Work::Request(Asked { request, ticket }))?;
        Ok(waiting)
    }
}

fn unavailable(none: NoAnswer) -> Unavailable {
    let (sent, reason) = match none {
        NoAnswer::Stopped => (false, "stops with this node"),
        NoAnswer::Late => (false, "does not answer; the disk of client.keys may be slow"),
        NoAnswer::Slow => (true, "does not answer; the disk of client.keys may be slow"),
        NoAnswer::Failed => (true, "failed; the log tells why"),
    };
    Unavailable { reason: format!("the registrar {reason}"), sent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::shutdown;

    const GET: &[u8] = br#"{"function":"get","arguments":{"id":"001"}}"#;

    fn next(work: &Receiver<Work>) -> Asked {
        let Work::Request(asked) = work.recv().unwrap() else { panic!("a request") };
        asked
    }

    #[test]
    fn a_request_waits_for_its_answer_and_not_for_one_that_never_comes() {
        let (trigger, order) = shutdown::channel();
        let (registrar, work) = Embedded::master(Auth::default(), order);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| registrar.begin(&[GET, b"\0"].concat())());
            let taken = next(&work).ticket;
            assert!(taken.take() && !taken.take());
            taken.answer(b"done".to_vec());
            assert_eq!(asked.join().unwrap().unwrap(), b"done");

            // The thread fails in the middle: it may be done.
            let asked = scope.spawn(|| registrar.begin(GET)());
            let taken = next(&work).ticket;
            assert!(taken.take());
            drop(taken);
            assert!(asked.join().unwrap().unwrap_err().sent);
            // The thread ends before it takes it up: it is certainly not done.
            let asked = scope.spawn(|| registrar.begin(GET)());
            drop(next(&work));
            assert!(!asked.join().unwrap().unwrap_err().sent);
        });
        assert_eq!(registrar.begin(b"{")().unwrap(), Refusal::Json.answer());
        drop(trigger);
        drop(work);
        let failed = registrar.begin(GET)().unwrap_err();
        assert!(!failed.sent && failed.to_string().contains("stops"), "{failed}");
    }

    #[test]
    fn a_worker_registers_nobody_and_tells_its_configuration() {
        let (_trigger, order) = shutdown::channel();
        let registrar = Embedded::worker(Auth::default(), order);
        for request in [GET, b"{"] {
            assert_eq!(registrar.begin(request)().unwrap(), Refusal::Worker.answer());
        }
        assert!(registrar.begin(b"getconfig auth")().unwrap().starts_with(b"ok {\"auth\":{"));
    }
}
