//! Each model says what holds whatever the schedule is. Threads that wait for ever are found by shuttle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{NEVER, bounded};
use parking_lot::Mutex;
use shuttle::{
    rand::{Rng, thread_rng},
    thread,
};

use crate::{
    agents::Error,
    budget::{Budget, Full},
    clock::Clock,
    handover::{NoAnswer, handover, serve},
    pen::Pen,
    pending::Pending,
    running::{Lock, Running},
    shutdown,
    wakeup::Wakeup,
    wire::Message,
    work::{Work, hand},
};

type Model = fn();

pub const ALL: [(&str, Model); 9] = [
    ("what is put into the outbox is written, once and in order", pen),
    ("an answer reaches who waits for it, or nobody", pending),
    ("the order to stop ends every wait", stop),
    ("a change is seen by a run that begins after it", wake),
    ("work is done, or given up, and never both", hand_over),
    ("an owner that fails or ends leaves nobody waiting", owner_fails),
    ("an owner does what was handed in before the order to stop", owner),
    ("one check of a worker runs at a time", checks),
    ("who waits for room gets what others give back", room),
];

/// At any moment from now on.
const SOON: Duration = Duration::ZERO;

/// The pen of a connection: three threads put two messages each where two wait, and each has the pen taken. At any message
/// the pen may go to a thread of its own, which writes on for as long as it likes.
fn pen() {
    struct Link {
        outbox: crossbeam_channel::Sender<(usize, usize)>,
        waiting: crossbeam_channel::Receiver<(usize, usize)>,
        pen: Pen<Vec<(usize, usize)>>,
        threads: Mutex<Vec<thread::JoinHandle<()>>>,
    }
    fn write(link: &Arc<Link>) {
        link.pen.write(
            || !link.waiting.is_empty(),
            |mut written| {
                while let Ok(message) = link.waiting.try_recv() {
                    written.push(message);
                    if thread_rng().gen_bool(0.3) {
                        let other = link.clone();
                        let goes_on = thread::spawn(move || {
                            while let Ok(message) = other.waiting.recv_timeout(SOON) {
                                written.push(message);
                            }
                            other.pen.put_back(written);
                            write(&other);
                        });
                        link.threads.lock().push(goes_on);
                        return None;
                    }
                }
                Some(written)
            },
        );
    }
    let (outbox, waiting) = bounded(2);
    let link = Arc::new(Link { outbox, waiting, pen: Pen::new(Vec::new()), threads: Mutex::default() });
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let link = link.clone();
            thread::spawn(move || {
                for number in 0..2 {
                    link.outbox.send((sender, number)).unwrap();
                    write(&link);
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    loop {
        let Some(goes_on) = link.threads.lock().pop() else { break };
        goes_on.join().unwrap();
    }
    assert!(link.waiting.is_empty(), "something was put there that nobody wrote");
    let written = Mutex::new(Vec::new());
    let look = |all| {
        *written.lock() = all;
        None
    };
    link.pen.write(|| true, look);
    let written = written.lock();
    for sender in 0..3 {
        let of_one: Vec<_> = written.iter().filter(|message| message.0 == sender).map(|message| message.1).collect();
        assert_eq!(of_one, [0, 1], "each once, in order");
    }
}

/// The table of open requests: three threads ask, two give up at any moment; the reader answers each counter twice, and one
/// that was never given.
fn pending() {
    let pending = Arc::new(Pending::new());
    let (tell, asked) = bounded(3);
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let (pending, tell) = (pending.clone(), tell.clone());
            thread::spawn(move || {
                let waiting = pending.open();
                tell.send(waiting.counter).unwrap();
                let longest = if number == 0 { NEVER } else { SOON };
                let answer = waiting.answer.recv_timeout(longest).ok();
                assert!(answer.as_ref().is_none_or(|answer| answer.counter == waiting.counter), "another's answer");
                assert!(answer.is_some() || number > 0, "who does not give up is answered");
                answer.is_some()
            })
        })
        .collect();
    drop(tell);
    let (mut counters, mut delivered) = (Vec::new(), 0);
    while let Ok(counter) = asked.recv() {
        delivered += usize::from(pending.deliver(Message { counter, text: "first" }));
        assert!(!pending.deliver(Message { counter, text: "second" }), "a request is answered once");
        assert!(!pending.deliver(Message { counter: counter ^ 0x1000, text: "nobody's" }));
        counters.push(counter);
    }
    let answered = threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>();
    assert!(answered <= delivered);
    counters.sort_unstable();
    counters.dedup();
    assert_eq!(counters.len(), 3, "no counter is given twice");
}

/// Shutdown: threads wait with a clock that never comes, with one that may, and not at all.
fn stop() {
    let (trigger, order) = shutdown::channel();
    let threads: Vec<_> = [NEVER, SOON, NEVER]
        .into_iter()
        .map(|delay| {
            let order = order.clone();
            thread::spawn(move || {
                let slept = order.sleep(&Clock, delay);
                assert!(slept || order.ordered(), "the order was given");
                assert!(!slept || delay < NEVER);
                slept
            })
        })
        .collect();
    thread::spawn(move || drop(trigger)).join().unwrap();
    assert!(order.ordered() && !order.sleep(&Clock, NEVER));
    threads.into_iter().for_each(|thread| _ = thread.join().unwrap());
}

/// The wake-up of the scanner: two threads change something and wake it; it has seen both changes some time, although no
/// period ever ends.
fn wake() {
    let ((trigger, order), wakeup) = (shutdown::channel(), Wakeup::default());
    let (changes, (seen, tell)) = (Arc::new(AtomicUsize::new(0)), bounded(1));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (changes, wakeup) = (changes.clone(), wakeup.clone());
            thread::spawn(move || {
                changes.fetch_add(1, SeqCst);
                wakeup.wake();
            })
        })
        .collect();
    let scanner = thread::spawn(move || {
        let mut told = false;
        loop {
            let found = changes.load(SeqCst);
            // What comes while the rest of a run goes on is left to the next.
            thread::yield_now();
            if found == 2 && !told {
                told = true;
                seen.send(()).unwrap();
            }
            if !wakeup.wait(&order, &Clock, Instant::now() + 2 * NEVER) {
                return;
            }
        }
    });
    tell.recv().unwrap();
    drop(trigger);
    scanner.join().unwrap();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

/// The hand-over: its owner is late, or in time; whoever waits may lose patience, and the node may stop.
fn hand_over() {
    let (trigger, order) = shutdown::channel();
    let (queue, taken) = bounded(1);
    let done = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let callers: Vec<_> = (0..2)
        .map(|number| {
            let (order, queue, done) = (order.clone(), queue.clone(), done.clone());
            thread::spawn(move || {
                let (ticket, waiting) = handover(SOON, &order);
                let answer = waiting.hand_in(&queue, (number, ticket)).and_then(|()| waiting.wait(Some(SOON)));
                (number, answer, done[number].load(SeqCst))
            })
        })
        .collect();
    drop(queue);
    let (its, stopped) = (done.clone(), order.clone());
    let owner = thread::spawn(move || {
        while let Ok((number, ticket)) = taken.recv() {
            if ticket.take() {
                its[number].store(true, SeqCst);
                ticket.answer(number);
            }
        }
    });
    thread::spawn(move || drop(trigger));
    let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    owner.join().unwrap();
    for (number, answer, was_done) in answers {
        let is_done = done[number].load(SeqCst);
        match answer {
            Ok(answer) => assert!(answer == number && was_done),
            Err(NoAnswer::Stopped) => assert!(!is_done && stopped.ordered()),
            Err(NoAnswer::Late) => assert!(!is_done, "what was given up is not done"),
            Err(NoAnswer::Slow) => assert!(is_done),
            Err(NoAnswer::Failed) => panic!("it did not fail"),
        }
    }
}

/// An owner that fails in the middle of one piece of work, and ends before it takes up another, while no clock ever comes.
fn owner_fails() {
    let (_trigger, order) = shutdown::channel();
    let (queue, taken) = bounded(2);
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (order, queue) = (order.clone(), queue.clone());
            thread::spawn(move || {
                let (ticket, waiting) = handover::<u8>(NEVER, &order);
                waiting.hand_in(&queue, ticket).and_then(|()| waiting.wait(None))
            })
        })
        .collect();
    thread::spawn(move || {
        let ticket = taken.recv().unwrap();
        assert!(ticket.take());
        drop(ticket);
    });
    let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == Err(NoAnswer::Failed)).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Err(NoAnswer::Stopped)).count(), 1, "{answers:?}");
}

/// The owner of the agent database: work of the cluster and of others, and the order to stop at any moment. Who waits has
/// patience, so only the order ends a wait.
fn owner() {
    let (trigger, order) = shutdown::channel();
    let ((own, first), (others, second)) = (bounded::<Work<usize>>(1), bounded::<Work<usize>>(1));
    // The handle of the database has all its queues, as long as there is one.
    let queues = [own.clone(), own, others.clone(), others];
    let callers: Vec<_> = queues
        .clone()
        .into_iter()
        .map(|queue| {
            let order = order.clone();
            thread::spawn(move || {
                let ran = Arc::new(AtomicBool::new(false));
                let its = ran.clone();
                let work = move |count: &mut usize| {
                    its.store(true, SeqCst);
                    *count += 1;
                    *count
                };
                (hand(&queue, NEVER, &order, work), ran)
            })
        })
        .collect();
    let (its, stops) = (order.clone(), Arc::new(AtomicBool::new(false)));
    // What is handed in after the owner's end stays where it is.
    let (stopped, _ends) = (stops.clone(), (first.clone(), second.clone()));
    let owner = thread::spawn(move || {
        let mut count = 0;
        serve(&its, &first, &second, |work, _| work(Ok(&mut count)));
        count
    });
    thread::spawn(move || {
        stopped.store(true, SeqCst);
        drop(trigger);
    });
    let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    let count = owner.join().unwrap();
    let mut done: Vec<usize> = Vec::new();
    for (answer, ran) in answers {
        match answer {
            Ok(number) => done.push(number),
            Err(Error::Unavailable(reason)) => {
                assert!(reason == "this node stops" && stops.load(SeqCst) && !ran.load(SeqCst), "{reason}");
            }
        }
    }
    done.sort_unstable();
    assert_eq!(done, (1..=count).collect::<Vec<_>>(), "each was done once, and heard of");
}

/// The permission of checks: a worker begins three, each as soon as it may; one takes longer than it may, and ends while its
/// successor runs.
fn checks() {
    const LIMIT: Duration = Duration::from_secs(1000);
    let (running, at_work) = (Arc::new(Mutex::new(Running::<()>::default())), Arc::new(AtomicUsize::new(0)));
    let (begun, given_up) = (Instant::now(), AtomicUsize::new(0));
    let checks: Vec<_> = (0..3u32)
        .filter_map(|number| {
            let mut running_now = running.lock();
            // The second comes so late that the first, if it runs still, has been running for too long.
            let now = begun + if number == 0 { Duration::ZERO } else { 2 * LIMIT };
            let lock = running_now.lock(now, LIMIT);
            match lock {
                Lock::Held => return None,
                Lock::Free => {}
                Lock::Broken => _ = given_up.fetch_add(1, SeqCst),
            }
            assert!(at_work.load(SeqCst) <= given_up.load(SeqCst), "one that was not given up runs still");
            let task = number.to_string();
            running_now.begin(&task, now, ());
            at_work.fetch_add(1, SeqCst);
            drop(running_now);
            let (running, at_work) = (running.clone(), at_work.clone());
            Some(thread::spawn(move || {
                thread::yield_now();
                let mut running = running.lock();
                let was_last = running.of(&task).is_some();
                running.end(&task);
                assert!(was_last || !running.is_free() || task == "0", "only the one that was given up ends unseen");
                at_work.fetch_sub(1, SeqCst);
            }))
        })
        .collect();
    checks.into_iter().for_each(|check| check.join().unwrap());
    assert!(running.lock().is_free(), "another may begin");
}

/// The memory of a node: three connections take more than there is, wait for each other, and are never closed; all comes
/// back.
fn room() {
    let budget = Budget::new(3, 3, NEVER);
    let held = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = [2, 3, 1]
        .into_iter()
        .map(|bytes| {
            let (account, held) = (budget.account(|| panic!("nobody is to be closed")), held.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    let share = account.take(bytes, || false).unwrap();
                    assert!(held.fetch_add(bytes, SeqCst) + bytes <= 3, "more than there is");
                    thread::yield_now();
                    assert_eq!(account.try_take(3).err(), Some(Full::OfOne));
                    held.fetch_sub(bytes, SeqCst);
                    drop(share);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(budget.taken(), 0);
}
