//! One synchronisation after the other, and the phases of each.

use std::{fs, path::Path, time::Duration};

use crate::{
    Failure,
    files::Files,
    limit::Limits,
    node::{Node, Setup, free_port, furnish},
    process::processor_seconds,
    table::{Table, number, ratio},
    target::verdict,
    timing::Samples,
};

/// The part of it that ours is to need.
const TARGET: f64 = 0.2;

/// The phases of all runs of one kind.
pub struct Phases {
    files: Files,
    /// The master's first local integrity run, in which it reads all files.
    local: Samples,
    /// The run for the checksums that only a classic link needs.
    local_again: Samples,
    check: Samples,
    sending: Samples,
    applying: Samples,
    sum: Samples,
    outside: Samples,
    from_start: Samples,
    confirmed: Samples,
    /// Processor time of master and worker, from the worker's start until it is in sync: what does not depend on who
    /// else uses the machine.
    processor: [Samples; 2],
}

impl Phases {
    /// No run yet.
    pub fn new(files: Files) -> Self {
        let none = Samples::default;
        Self {
            files,
            local: none(),
            local_again: none(),
            check: none(),
            sending: none(),
            applying: none(),
            sum: none(),
            outside: none(),
            from_start: none(),
            confirmed: none(),
            processor: [none(), none()],
        }
    }

    /// Starts a master and an empty worker, waits until the worker has all files, and looks whether it has them.
    pub fn measure(&mut self, master: &Path, worker: &Path, setup: Setup) -> Result<(), Failure> {
        let port = free_port()?;
        furnish(master, "master", port, setup)?;
        furnish(worker, "worker", port, setup)?;
        let mut leader = Node::start(master)?;
        let (first, line) = leader.wait_for(0, &["[Local integrity] Finished in"])?;
        self.local.extend(line.finished_in());

        let before = processor_seconds(leader.pid())?;
        let started = std::time::Instant::now();
        let mut node = Node::start(worker)?;
        let (check, begun) = node.wait_for(0, &["[Integrity check] Starting."])?;
        let (_, checked) = node.wait_for(check, &["[Integrity check] Finished in", "Sync required."])?;
        let (sync, applied) = node.wait_for(check, &["[Integrity sync] Finished in"])?;
        let used = [processor_seconds(leader.pid())? - before, processor_seconds(node.pid())?];
        let (_, sent) = leader.wait_for(0, &["[Integrity sync] Finished in"])?;
        let (_, confirmed) = node.wait_for(sync, &["[Integrity check] Finished in", "Sync not required."])?;
        if let Some(path) = difference(self.files, master, worker) {
            return Err(format!("{} is not what it is on the master", worker.join(path).display()).into());
        }
        if let Some((_, line)) = node.line(0, &["ERROR"]).or_else(|| leader.line(0, &["ERROR"])) {
            return Err(format!("a node complains: {}", line.text).into());
        }
        let again = leader.line(first + 1, &["[Local integrity] Finished in"]);
        if !setup.native
            && let Some((_, line)) = again
        {
            self.local_again.extend(line.finished_in());
        }

        let phases = [checked, sent, applied.clone()].map(|line| line.finished_in().unwrap_or(f64::NAN));
        for (samples, seconds) in [&mut self.check, &mut self.sending, &mut self.applying].into_iter().zip(phases) {
            samples.push(seconds);
        }
        self.sum.push(phases.iter().sum());
        let between = |from: std::time::Instant, to: std::time::Instant| to.duration_since(from).as_secs_f64();
        self.outside.push(between(begun.seen, applied.seen));
        self.from_start.push(between(started, applied.seen));
        self.confirmed.extend(confirmed.finished_in());
        self.processor.iter_mut().zip(used).for_each(|(samples, seconds)| samples.push(seconds));
        node.stop()?;
        leader.stop()?;
        // What is still in flight to the disk is not of the next run.
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    }

    /// Prints the phases beside what the machine needs for the bare work.
    pub fn print(&self, title: &str, limits: &Limits) {
        let columns = ["phase", "median", "best", "worst", "limit", "ratio", "original", "target", "verdict"];
        let mut table = Table::new(format!("{title}: from an empty worker to in sync, seconds"), columns);
        let ([check, sending, applying], original) = self.files.original;
        let bare = [limits.check(), limits.sending(), limits.applying()];
        let limit = bare.iter().sum();
        for (name, samples, limit, original) in [
            ("check (worker's log)", &self.check, bare[0], check),
            ("sending (master's log)", &self.sending, bare[1], sending),
            ("applying (worker's log)", &self.applying, bare[2], applying),
            ("all three", &self.sum, limit, original),
            ("the same from outside", &self.outside, limit, original),
            ("from the worker's start to in sync", &self.from_start, f64::NAN, f64::NAN),
            ("processor time of the master for it", &self.processor[0], f64::NAN, f64::NAN),
            ("processor time of the worker for it", &self.processor[1], f64::NAN, f64::NAN),
            ("the check that confirms it", &self.confirmed, f64::NAN, f64::NAN),
            ("master's first local integrity", &self.local, limits.local_integrity(), f64::NAN),
            ("... again, for the whole BLAKE2b", &self.local_again, limits.local_integrity(), f64::NAN),
        ] {
            if samples.median().is_nan() {
                continue;
            }
            let target = original * TARGET;
            table.row([
                name.to_owned(),
                number(samples.median()),
                number(samples.best()),
                number(samples.worst()),
                number(limit),
                ratio(samples.median(), limit),
                number(original),
                number(target),
                if target.is_finite() { verdict(samples.median(), target) } else { String::new() },
            ]);
        }
        table.print();
        println!(
            "  The bare work alone, on one thread, takes {} of the target for all three.",
            ratio(limit, original * TARGET)
        );
    }
}

/// The first of them that `copy` has not as `home` has it.
fn difference(files: Files, home: &Path, copy: &Path) -> Option<String> {
    files.paths().find(|path| {
        let (one, other) = (fs::read(home.join(path)), fs::read(copy.join(path)));
        !matches!((one, other), (Ok(one), Ok(other)) if one == other)
    })
}
