//! A full house: who leaves when one more comes.
//!
//! One rule for all listening sockets. Whoever has something under way stays. Of the others, those of the party that has
//! most of them pay first, so that one address that floods cannot push out those of another; and of these the one that has
//! been idle for the longest leaves, so that who has just come has time to say what it wants.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// One connection, as the rule sees it.
#[derive(Clone, Copy, Debug)]
pub struct Guest<P> {
    /// With whom it came: an address. At the sockets of this machine all are one party.
    pub party: P,
    /// Since when it has had nothing under way; none while it has.
    pub idle: Option<Instant>,
}

/// The place in the list of the one that leaves; none if each has something under way or has not been idle for `moment`.
pub fn who_leaves<P: Copy + Eq + Hash>(
    guests: impl IntoIterator<Item = Guest<P>>,
    now: Instant,
    moment: Duration,
) -> Option<usize> {
    // Of each party: how many are idle, and which of them for the longest.
    let mut parties: HashMap<P, (usize, Instant, usize)> = HashMap::new();
    for (at, Guest { party, idle }) in guests.into_iter().enumerate() {
        let Some(since) = idle.filter(|since| now.saturating_duration_since(*since) >= moment) else { continue };
        let (count, oldest, which) = parties.entry(party).or_insert((0, since, at));
        *count += 1;
        if since < *oldest {
            (*oldest, *which) = (since, at);
        }
    }
    let worst = parties.into_values().max_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
    worst.map(|(_, _, which)| which)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_secs(1);

    /// Of guests that are idle for so many milliseconds, or busy.
    fn leaves(guests: &[(char, Option<u64>)], moment: Duration) -> Option<usize> {
        let now = Instant::now() + Duration::from_secs(1000);
        let guest = |(party, idle): &(char, Option<u64>)| Guest {
            party: *party,
            idle: idle.map(|milliseconds| now - Duration::from_millis(milliseconds)),
        };
        who_leaves(guests.iter().map(guest), now, moment)
    }

    #[test]
    fn the_longest_idle_of_the_largest_party_leaves() {
        assert_eq!(leaves(&[('a', Some(2000)), ('a', Some(3000)), ('a', Some(1000))], MOMENT), Some(1));
        assert_eq!(leaves(&[('a', Some(9000)), ('b', Some(2000)), ('b', Some(3000))], MOMENT), Some(2), "a flood pays");
        assert_eq!(leaves(&[('a', Some(2000)), ('b', Some(3000))], MOMENT), Some(1), "of equal parties the oldest");
    }

    #[test]
    fn who_is_busy_or_has_just_come_stays() {
        assert_eq!(leaves(&[('a', None), ('a', Some(999))], MOMENT), None);
        assert_eq!(leaves(&[('a', None), ('a', Some(999))], Duration::ZERO), Some(1));
        assert_eq!(leaves(&[('a', None), ('a', None), ('b', Some(5000))], MOMENT), Some(2));
        assert_eq!(leaves(&[], MOMENT), None);
    }
}
