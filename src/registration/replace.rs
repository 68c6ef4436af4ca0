//! Whether a new agent may take the place of one that exists (`spec/registration.md` 4).

use super::{key, lines::Agent};
use crate::{agents::Registered, config::Force};

/// The seconds since 1970, and what the agent database says of an agent; none if it says nothing.
pub(super) struct Known {
    pub(super) now: i64,
    pub(super) info: Option<Registered>,
}

/// Tests whether `agent` may be replaced by one that proves itself with `key_hash`.
///
/// # Errors
/// The reason, for the log.
pub(super) fn test(
    agent: &Agent,
    force: &Force,
    key_hash: Option<&str>,
    known: impl FnOnce() -> Known,
) -> Result<(), String> {
    let id = agent.id();
    if !force.enabled {
        return Err(format!("Agent '{id}' won't be removed because the force option is disabled."));
    }
    let Known { now, info } = known();
    let Some(Registered { status, disconnection_time, date_add }) = info else {
        return Err(format!("Failed to get agent-info for agent '{id}'"));
    };
    if let Some(limit) = force.disconnected_time
        && status != "never_connected"
    {
        if status == "disconnected" && disconnection_time > 0 && now - disconnection_time < limit {
            return Err(format!("Agent '{id}' has not been disconnected long enough to be replaced."));
        }
        if disconnection_time == 0 {
            return Err(format!("Agent '{id}' can't be replaced since it is not disconnected."));
        }
    }
    if force.after_registration_time > 0 && now - date_add < force.after_registration_time {
        return Err(format!("Agent '{id}' doesn't comply with the registration time to be removed."));
    }
    if force.key_mismatch && key_hash.is_some_and(|hash| hash == key::hash(id, agent.name(), agent.key())) {
        return Err(format!("Agent '{id}' key already exists on the manager."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::table::Table;

    const NOW: i64 = 1_000_000;

    fn tested(force: &Force, key_hash: Option<&str>, info: Option<(&str, i64, i64)>) -> Result<(), String> {
        let mut table = Table::default();
        let at = table.add(None, "web", "any", "TopSecret").unwrap();
        let registered = |(status, disconnected, added): (&str, i64, i64)| Registered {
            status: status.to_owned(),
            disconnection_time: disconnected,
            date_add: added,
        };
        test(&table.agent(at), force, key_hash, || Known { now: NOW, info: info.map(registered) })
    }

    const FREE: Force =
        Force { enabled: true, key_mismatch: false, disconnected_time: None, after_registration_time: 0 };

    #[test]
    fn each_test_has_its_text_and_the_first_that_fails_tells() {
        let all = Force { key_mismatch: true, disconnected_time: Some(100), after_registration_time: 100, ..FREE };
        let off = Force { enabled: false, ..all.clone() };
        let own = key::hash("001", "web", "TopSecret");
        let old = NOW - 1000;
        let long = "has not been disconnected long enough to be replaced.";
        let not = "can't be replaced since it is not disconnected.";
        let young = "doesn't comply with the registration time to be removed.";
        let cases = [
            (&off, None, None, "won't be removed because the force option is disabled."),
            (&all, None, None, "Failed to get agent-info for agent '001'"),
            (&all, None, Some(("disconnected", NOW - 99, old)), long),
            (&all, None, Some(("disconnected", NOW - 100, old)), ""),
            (&all, None, Some(("disconnected", 0, old)), not),
            (&all, None, Some(("active", 0, old)), not),
            (&all, None, Some(("pending", 0, old)), not),
            (&all, None, Some(("never_connected", 0, old)), ""),
            (&all, None, Some(("never_connected", 0, NOW - 99)), young),
            (&all, None, Some(("never_connected", 0, NOW - 100)), ""),
            (&all, None, Some(("never_connected", 0, 0)), ""),
            (&all, Some(&*own), Some(("never_connected", 0, 0)), "key already exists on the manager."),
            (&all, Some("another"), Some(("never_connected", 0, 0)), ""),
            (&FREE, Some(&*own), Some(("active", 0, NOW)), ""),
        ];
        for (force, hash, info, text) in cases {
            match tested(force, hash, info) {
                Ok(()) => assert_eq!(text, "", "{info:?}"),
                Err(told) => assert!(!text.is_empty() && told.ends_with(text) && told.contains("gent '001'"), "{told}"),
            }
        }
    }
}
