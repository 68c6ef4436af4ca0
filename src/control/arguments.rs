//! The command line: one table of options feeds the parser and the help.

use std::{ffi::OsString, ops::RangeInclusive, path::PathBuf, time::Duration};

use lexopt::{Arg, Parser, ValueExt};

use super::paint::Paint;
use crate::{
    agents::listing::STATUSES,
    options::{self, Flag, flag},
};

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) action: Action,
    /// The names after `-fn`; none means every node.
    pub(super) nodes: Vec<String>,
    /// The states after `-fs`; none means every state.
    pub(super) statuses: Vec<String>,
    /// What `--add-agent` is told besides the name.
    pub(super) wishes: Wishes,
    /// Whether nothing of a removed agent stays.
    pub(super) purge: bool,
    /// Whether an agent with the same name or address is replaced, whatever the master's configuration says; or whether the
    /// present master is not asked.
    pub(super) force: bool,
    pub(super) json: bool,
    /// How often to show it again.
    pub(super) watch: Option<Duration>,
    pub(super) debug: bool,
    pub(super) home: Option<PathBuf>,
    /// Not of the command line, but of where the output goes.
    pub(super) paint: Paint,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    #[default]
    Help,
    Usage,
    Version,
    Nodes,
    Health {
        more: bool,
    },
    Agents,
    Keys,
    ConfigDiff,
    ConfirmDeletions,
    Forget(String),
    FailoverStatus,
    Promote,
    SwitchMaster(String),
    AddAgent(String),
    RemoveAgent(String),
    AgentKey(String),
}

/// What `--add-agent` is told besides the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// The address that the agent will have; none for any.
    pub(super) ip: Option<String>,
    /// Its groups, with commas between them; none for those of its first connection.
    pub(super) groups: Option<String>,
}

/// The options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    ListNodes,
    Health,
    ListAgents,
    KeyStatus,
    ConfigDiff,
    ConfirmDeletions,
    Forget,
    FailoverStatus,
    Promote,
    SwitchMaster,
    FilterNode,
    FilterStatus,
    AddAgent,
    Ip,
    Groups,
    Force,
    RemoveAgent,
    Purge,
    AgentKey,
    Watch,
    Debug,
    Json,
    Home,
    Usage,
    Version,
    Help,
}

pub(super) const FLAGS: [Flag<Id>; 26] = [
    flag(Id::ListNodes, "l", "list-nodes", "", "List the known nodes, with the state of each."),
    flag(Id::Health, "i", "health", "[more]", "Show when workers were last synchronised; with 'more', all details."),
    flag(Id::ListAgents, "a", "list-agents", "", "List the agents of the cluster."),
    flag(Id::KeyStatus, "", "key-status", "", "Show which key each node has and uses, by fingerprint."),
    flag(
        Id::ConfigDiff,
        "",
        "config-diff",
        "",
        "Show where nodes differ in ossec.conf, and whether their ruleset is loaded.",
    ),
    flag(
        Id::ConfirmDeletions,
        "",
        "confirm-deletions",
        "",
        "On the master: permit deletions on workers that it holds back.",
    ),
    flag(Id::Forget, "", "forget", "NODE", "Forget a node that is gone for good, or runs the stock daemon again."),
    flag(
        Id::FailoverStatus,
        "",
        "failover-status",
        "",
        "Show which master this node knows, who may follow, and what was set aside.",
    ),
    flag(Id::Promote, "", "promote", "", "Make this node the master; the present one hands over and follows it."),
    flag(
        Id::SwitchMaster,
        "",
        "switch-master",
        "NODE",
        "With failover: make this candidate the master; the present one hands over.",
    ),
    flag(Id::FilterNode, "fn", "filter-node", "NODE...", "Only these nodes, with the options above."),
    flag(Id::FilterStatus, "fs", "filter-agent-status", "STATUS...", "Only agents in these states, with -a."),
    flag(Id::AddAgent, "", "add-agent", "NAME", "Register an agent with the master; shows its ID and its key."),
    flag(Id::Ip, "", "ip", "IP", "Its address or network, with --add-agent; the default is any."),
    flag(Id::Groups, "", "groups", "A,B", "Its groups, with --add-agent; their directories must be in etc/shared."),
    flag(Id::Force, "", "force", "", "Replace such an agent, with --add-agent; ask no other node, with --promote."),
    flag(Id::RemoveAgent, "", "remove-agent", "ID", "Remove an agent from the cluster."),
    flag(Id::Purge, "", "purge", "", "Remove its line from client.keys too, with --remove-agent."),
    flag(Id::AgentKey, "", "agent-key", "ID", "Show the key of an agent, as the agent imports it."),
    flag(Id::Watch, "", "watch", "[SECONDS]", "Refresh the output every 2 seconds, or at this interval, until Ctrl-C."),
    flag(Id::Json, "", "json", "", "Print one JSON document instead of a table."),
    flag(Id::Home, "", "home", "DIR", "The Wazuh home."),
    flag(Id::Debug, "d", "debug", "", "Show on stderr what is sent and received, and the causes of an error."),
    flag(Id::Usage, "u", "usage", "", "Show examples."),
    flag(Id::Version, "V", "version", "", "Show the versions."),
    flag(Id::Help, "h", "help", "", "Show this help."),
];

/// From one showing to the next, in seconds, if it is not said.
const WATCH: f64 = 2.0;
/// What may be said.
const WATCHES: RangeInclusive<f64> = 0.1..=86_400.0;

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("{}", options::unknown(.0, &FLAGS))]
    UnknownOption(String),
    #[error("unexpected argument '{0}'")]
    Stray(String),
    #[error("-i accepts only 'more', not '{0}'")]
    NotMore(String),
    #[error("--watch accepts seconds from {least} to {most}, not '{0}'", least = WATCHES.start(), most = WATCHES.end())]
    NoSeconds(String),
    #[error("-fn needs the name of at least one node")]
    NoNode,
    #[error("-fs needs at least one of {}", STATUSES.join(", "))]
    NoStatus,
    #[error("unknown agent status '{0}': expected {known}", known = STATUSES.join(", "))]
    UnknownStatus(String),
    #[error("invalid agent ID '{0}': expected 1 to 8 digits (see 'cluster_control -a')")]
    NoAgent(String),
    #[error("{0} and {1} cannot be combined; choose one")]
    TwoActions(String, String),
    #[error("{0} is given twice with different values; choose one")]
    UnlikeActions(String),
    #[error("{0} can be used with {1} only")]
    NothingToApplyTo(&'static str, &'static str),
    #[error("{0}")]
    Other(String),
}

impl From<lexopt::Error> for Fault {
    fn from(error: lexopt::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Reads a command line without the program's name. Without any action it asks for help, and `-h` wins over all that
/// follows it.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, Fault> {
    let mut parser = Parser::from_args(arguments);
    let mut request = Request::default();
    // The action, and the option that asks for it.
    let mut action: Option<(Action, String)> = None;
    while let Some(flag) = next(&mut parser)? {
        if flag.id == Id::Help {
            return Ok(request);
        }
        let Some(chosen) = chosen(flag.id, &mut parser)? else {
            request.take(flag.id, &mut parser)?;
            continue;
        };
        // Twice the same does no harm; `-i -i more` are two.
        match (action.take(), flag.name()) {
            (Some((earlier, first)), name) if earlier != chosen => {
                return Err(if first == name { Fault::UnlikeActions(name) } else { Fault::TwoActions(first, name) });
            }
            (_, name) => action = Some((chosen, name)),
        }
    }
    let action = action.map(|(action, _)| action);
    request.check(action.as_ref())?;
    request.action = action.unwrap_or(Action::Help);
    Ok(request)
}

/// The action that an option asks for; none if it says more of one.
fn chosen(id: Id, parser: &mut Parser) -> Result<Option<Action>, Fault> {
    Ok(Some(match id {
        Id::Help => Action::Help,
        Id::Usage => Action::Usage,
        Id::Version => Action::Version,
        Id::ListNodes => Action::Nodes,
        Id::Health => Action::Health { more: more(parser)? },
        Id::ListAgents => Action::Agents,
        Id::KeyStatus => Action::Keys,
        Id::ConfigDiff => Action::ConfigDiff,
        Id::ConfirmDeletions => Action::ConfirmDeletions,
        Id::Forget => Action::Forget(parser.value()?.string()?),
        Id::FailoverStatus => Action::FailoverStatus,
        Id::Promote => Action::Promote,
        Id::SwitchMaster => Action::SwitchMaster(parser.value()?.string()?),
        Id::AddAgent => Action::AddAgent(parser.value()?.string()?),
        Id::RemoveAgent => Action::RemoveAgent(agent(parser)?),
        Id::AgentKey => Action::AgentKey(agent(parser)?),
        _ => return Ok(None),
    }))
}

impl Request {
    /// Takes what an option says of an action.
    fn take(&mut self, id: Id, parser: &mut Parser) -> Result<(), Fault> {
        match id {
            Id::Ip => self.wishes.ip = Some(parser.value()?.string()?),
            Id::Groups => self.wishes.groups = Some(parser.value()?.string()?),
            Id::Force => self.force = true,
            Id::Purge => self.purge = true,
            Id::FilterNode => names(parser, &mut self.nodes, || Fault::NoNode)?,
            Id::FilterStatus => names(parser, &mut self.statuses, || Fault::NoStatus)?,
            Id::Watch => self.watch = Some(seconds(parser)?),
            Id::Json => self.json = true,
            Id::Debug => self.debug = true,
            Id::Home => self.home = Some(parser.value()?.into()),
            // These are actions.
            _ => {}
        }
        Ok(())
    }

    /// Whether each option says something of the action.
    fn check(&self, action: Option<&Action>) -> Result<(), Fault> {
        const ASKING: &str = "-l, -i, -a, --key-status or --config-diff";
        let asks = matches!(
            action,
            Some(Action::Nodes | Action::Health { .. } | Action::Agents | Action::Keys | Action::ConfigDiff)
        );
        let confirms = action == Some(&Action::ConfirmDeletions);
        let orders = matches!(
            action,
            Some(Action::Forget(_) | Action::Promote | Action::SwitchMaster(_) | Action::FailoverStatus)
        );
        if !asks && !confirms && !self.nodes.is_empty() {
            return Err(Fault::NothingToApplyTo(
                "-fn",
                "-l, -i, -a, --key-status, --config-diff or --confirm-deletions",
            ));
        }
        if !asks && self.watch.is_some() {
            return Err(Fault::NothingToApplyTo("--watch", ASKING));
        }
        let registers = matches!(action, Some(Action::AddAgent(_) | Action::RemoveAgent(_) | Action::AgentKey(_)));
        if !asks && !registers && !confirms && !orders && self.json {
            return Err(Fault::NothingToApplyTo(
                "--json",
                "an option that queries, confirms, forgets, promotes or registers",
            ));
        }
        let Wishes { ip, groups } = &self.wishes;
        let wishes = [("--ip", ip.is_some()), ("--groups", groups.is_some())];
        if let Some((wish, _)) = wishes.into_iter().find(|(_, given)| *given)
            && !matches!(action, Some(Action::AddAgent(_)))
        {
            return Err(Fault::NothingToApplyTo(wish, "--add-agent"));
        }
        if self.force && !matches!(action, Some(Action::AddAgent(_) | Action::Promote)) {
            return Err(Fault::NothingToApplyTo("--force", "--add-agent or --promote"));
        }
        if !matches!(action, Some(Action::RemoveAgent(_))) && self.purge {
            return Err(Fault::NothingToApplyTo("--purge", "--remove-agent"));
        }
        if action != Some(&Action::Agents) && !self.statuses.is_empty() {
            return Err(Fault::NothingToApplyTo("-fs", "-a"));
        }
        if let Some(unknown) = self.statuses.iter().find(|status| !STATUSES.contains(&status.as_str())) {
            return Err(Fault::UnknownStatus(unknown.clone()));
        }
        Ok(())
    }
}

/// The next option. `-fn` and `-fs` are options here as in the stock daemon; to the parser each is `-f` with a value.
fn next(parser: &mut Parser) -> Result<Option<&'static Flag<Id>>, Fault> {
    let (typed, found) = match parser.next()? {
        None => return Ok(None),
        Some(Arg::Value(value)) => return Err(Fault::Stray(value.to_string_lossy().into_owned())),
        Some(Arg::Long(name)) => (format!("--{name}"), FLAGS.iter().find(|flag| flag.is_long(name))),
        Some(Arg::Short('f')) => {
            let rest = parser.optional_value().unwrap_or_default();
            let name = format!("f{}", rest.to_string_lossy());
            (format!("-{name}"), FLAGS.iter().find(|flag| flag.is_short(&name)))
        }
        Some(Arg::Short(letter)) => {
            let name = letter.to_string();
            (format!("-{name}"), FLAGS.iter().find(|flag| flag.is_short(&name)))
        }
    };
    found.map(Some).ok_or(Fault::UnknownOption(typed))
}

/// Whether `more` follows.
fn more(parser: &mut Parser) -> Result<bool, Fault> {
    match word(parser) {
        None => Ok(false),
        Some(word) if word == "more" => Ok(true),
        Some(word) => Err(Fault::NotMore(word)),
    }
}

/// The time that follows, or that of whoever says none.
fn seconds(parser: &mut Parser) -> Result<Duration, Fault> {
    let Some(word) = word(parser) else { return Ok(Duration::from_secs_f64(WATCH)) };
    let seconds = word.parse().ok().filter(|seconds| WATCHES.contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or(Fault::NoSeconds(word))
}

/// What follows an option, attached or as the next word, if it is no option.
fn word(parser: &mut Parser) -> Option<String> {
    let option = |word: &std::ffi::OsStr| word.as_encoded_bytes().starts_with(b"-");
    let word = parser.optional_value().or_else(|| parser.try_raw_args()?.next_if(|word| !option(word)));
    word.map(|word| word.to_string_lossy().into_owned())
}

/// The number of an agent, as the registrar spells it.
fn agent(parser: &mut Parser) -> Result<String, Fault> {
    let typed = parser.value()?.string()?;
    let digits = (1..=8).contains(&typed.len()) && typed.bytes().all(|byte| byte.is_ascii_digit());
    if digits { Ok(format!("{typed:0>3}")) } else { Err(Fault::NoAgent(typed)) }
}

fn names(parser: &mut Parser, names: &mut Vec<String>, none: fn() -> Fault) -> Result<(), Fault> {
    for value in parser.values().map_err(|_| none())? {
        let name = value.string()?;
        if name.is_empty() {
            return Err(none());
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
