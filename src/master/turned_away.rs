//! Who was turned away, for the log: a line for the first connection of an address, and then one a minute with the number
//! of the others, so that a program which reads the log can ban the address, and a flood is a few lines.

use std::{
    collections::VecDeque,
    net::IpAddr,
    time::{Duration, Instant},
};

use log::Level;
use parking_lot::Mutex;

use crate::limits::TURNED_AWAY;

/// How long connections of one address are only counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Bytes of a reason that are remembered: the texts of peers may be of any length.
const REASON: usize = 512;

/// Addresses, the longest known first.
#[derive(Default)]
pub struct TurnedAway(Mutex<VecDeque<Entry>>);

struct Entry {
    address: IpAddr,
    since: Instant,
    /// Not yet told.
    more: u64,
    reason: String,
}

impl TurnedAway {
    /// A connection of `address` was turned away. Gives the level at which that is told, and what is to be told of an
    /// address that is forgotten for this one.
    pub fn note(&self, address: IpAddr, reason: &str, now: Instant) -> (Level, Option<String>) {
        let mut entries = self.0.lock();
        let reason = reason[..reason.floor_char_boundary(REASON)].to_owned();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.address == address) {
            entry.more += 1;
            entry.reason = reason;
            return (Level::Debug, None);
        }
        let forgotten = if entries.len() == TURNED_AWAY { entries.pop_front() } else { None };
        entries.push_back(Entry { address, since: now, more: 0, reason });
        (Level::Warn, forgotten.filter(|entry| entry.more > 0).map(|entry| entry.text(now)))
    }

    /// The lines that are due: one for each address whose minute is over and that was turned away in it. One that was not
    /// is forgotten.
    pub fn due(&self, now: Instant) -> Vec<String> {
        let (mut lines, mut entries) = (Vec::new(), self.0.lock());
        entries.retain_mut(|entry| {
            let over = now.saturating_duration_since(entry.since) >= MINUTE;
            if over && entry.more > 0 {
                lines.push(entry.text(now));
                (entry.more, entry.since) = (0, now);
                return true;
            }
            !over
        });
        lines
    }

    /// How long until a line may be due; none if no address is known.
    pub fn next(&self, now: Instant) -> Option<Duration> {
        let first = self.0.lock().iter().map(|entry| entry.since).min()?;
        Some((first + MINUTE).saturating_duration_since(now))
    }
}

impl Entry {
    fn text(&self, now: Instant) -> String {
        let Self { address, since, more, reason } = self;
        let seconds = now.saturating_duration_since(*since).as_secs();
        format!("{address} was turned away {more} more times in {seconds} s, the last time because {reason}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_a_minute_with_their_number() {
        let (turned_away, start) = (TurnedAway::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let address = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(turned_away.note(address, "the key", at(0)), (Level::Warn, None));
        for _ in 0..19 {
            assert_eq!(turned_away.note(address, "the key", at(1)), (Level::Debug, None));
        }
        assert_eq!(turned_away.note(IpAddr::from([10, 0, 0, 2]), "another", at(2)).0, Level::Warn);
        assert_eq!(turned_away.due(at(59)), Vec::<String>::new());
        assert_eq!(turned_away.next(at(59)), Some(Duration::from_secs(1)));
        let line = "10.0.0.1 was turned away 19 more times in 62 s, the last time because the key.";
        assert_eq!(turned_away.due(at(62)), [line]);
        assert_eq!(turned_away.due(at(200)), Vec::<String>::new());
        assert_eq!(turned_away.next(at(200)), None, "quiet addresses are forgotten");
    }

    #[test]
    fn the_number_of_addresses_is_bounded_and_what_is_forgotten_is_told() {
        let (turned_away, now) = (TurnedAway::default(), Instant::now());
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        for n in 0..TURNED_AWAY as u32 {
            turned_away.note(address(n), "x", now);
            turned_away.note(address(n), &"é".repeat(1000), now);
        }
        let (level, forgotten) = turned_away.note(address(1000), "x", now);
        assert_eq!(level, Level::Warn);
        assert!(forgotten.unwrap().starts_with("10.0.0.0 was turned away 1 more times in 0 s"));
        assert_eq!(turned_away.0.lock().len(), TURNED_AWAY);
    }
}
