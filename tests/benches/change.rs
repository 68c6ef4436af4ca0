//! From a changed rule on the master to the same rule on the worker.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Failure, Place,
    files::Random,
    node::{Node, PATIENCE, Setup, free_port, furnish},
    rule::{RULE, change, reads},
    table::{Table, number, ratio},
    timing::{Samples, setting},
};

/// The default intervals of a check and of the master's look at its files, seconds.
const INTERVALS: [f64; 2] = [9.0, 8.0];
/// On a classic link, where the worker waits for them, they are shortened by this, or the benchmark would take minutes.
const SCALE: f64 = 10.0;
/// The longest pause before a change, milliseconds.
const PAUSE: u64 = 1700;
/// Seconds that the original needs with the default intervals: on average, and at worst.
const ORIGINAL: [f64; 2] = [9.0, 17.0];

/// Changes a rule again and again at moments that have nothing to do with the intervals, and prints how long each change
/// took. The worker is the one that was measured when idle, so it has the 10 000 files.
pub fn measure(place: &Place, link: &str, native: bool) -> Result<(), Failure> {
    let changes = setting("BENCH_CHANGES", 20);
    let worker_home = place.worker(if native { "native-idle" } else { "classic-idle" });
    let scale = if native { 1.0 } else { SCALE };
    let [check, local] = INTERVALS.map(|interval| interval / scale);
    let setup = Setup { native, check, local };
    let port = free_port()?;
    furnish(&place.master, "master", port, setup)?;
    furnish(&worker_home, "worker", port, setup)?;
    let (rule, copy) = (place.master.join(RULE), worker_home.join(RULE));
    change(&rule, "begin")?;
    let mut master = Node::start(&place.master)?;
    master.wait_for(0, &["[Local integrity] Finished in"])?;
    let mut worker = Node::start(&worker_home)?;
    wait_for(&copy, "begin", &mut worker)?;

    let (mut all, mut handling) = (Samples::default(), Samples::default());
    let mut random = Random(1);
    for number in 0..changes {
        thread::sleep(Duration::from_millis(random.next() % PAUSE));
        let text = format!("change {number}");
        worker.glance()?;
        let lines = worker.lines.len();
        let begun = Instant::now();
        change(&rule, &text)?;
        all.push(wait_for(&copy, &text, &mut worker)?.duration_since(begun).as_secs_f64());
        // What does not depend on the intervals: the check that found it, and what followed.
        let (_, applied) = worker.wait_for(lines, &["[Integrity sync] Finished in"])?;
        let starts = worker.lines.iter().skip(lines).take_while(|line| line.seen <= applied.seen);
        let check = starts.filter(|line| line.text.contains("[Integrity check] Starting.")).last();
        handling.extend(check.map(|check| applied.seen.duration_since(check.seen).as_secs_f64()));
    }
    let title = format!(
        "{}, {link}: from a changed rule to the worker, {changes} changes, intervals {check} and {local} s",
        place.name
    );
    let mut table = Table::new(title, ["what", "median", "best", "worst"]);
    let [median, best, worst] = [all.median(), all.best(), all.worst()];
    table.row(["measured".to_owned(), number(median), number(best), number(worst)]);
    let [check, _, most] = [handling.median(), handling.best(), handling.worst()];
    table.row(["of that check, sending and applying".to_owned(), number(check), number(handling.best()), number(most)]);
    // The handling takes as long as it takes; only the waiting grows with the intervals.
    let whole = |measured: f64| (measured - check).max(0.0) * scale + check;
    table.row([
        "so with the default intervals".to_owned(),
        number(whole(median)),
        number(whole(best)),
        number(whole(worst)),
    ]);
    table.row(["original (mean, worst)".to_owned(), number(ORIGINAL[0]), "-".to_owned(), number(ORIGINAL[1])]);
    table.row([
        "ours as a part of the original".to_owned(),
        ratio(whole(median), ORIGINAL[0]),
        "-".to_owned(),
        ratio(whole(worst), ORIGINAL[1]),
    ]);
    table.print();
    worker.stop()?;
    Ok(master.stop()?)
}

fn wait_for(copy: &Path, text: &str, worker: &mut Node) -> Result<Instant, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if reads(copy, text) {
            return Ok(Instant::now());
        }
        // So that its lines are seen when they are written.
        worker.glance()?;
        if Instant::now() > deadline {
            return Err(worker.failure(&format!("the change '{text}' has not come within {PATIENCE:?}")));
        }
        thread::sleep(Duration::from_millis(2));
    }
}
