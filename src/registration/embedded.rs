//! The registrar of this daemon, as those who ask it know it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{Backend, Begun, Unavailable, answer::Refusal, command, request::Request};
use crate::{config::Auth, system::shutdown::Shutdown};

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

/// A request on its way to the thread.
pub(super) struct Work {
    pub(super) request: Request,
    /// Whoever sets it first decides whether it is done: the thread or the one who has waited for long enough.
    decided: Arc<AtomicBool>,
    answer: Sender<Vec<u8>>,
}

impl Work {
    /// Takes it up; false if nobody waits for it any more.
    pub(super) fn take(&self) -> bool {
        !self.decided.swap(true, Ordering::AcqRel)
    }

    /// Gives the answer.
    pub(super) fn answer(&self, answer: Vec<u8>) {
        // Whoever has given up needs none.
        let _ = self.answer.send(answer);
    }
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
                Box::new(|| waiting?.wait())
            }
            Err(refusal) => Box::new(move || Ok(refusal.answer())),
        }
    }
}

/// A request that the thread is going to get.
struct Waiting {
    decided: Arc<AtomicBool>,
    answered: Receiver<Vec<u8>>,
    deadline: Receiver<Instant>,
    order: Shutdown,
}

fn failed(sent: bool, reason: &str) -> Unavailable {
    Unavailable { reason: format!("the registrar {reason}"), sent }
}

fn stops() -> Unavailable {
    failed(false, "stops with this node")
}

fn late(sent: bool) -> Unavailable {
    failed(sent, "does not answer; is the disk of client.keys slow?")
}

impl Embedded {
    fn hand_in(&self, queue: &Sender<Work>, request: Request) -> Result<Waiting, Unavailable> {
        let decided = Arc::new(AtomicBool::new(false));
        let (answer, answered) = bounded(1);
        let work = Work { request, decided: decided.clone(), answer };
        let deadline = crossbeam_channel::after(WAIT);
        select! {
            send(queue, work) -> sent => sent.map_err(|_| stops())?,
            recv(self.order.channel()) -> _ => return Err(stops()),
            recv(deadline) -> _ => return Err(late(false)),
        }
        Ok(Waiting { decided, answered, deadline, order: self.order.clone() })
    }
}

impl Waiting {
    fn wait(self) -> Result<Vec<u8>, Unavailable> {
        let Self { decided, answered, deadline, order } = self;
        let unanswered = || match decided.load(Ordering::Acquire) {
            true => failed(true, "failed; the log tells why"),
            false => stops(),
        };
        // A thread that has ended drops nothing of what is still in its queue, so the order to stop counts here, too.
        let given_up = select! {
            recv(answered) -> answer => return answer.map_err(|_| unanswered()),
            recv(order.channel()) -> _ => stops(),
            recv(deadline) -> _ => late(false),
        };
        if !decided.swap(true, Ordering::AcqRel) {
            return Err(given_up);
        }
        match answered.recv_timeout(WORK) {
            Ok(answer) => Ok(answer),
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => Err(late(true)),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => Err(unanswered()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::shutdown;

    const GET: &[u8] = br#"{"function":"get","arguments":{"id":"001"}}"#;

    #[test]
    fn a_request_waits_for_its_answer_and_not_for_one_that_never_comes() {
        let (trigger, order) = shutdown::channel();
        let (registrar, work) = Embedded::master(Auth::default(), order);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| registrar.begin(&[GET, b"\0"].concat())());
            let taken = work.recv().unwrap();
            assert!(taken.take() && !taken.take());
            taken.answer(b"done".to_vec());
            assert_eq!(asked.join().unwrap().unwrap(), b"done");

            // The thread fails in the middle: it may be done.
            let asked = scope.spawn(|| registrar.begin(GET)());
            let taken = work.recv().unwrap();
            assert!(taken.take());
            drop(taken);
            assert!(asked.join().unwrap().unwrap_err().sent);
            // The thread ends before it takes it up: it is certainly not done.
            let asked = scope.spawn(|| registrar.begin(GET)());
            drop(work.recv().unwrap());
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
