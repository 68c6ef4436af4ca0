//! A new agent: what may stand in its way, in the order of the stock daemon (`spec/registration.md` 3).
//!
//! Other than the stock daemon, a request that is refused changes nothing: whom the new agent would replace is removed
//! when it is certain to come.

use super::{
    address::{ANY, Address},
    answer::Refusal,
    key,
    lines::{Agent, Place},
    replace,
    replace::Known,
    request::Add,
    table::Table,
};
use crate::{
    agents::{Registered, is_group_name},
    config::{Auth, Force},
    logging::{error, warn},
};

/// The most groups of an agent.
const GROUPS: usize = 128;

/// What must be known beside client.keys.
pub(super) trait World {
    /// Seconds since 1970.
    fn now(&self) -> i64;
    /// What the agent database says of an agent; none if it says nothing.
    fn registered(&self, id: &str) -> Option<Registered>;
    /// Whether there is a group of this name.
    fn has_group(&self, name: &str) -> bool;
    /// Whether the manager itself is called so.
    fn is_own_name(&self, name: &str) -> bool;
}

/// A new agent in the table.
pub(super) struct Added {
    pub(super) place: Place,
    /// Its address as the answer tells it.
    pub(super) told_ip: String,
    /// Who had to go for it.
    pub(super) replaced: Vec<Agent>,
    /// Lines for the log about those, when it is done.
    pub(super) told: Vec<String>,
}

/// Adds an agent to the table.
///
/// # Errors
/// Why not; the log says more.
pub(super) fn add(table: &mut Table, request: &Add, auth: &Auth, world: &impl World) -> Result<Added, Refusal> {
    let Add { name, id, key, groups, .. } = request;
    if groups.as_ref().is_some_and(|groups| !are_valid(groups, world)) {
        return Err(Refusal::InvalidGroup);
    }
    let force = request.force.as_ref().unwrap_or(&auth.force);
    let mut way = Way { table, key_hash: request.key_hash.as_deref(), force, world, replaced: vec![], told: vec![] };
    if let Some(at) = id.as_deref().and_then(|id| way.table.by_id(id)) {
        way.clear(at, "Duplicate ID", "Duplicate ID").ok_or(Refusal::DuplicateId)?;
    }
    let address = Address::parse(&request.ip).ok_or(Refusal::NoIp)?;
    let Address { told: told_ip, written } = &address;
    if written != ANY
        && let Some(at) = way.table.by_address(written, &way.replaced)
    {
        let what = format!("Duplicate IP '{written}'");
        way.clear(at, &what, &what).ok_or(Refusal::DuplicateIp)?;
    }
    if world.is_own_name(name) {
        warn!("[Cluster] [Registration]", "Invalid agent name '{name}': it is that of this manager.");
        return Err(Refusal::DuplicateName);
    }
    if let Some(at) = way.table.by_name(name, &way.replaced) {
        way.clear(at, "Duplicate name", &format!("Duplicate name '{name}'")).ok_or(Refusal::DuplicateName)?;
    }
    let key = match key {
        Some(key) if !key::is_possible(key) => return Err(Refusal::NoKey),
        Some(key) => key.clone(),
        None => key::new().map_err(|error| {
            error!("[Cluster] [Registration]", "Cannot generate an agent key: {error}; /dev/urandom must exist.");
            Refusal::NoKey
        })?,
    };
    let Way { replaced, told, .. } = way;
    // Its own line comes first, so that one that finds no id leaves the others where they are.
    let place = table.add(id.as_deref(), name, written, &key).ok_or(Refusal::TooMany)?;
    let replaced = replaced.into_iter().filter_map(|at| table.remove(at, auth.purge)).collect();
    Ok(Added { place, told_ip: told_ip.clone(), replaced, told })
}

fn are_valid(groups: &[String], world: &impl World) -> bool {
    groups.len() <= GROUPS && groups.iter().all(|group| is_group_name(group) && world.has_group(group))
}

/// The way of a new agent, and who was found in it.
struct Way<'a, W> {
    table: &'a Table,
    force: &'a Force,
    key_hash: Option<&'a str>,
    world: &'a W,
    replaced: Vec<Place>,
    told: Vec<String>,
}

impl<W: World> Way<'_, W> {
    /// Marks who stands in the way as one to be removed; none if it may not be.
    fn clear(&mut self, at: Place, found: &str, refused: &str) -> Option<()> {
        let agent = self.table.agent(at);
        let known = || Known { now: self.world.now(), info: self.world.registered(agent.id()) };
        match replace::test(&agent, self.force, self.key_hash, known) {
            Ok(()) => {
                let (name, id) = (agent.name(), agent.id());
                self.told.push(format!("{found}. Removing old agent '{name}' (id '{id}')."));
                self.replaced.push(at);
                Some(())
            }
            Err(reason) => {
                warn!("[Cluster] [Registration]", "{refused}, rejecting enrollment. {reason}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agents that never connected and were registered at time 0; the groups `web` and `db`.
    struct Small;

    impl World for Small {
        fn now(&self) -> i64 {
            10_000
        }
        fn registered(&self, _: &str) -> Option<Registered> {
            Some(Registered { status: "never_connected".to_owned(), disconnection_time: 0, date_add: 0 })
        }
        fn has_group(&self, name: &str) -> bool {
            ["web", "db"].contains(&name)
        }
        fn is_own_name(&self, name: &str) -> bool {
            name == "manager"
        }
    }

    fn request(name: &str, ip: &str) -> Add {
        Add { name: name.to_owned(), ip: ip.to_owned(), ..Add::default() }
    }

    fn table() -> Table {
        Table::parse(b"001 web any k1\n002 db 10.0.0.2/24 k2\n003 app 10.0.0.3 k3\n", false)
    }

    fn lines(table: &Table) -> String {
        String::from_utf8(table.text().flatten().copied().collect()).unwrap()
    }

    fn never() -> Auth {
        Auth { force: Force { enabled: false, ..Force::default() }, ..Auth::default() }
    }

    #[test]
    fn a_request_that_is_refused_changes_nothing() {
        let no = never();
        let default = Auth::default();
        let add_id = |add: Add, id: &str| Add { id: Some(id.to_owned()), ..add };
        let add_groups = |add: Add, groups: &[&str]| Add {
            groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
            ..add
        };
        let many: Vec<String> = (0..129).map(|n| format!("g{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (request, auth, refusal) in [
            (request("web", "any"), &no, Refusal::DuplicateName),
            (request("new", "10.0.0.3"), &no, Refusal::DuplicateIp),
            (request("new", "10.0.0.2"), &no, Refusal::DuplicateIp),
            (request("new", "10.0.0.3/32"), &no, Refusal::DuplicateIp),
            (request("new", "10.0.0.300"), &no, Refusal::NoIp),
            (request("manager", "any"), &default, Refusal::DuplicateName),
            (add_id(request("new", "any"), "1"), &no, Refusal::DuplicateId),
            (add_groups(request("new", "any"), &["web", "other"]), &default, Refusal::InvalidGroup),
            (add_groups(request("new", "any"), &["../web"]), &default, Refusal::InvalidGroup),
            (add_groups(request("new", "any"), &many), &default, Refusal::InvalidGroup),
            (Add { key: Some("a\nb".to_owned()), ..request("new", "any") }, &default, Refusal::NoKey),
            // The agents with this id and address could be replaced, and stay nevertheless.
            (add_id(request("manager", "10.0.0.3"), "001"), &default, Refusal::DuplicateName),
        ] {
            let mut table = table();
            let refused = add(&mut table, &request, auth, &Small).err();
            assert_eq!(refused, Some(refusal), "{request:?}");
            assert_eq!(lines(&table), lines(&self::table()), "{request:?}");
            assert_eq!(table.counter(), 3);
        }
    }

    #[test]
    fn an_agent_with_a_prefix_never_collides() {
        let mut table = table();
        assert!(add(&mut table, &request("new", "10.0.0.3/24"), &never(), &Small).is_ok());
    }

    #[test]
    fn up_to_three_agents_go_for_one() {
        let mut table = table();
        let wish = Add { id: Some("1".to_owned()), ..request("app", "10.0.0.2") };
        let added = add(&mut table, &wish, &Auth::default(), &Small).unwrap();
        assert_eq!(added.replaced.iter().map(Agent::name).collect::<Vec<_>>(), ["web", "db", "app"]);
        assert_eq!(
            added.told,
            [
                "Duplicate ID. Removing old agent 'web' (id '001').",
                "Duplicate IP '10.0.0.2'. Removing old agent 'db' (id '002').",
                "Duplicate name. Removing old agent 'app' (id '003')."
            ]
        );
        let agent = table.agent(added.place);
        assert_eq!((agent.id(), agent.name(), agent.ip(), agent.key().len()), ("1", "app", "10.0.0.2", 64));
        assert!(lines(&table).contains("001 !web any k1\n002 !db 10.0.0.2/24 k2\n003 !app 10.0.0.3 k3\n"));

        // Who has the same id, address and name is one agent.
        let again = add(&mut table, &wish, &Auth { purge: true, ..Auth::default() }, &Small).unwrap();
        assert_eq!((again.replaced.len(), table.count()), (1, 1));
        assert!(!lines(&table).contains("1 !app 10.0.0.2"));
    }
}
