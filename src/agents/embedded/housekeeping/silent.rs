//! Agents that have been silent for too long are disconnected (`spec/agentdb.md` 7.7).
//!
//! The node that an agent reports to says so by itself while it can; this duty says it for a node that is gone with its
//! agents. As with the stock daemon, each node does it to its own rows, and tells nobody.

use std::time::{Duration, Instant};

use super::duty::{DutyFailure, Rows};
use crate::{
    agents::embedded::{Database, agents, answer::Failure},
    logging::{Scope, info},
};

/// Agents that are disconnected at a time.
const BATCH: usize = 1_000;

/// Looks in the time for which an agent may be silent, as long as none is more than a minute after the one before.
const LOOKS: u32 = 10;

/// When it is looked for them.
pub(super) struct Silent {
    limit: Duration,
    next: Instant,
}

impl Silent {
    /// The first look is not before agents had time to report to this node, or to others that it hears of them from.
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, next: now + limit }
    }

    /// Disconnects those that have been silent for the limit.
    pub(super) fn turn(&mut self, database: &impl Rows, now: Instant, scope: &Scope) -> Result<(), DutyFailure> {
        if now < self.next {
            return Ok(());
        }
        let limit = i64::try_from(self.limit.as_secs()).unwrap_or(i64::MAX);
        let (mut last, mut count) = (0, 0);
        while let Some((id, some)) = database.with(move |database| disconnect(database, last, limit))?? {
            (last, count) = (id, count + some);
        }
        if count > 0 {
            info!(scope, "{count} agents have been silent for {limit} s, and are disconnected.");
        }
        self.next = now + (self.limit / LOOKS).clamp(Duration::from_secs(1), Duration::from_secs(60));
        Ok(())
    }
}

/// Disconnects some agents; gives the last of them and their number, none if there are no more.
fn disconnect(database: &Database, after: i64, limit: i64) -> Result<Option<(i64, usize)>, Failure> {
    let before = database.now().saturating_sub(limit);
    database.transaction(|database| {
        let (mut last, mut count) = (after, 0);
        agents::disconnect_silent(database, after, before, "synced", |id| {
            let fits = count < BATCH;
            if fits {
                (last, count) = (id, count + 1);
            }
            fits
        })?;
        Ok((count > 0).then_some((last, count)))
    })
}
