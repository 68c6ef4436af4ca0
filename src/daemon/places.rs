//! What the daemon has to write to ([`Places`]) is made, tried and told.

use crate::{
    config::{Config, Home, Lack, Need, Places},
    logging::{LogFile, Scope, error, warn},
    system::user::{self, Owner},
};

/// Makes what every node has, where `home` is an installation: root gives a fresh directory of logs away before there is a
/// log in it, and a log that cannot be opened may lack its directory.
pub fn make_first(home: &Home, log: &LogFile) {
    let owner = user::find_owner(home.path()).ok().filter(|_| user::is_root());
    if home.ossec_conf().is_file() && (owner.is_some() || log.open().is_err()) {
        Places::of_any(home).make(owner);
    }
}

/// Makes what a node with this configuration needs and only root may make and give away.
pub fn make_as_root(config: &Config, owner: Owner) {
    // What fails is told when the node is prepared.
    Places::of(config).make(Some(owner));
}

/// Makes what is missing, and tells what cannot be written to, each in one line.
///
/// # Errors
/// These lines, if the daemon cannot start.
pub fn prepare(places: &Places, owner: Option<Owner>, scope: &Scope) -> Result<(), String> {
    let mut lacks = places.make(owner);
    lacks.extend(places.lacks());
    tell(lacks, scope)
}

/// Tells what the daemon could not write to, as the user that it becomes; this process is that user afterwards.
///
/// # Errors
/// The lines of what it would not start without, whoever starts it.
pub fn check(config: &Config, stay_root: bool, scope: &Scope) -> Result<(), String> {
    if user::is_root() && !stay_root {
        match user::find_owner(config.home.path()) {
            Ok(owner) => user::become_owner(owner)?,
            // A configuration may be checked where nothing is to run.
            Err(problem) => warn!(scope, "Here the daemon does not start: {problem}"),
        }
    }
    let mut lacks = Places::of(config).lacks();
    let is_made_by_root = |lack: &&mut Lack| lack.is_missing && lack.need == Need::Start;
    lacks.iter_mut().filter(is_made_by_root).for_each(|lack| lack.need = Need::Duty);
    tell(lacks, scope)
}

fn tell(lacks: Vec<Lack>, scope: &Scope) -> Result<(), String> {
    let (vital, others): (Vec<_>, Vec<_>) = lacks.into_iter().partition(|lack| lack.need == Need::Start);
    for Lack { need, text, .. } in others {
        match need {
            Need::Copies => warn!(scope, "{text}"),
            Need::Start | Need::Duty => error!(scope, "{text}"),
        }
    }
    let lines: Vec<_> = vital.into_iter().map(|lack| lack.text).collect();
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}
