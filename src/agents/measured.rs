//! Measures what is asked of the agent database.

use std::{sync::Arc, time::Instant};

use super::{Backend, Error, NewAgent, Reply, TakenInfo};
use crate::metrics::Database;

/// A database, and the record of its answers.
pub struct Measured<B> {
    backend: B,
    seen: Arc<Database>,
}

impl<B> Measured<B> {
    /// Notes every answer of `backend` in `seen`.
    pub fn new(backend: B, seen: Arc<Database>) -> Self {
        Self { backend, seen }
    }

    fn measure<T>(&self, ask: impl FnOnce(&B) -> Result<T, Error>) -> Result<T, Error> {
        let begun = Instant::now();
        let answer = ask(&self.backend);
        let away = matches!(answer, Err(Error::Unavailable(_)));
        self.seen.seconds.observe(begun.elapsed());
        self.seen.failures.add(away.into());
        self.seen.away.set(away);
        answer
    }
}

impl<B: Backend> Backend for Measured<B> {
    fn query(&self, request: &str) -> Result<Reply, Error> {
        self.measure(|backend| backend.query(request))
    }

    fn command(&self, request: &str) -> Result<Reply, Error> {
        self.measure(|backend| backend.command(request))
    }

    fn insert(&self, agent: &NewAgent<'_>) -> Result<(), Error> {
        self.measure(|backend| backend.insert(agent))
    }

    fn take_info(&self) -> Result<TakenInfo, Error> {
        self.measure(Backend::take_info)
    }

    fn store_info(&self, info: &str) -> Result<Option<usize>, Error> {
        self.measure(|backend| backend.store_info(info))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(fn() -> Result<Reply, Error>);

    impl Backend for Fake {
        fn query(&self, _: &str) -> Result<Reply, Error> {
            (self.0)()
        }

        fn take_info(&self) -> Result<TakenInfo, Error> {
            Ok(TakenInfo { info: "{}".into(), more: false })
        }

        fn store_info(&self, _: &str) -> Result<Option<usize>, Error> {
            Ok(None)
        }
    }

    #[test]
    fn a_database_that_is_away_is_noticed_and_one_that_refuses_is_not_away() {
        let seen = Arc::<Database>::default();
        let measured = |answer| Measured::new(Fake(answer), seen.clone());
        let away = measured(|| Err(Error::Unavailable("x".into())));
        assert!(away.query("").is_err() && seen.away.get());
        assert!(measured(|| Err(Error::Refused("x".into()))).query("").is_err() && !seen.away.get());
        assert!(away.query("").is_err() && away.take_info().is_ok() && !seen.away.get());
        assert_eq!(seen.failures.get(), 2);
        assert_eq!(seen.seconds.cumulative().last(), Some(&4));
    }
}
