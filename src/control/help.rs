//! Help, examples and version: the texts that need no daemon.

use std::fmt::Write;

use super::{arguments::FLAGS, exit};
use crate::options;

const COLUMNS: &str = "\
Columns of -l, the worst nodes first, then the master:
  STATE    in sync; behind: it has not shown that it has the present files of the master; joining: no check of its files
           has ended yet; away: it was connected once, is not now, and was not forgotten. Standard error has the sum
           and, for each that is not in sync, the reason and what to do, if somebody is to do something.
  NAME     Name of the node, unique in the cluster.
  TYPE     master (one per cluster) or worker.
  VERSION  Version the node runs; all nodes of a cluster run the same.
  ADDRESS  The master's address from its configuration; a worker's as the master sees it, or saw it last.
  SINCE    Since when it is in this state.

Parts of a line of -i, behind state, name and address (dates in UTC, 'n/a' if it never happened):
  Integrity check    End of the last comparison of the worker's files with the master's.
  Integrity sync     End of the last transfer of files that differed.
  Agents-info        End of the last transfer of agent states to the master.
  Agent-groups       End of the last transfer of changed agent groups to the worker.
  Agent-groups full  End of the last transfer of all agent groups to the worker.
  Last keep alive    When the worker last said that it is there.
  Sending            While files are sent to it: how many of them, and the bytes so far.

Columns of -a:
  ID         Number of the agent; 000 is the manager itself.
  NAME       Its name.
  IP         Its address, or that of its registration.
  STATUS     active, disconnected, never_connected or pending.
  VERSION    Version of the agent, 'unknown' before it has connected.
  NODE NAME  The node that it reports to.

Columns of --key-status (fingerprints, never keys; 'unknown' of a node that does not tell, or is away):
  LINK      The key of the link between a worker and the master; it changes when the worker connects anew.
  KEY       The <key> of the node's ossec.conf, as it was read last.
  ACCEPTED  The further keys that the node accepts (link.accept_keys in cluster.json).
  LEFT      When the link ended (UTC), if the worker is away; until somebody forgets it.

Columns of --add-agent and --agent-key:
  KEY TO IMPORT  What 'manage_agents -i' on the agent takes: whoever has it can be that agent.

Columns of --config-diff (no value leaves its node: what travels is a hash of each, the names of options, and lines):
  OPTION OF ETC/OSSEC.CONF  Where to find it, without <cluster>; in brackets the name, file or command of its block.
  DIFFERENCE                Another value, or one side has not got it. The order of options does not count.
  RULESET                   'loaded', or 'only copied': changed since wazuh-analysisd started, and since this daemon had
                            it load the rules anew. What another program had it load is not known.
  LOADED, CHANGED, NEWEST   When it was loaded, when one of its files was changed last, and which.

Deletions are held back where the first comparison since the master's start would take more than half of a worker's
files (and more than ten), or where the worker has agent keys and the master started without any.

A worker is in sync when its last integrity check found no difference, and the master's files have not changed since.
The master always is.
";

const JSON: &str = "\
JSON (indented by two blanks):
  -l --json                 an array of nodes: name, type, version, ip, in_sync, state, since, reason, remedy (the last
                            three null if there is none)
  -i --json                 the health as the daemon gives it, with in_sync, state, since, reason and remedy for each
                            node, also for those that are away, and in_sync for all; 'more' changes nothing
  -a --json                 an array of agents: id, name, ip, status, version, node_name (null if it is not known)
  --key-status --json       an object: nodes (name, type, link, key, accepted; null if it is not known; left, if it is
                            away) and same_key; where the master cannot be asked: this node alone, and error
  --config-diff --json      an object of nodes: error, differences (option, difference, master_line, node_line), more,
                            ruleset (verdict, changed, newest, loaded)
  --confirm-deletions       an object: confirmed, an object of nodes: deletions, of (all its files), keys
  --forget                  an object: forgotten, the node as in -l, without in_sync
  --add-agent, --agent-key  an object: id, name, ip, key, import (what the agent imports, in base64)
  --remove-agent            an object: id, removed, purged
  --watch --json            one such document after the other, each in one line
  on an error               {\"error\": {\"code\": NUMBER, \"message\": TEXT}}; faults of the command line stay plain
                            text on stderr
";

const HOME: &str = "\
The installation is sought in --home, then $WAZUH_HOME, then above the directory of this program if etc/ossec.conf is
there, then in /var/ossec. Run as root or as a member of the group wazuh.
";

/// The help: options, columns, JSON, exit codes.
pub(super) fn help() -> String {
    let mut text = String::from("Show the state of the cluster and register agents, from any of its nodes.\n\n");
    text.push_str("Usage: cluster_control OPTION...\n\nOptions:\n");
    text.push_str(&options::help(&FLAGS));
    // Writing to a string cannot fail.
    let _ = write!(text, "\n{COLUMNS}\n{JSON}\nExit codes:\n");
    for (exit, meaning) in exit::TABLE {
        let _ = writeln!(text, "  {}  {meaning}", exit as u8);
    }
    let _ = write!(text, "\n{HOME}");
    text
}

const EXAMPLES: [(&str, &str); 15] = [
    ("cluster_control -l", "Which nodes are there, and how do they stand?"),
    ("cluster_control -l -fn w1 w2", "The same of two nodes only."),
    ("cluster_control -i", "When was each worker last synchronized?"),
    ("cluster_control -i more -fn w1", "Everything that is known about one worker."),
    ("cluster_control -i --json", "The same of all nodes, for programs."),
    ("cluster_control -i --watch 5", "How far is a big synchronization? Renewed every 5 seconds."),
    ("cluster_control -a -fs disconnected -fn w1", "Which agents has one worker lost?"),
    ("cluster_control --key-status", "Has every node the new key?"),
    ("cluster_control --config-diff", "Why does a worker behave in another way than the master?"),
    ("cluster_control --confirm-deletions -fn w1", "Are most files of this worker to be deleted?"),
    ("cluster_control --forget w3", "The node w3 is gone for good."),
    ("cluster_control -l >/dev/null || echo \"exit code $?\"", "Is the cluster in sync? For monitoring."),
    ("cluster_control --add-agent web01 --groups web", "Register an agent, on whatever node this is."),
    ("cluster_control --remove-agent 7", "Remove it again."),
    ("cluster_control -d -l", "Why does it not work?"),
];

/// Examples of use.
pub(super) fn examples() -> String {
    EXAMPLES.iter().map(|(line, purpose)| format!("{purpose}\n    {line}\n")).collect::<Vec<_>>().join("\n")
}

/// One line. `scripts/package/stock` knows our program by its words.
pub(super) fn version() -> String {
    concat!("ThreatLockDown cluster_control ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_option_and_every_exit_code_within_120_columns() {
        let text = help();
        for flag in &FLAGS {
            assert!(text.contains(&format!("--{} ", flag.long)), "{}", flag.long);
        }
        for (exit, meaning) in exit::TABLE {
            assert!(text.contains(&format!("\n  {}  {meaning}\n", exit as u8)));
        }
        for line in text.lines().chain(examples().lines()) {
            assert!(line.chars().count() <= 120, "{line}");
            assert!(!line.contains('\t'));
        }
    }
}
