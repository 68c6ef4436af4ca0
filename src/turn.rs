//! One turn of a task: the same guard, measure, words and counts for every task.
//!
//! ```text
//! run ─┬─► start: "Starting." ─► finish: "Finished in 0.003s. …", counted with its time
//!      └─► an error or a panic: counted, logged ─► Failure ─► follow_up
//! ```
//! An error and a panic come out of [`Turns::run`] as one value. What a task has to do after a turn that failed (forget,
//! report to the peer, put back, ask again) it therefore does in one place, for both; within [`Turns::follow_up`] if a
//! fault of its own is possible there, since a panic outside of both ends the process.

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use log::Level;

use crate::{
    logging::{Repeats, Scope, log},
    metrics::{Metrics, Task},
    system::{clock::Clock, thread::guard},
};

/// The turns of one task.
pub struct Turns {
    scope: Scope,
    clock: Clock,
    /// Where they are counted.
    counted: Option<(Arc<Metrics>, Task)>,
    /// The damped failures since the last turn that ended well.
    failures: Repeats,
    /// What was logged by [`Turns::report`].
    facts: Repeats,
}

/// Why a turn failed; it is counted and logged already.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// The error of the task; its text is the line of the log.
    Error(E),
    /// The text of a panic: this program is at fault.
    Panic(String),
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Panic(panic) => {
                write!(f, "Failed because of a fault in wazuh-clusterd: {panic}. Please report this.")
            }
        }
    }
}

impl Turns {
    /// Those of `task`, which logs under `scope`.
    pub fn new(task: Task, scope: Scope, metrics: &Arc<Metrics>, clock: &Clock) -> Self {
        Self { counted: Some((metrics.clone(), task)), ..Self::uncounted(scope, clock) }
    }

    /// Those of a task that has no metric.
    pub fn uncounted(scope: Scope, clock: &Clock) -> Self {
        let (failures, facts) = (Repeats::default(), Repeats::default());
        Self { scope, clock: clock.clone(), counted: None, failures, facts }
    }

    /// The scope of the task's lines.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Runs one turn. A failure is logged as an error each time, as the stock daemon does.
    ///
    /// # Errors
    /// The error of the turn, or its panic.
    pub fn run<T, E: fmt::Display>(&self, turn: impl FnOnce() -> Result<T, E>) -> Result<T, Failure<E>> {
        self.run_damped(|_| false, turn)
    }

    /// [`Turns::run`], with those errors `damped` that each turn repeats until somebody mends their cause, and that the
    /// stock daemon does not log: at debug level, as long as the same error repeats itself.
    ///
    /// # Errors
    /// As [`Turns::run`].
    pub fn run_damped<T, E: fmt::Display>(
        &self,
        damped: impl FnOnce(&E) -> bool,
        turn: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Failure<E>> {
        let (failure, damped) = match guard(turn) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => {
                let damped = damped(&error);
                (Failure::Error(error), damped)
            }
            Err(panic) => (Failure::Panic(panic), false),
        };
        if let Some((metrics, task)) = &self.counted {
            metrics.failed(*task);
        }
        let text = failure.to_string();
        let level = if damped { self.failures.level(Level::Error, &text, self.clock.now()) } else { Level::Error };
        log!(self.scope, level, "{text}");
        Err(failure)
    }

    /// Runs what has to follow a turn, whether that failed or not. A panic in it is counted and logged like one of the turn,
    /// and ends nothing else.
    pub fn follow_up(&self, body: impl FnOnce()) {
        let run = || {
            body();
            Ok::<_, Infallible>(())
        };
        // Nothing follows from it.
        let _ = self.run(run);
    }

    /// The work of a turn begins: logs "Starting.", and gives the time for [`Turns::finish`].
    pub fn start(&self) -> Instant {
        self.start_at(Level::Info)
    }

    /// [`Turns::start`] with a line of this level.
    pub fn start_at(&self, level: Level) -> Instant {
        log!(self.scope, level, "Starting.");
        self.clock.now()
    }

    /// The work that began then has ended well: counts it, and logs how long it took and a summary, which may be empty.
    pub fn finish(&self, begun: Instant, summary: &str) {
        self.finish_at(Level::Info, begun, summary);
    }

    /// [`Turns::finish`] with a line of this level.
    pub fn finish_at(&self, level: Level, begun: Instant, summary: &str) {
        let took = self.done(begun);
        self.log_finished(level, took, summary);
    }

    /// Logs what [`Turns::finish`] does, without counting it: the turn is not over, or has failed.
    pub fn finish_uncounted(&self, begun: Instant, summary: &str) {
        self.log_finished(Level::Info, self.since(begun), summary);
    }

    fn log_finished(&self, level: Level, took: Duration, summary: &str) {
        let space = if summary.is_empty() { "" } else { " " };
        log!(self.scope, level, "Finished in {:.3}s.{space}{summary}", took.as_secs_f64());
    }

    /// [`Turns::finish`] without a line; gives how long it took. A failure that comes after it is news.
    pub fn done(&self, begun: Instant) -> Duration {
        let took = self.since(begun);
        if let Some((metrics, task)) = &self.counted {
            metrics.done(*task, took);
        }
        self.failures.clear();
        took
    }

    /// The time since then.
    pub fn since(&self, begun: Instant) -> Duration {
        self.clock.now().saturating_duration_since(begun)
    }

    /// Logs a fact at this level; the same again at debug level, until it is old.
    pub fn report(&self, level: Level, fact: &str) {
        self.report_as(level, fact, fact);
    }

    /// [`Turns::report`] of a text in which only `fact` makes it the same.
    pub fn report_as(&self, level: Level, fact: &str, text: &str) {
        log!(self.scope, self.facts.level(level, fact, self.clock.now()), "{text}");
    }

    /// Whether the next failure with this text would be at debug level.
    #[cfg(test)]
    pub(crate) fn damps(&self, text: &str) -> bool {
        self.failures.level(Level::Error, text, self.clock.now()) == Level::Debug
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{logging::scope, system::clock::FakeClock};

    #[test]
    fn an_error_and_a_panic_count_alike_and_what_was_done_is_measured() {
        let (clock, hand) = FakeClock::new();
        let metrics = Arc::new(Metrics::new(&clock));
        let turns = Turns::new(Task::AgentInfo, scope("Worker w", "Agent-info sync"), &metrics, &clock);
        let meter = metrics.task(Task::AgentInfo);

        assert_eq!(turns.run(|| Err::<(), _>("no answer")), Err(Failure::Error("no answer")));
        let panic = turns.run(|| -> Result<(), String> { panic!("as ordered") }).unwrap_err();
        assert_eq!(panic.to_string(), "Failed because of a fault in wazuh-clusterd: as ordered. Please report this.");
        assert_eq!((meter.failures.get(), meter.last()), (2, None));

        let done = turns.run(|| {
            let begun = turns.start();
            hand.advance(Duration::from_secs(3));
            turns.finish(begun, "Updated 1 chunks.");
            Ok::<_, String>(7)
        });
        assert_eq!(done, Ok(7));
        assert_eq!(meter.last().map(|last| last.took), Some(Duration::from_secs(3)));
        assert_eq!(meter.failures.get(), 2);

        turns.follow_up(|| panic!("as ordered"));
        assert_eq!(meter.failures.get(), 3);
    }

    #[test]
    fn only_errors_that_are_to_be_damped_are() {
        let (clock, _hand) = FakeClock::new();
        let turns = Turns::uncounted(scope("a", "b"), &clock);
        let _ = turns.run(|| Err::<(), _>("of the stock daemon"));
        let _ = turns.run_damped(|error| *error == "ours", || Err::<(), _>("another"));
        let _ = turns.run_damped(|error| *error == "ours", || Err::<(), _>("ours"));
        let panic = turns.run_damped(|_| true, || -> Result<(), String> { panic!("as ordered") }).unwrap_err();
        let texts = ["of the stock daemon", "another", "ours", &panic.to_string()];
        assert_eq!(texts.map(|text| turns.damps(text)), [false, false, true, false]);
    }

    #[test]
    fn a_failure_that_repeats_itself_is_news_again_after_a_good_turn() {
        let (clock, _hand) = FakeClock::new();
        let turns = Turns::uncounted(scope("a", "b"), &clock);
        let _ = turns.run_damped(|_| true, || Err::<(), _>("why"));
        assert!(turns.damps("why"));
        turns.report(Level::Warn, "a fact");
        turns.done(clock.now());
        assert!(!turns.damps("why"));
        assert_eq!(turns.facts.level(Level::Warn, "a fact", clock.now()), Level::Debug, "facts stay known");
    }
}
