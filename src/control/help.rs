//! Help, examples and version: the texts that need no daemon.

use std::fmt::Write;

use super::{arguments::FLAGS, exit};
use crate::{config::Settings, options};

const COLUMNS: &str = "\
Columns of -l, the worst nodes first, then the master:
  STATE    in sync; behind: has not proved that it has the present files of the master; joining: its first check has not
           finished; away: connected once, not connected now, not forgotten. Standard error has a summary and, for each
           node that is not in sync, the reason and the remedy.
  NAME     Name of the node, unique in the cluster.
  TYPE     master (one per cluster) or worker.
  VERSION  Wazuh version that the node advertises; all nodes of a cluster have the same minor version.
  ADDRESS  The master's address from its configuration; a worker's as last seen by the master.
  SINCE    Since when the node is in this state.

Parts of a line of -i, after state, name and address (dates in UTC, 'n/a' for never):
  Integrity check    End of the last comparison of the worker's files with the master's.
  Integrity sync     End of the last transfer of files that differed.
  Agents-info        End of the last transfer of agent states to the master.
  Agent-groups       End of the last transfer of changed agent groups to the worker.
  Agent-groups full  End of the last transfer of all agent groups to the worker.
  Last keep alive    Time of the worker's last keep-alive.
  Sending            During a transfer: the number of files, and the bytes so far.

Columns of -a:
  ID         ID of the agent; 000 is the manager itself.
  NAME       Its name.
  IP         Its address, or that of its registration.
  STATUS     active, disconnected, never_connected or pending.
  VERSION    Version of the agent, 'unknown' before its first connection.
  NODE NAME  The node to which it reports.

Columns of --key-status (fingerprints, never keys; 'unknown' for a node that does not report them, or is away):
  LINK      The key of the connection between a worker and the master; it changes when the worker reconnects.
  KEY       The <key> in the node's ossec.conf, as last read.
  ACCEPTED  Further keys that the node accepts (link.accept_keys in cluster.json).
  LEFT      End of the last connection (UTC), if the worker is away; until a person forgets the node.

Columns of --add-agent and --agent-key:
  KEY TO IMPORT  The text for 'manage_agents -i' on the agent. Whoever has it can act as that agent.

Columns of --config-diff (no value leaves its node: a node sends a hash of each option, its name and its line):
  OPTION OF ETC/OSSEC.CONF  The option, outside <cluster>; in brackets the name, file or command of its block.
  DIFFERENCE                Another value, or missing on one side. The order of options does not count.
  RULESET                   'loaded', or 'only copied': synced, not loaded; it has changed since wazuh-analysisd started
                            and since this daemon had it reload the rules. Reloads by other programs are not known.
  LOADED, CHANGED, NEWEST   When it was loaded, when one of its files last changed, and which one.

The master holds deletions back if the first comparison since its start would delete more than half of a worker's files
(and more than ten), or if the worker has agent keys and the master started without any.

A worker is in sync when its last integrity check found no difference and the master's files have not changed since.
The master always is.
";

const JSON: &str = "\
JSON (indented by two blanks):
  -l --json                 an array of nodes: name, type, version, ip, in_sync, state, since, reason, remedy (the last
                            three null if there is none)
  -i --json                 the health as the daemon reports it, with in_sync, state, since, reason and remedy for each
                            node, also for those that are away, and in_sync for all; 'more' changes nothing
  -a --json                 an array of agents: id, name, ip, status, version, node_name (null if unknown)
  --key-status --json       an object: nodes (name, type, link, key, accepted; null if unknown; left, if away) and
                            same_key; if the master cannot be asked: this node alone, and error
  --config-diff --json      an object of nodes: error, differences (option, difference, master_line, node_line), more,
                            ruleset (verdict, changed, newest, loaded)
  --confirm-deletions       an object: confirmed, an object of nodes: deletions, of (all its files), keys
  --forget                  an object: forgotten, the node as in -l, without in_sync
  --failover-status         an object: name, role, term, master, ids, former (null if there is none), diverged (an
                            array: term, files, path), failover (null if the node is no candidate: master (node,
                            address, since), acts_for, ttl, candidates (name, is_there, may_follow, address, version,
                            hindrance), hindrance, error; null if there is none)
  --promote                 an object: promoted: master, term, former, lost (null if the master has handed over)
  --switch-master           an object: promoted: master, term
  --add-agent, --agent-key  an object: id, name, ip, key, import (what the agent imports, in base64)
  --remove-agent            an object: id, removed, purged
  --watch --json            one such document after the other, each in one line
  on an error               {\"error\": {\"code\": NUMBER, \"message\": TEXT}}; errors in the command line are plain
                            text on stderr
";

const HOME: &str = "\
The Wazuh home is --home, then $WAZUH_HOME, then the directory above this program's own if it contains etc/ossec.conf,
then /var/ossec. Run as root or as a member of the group wazuh.
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

const EXAMPLES: [(&str, &str); 16] = [
    ("cluster_control -l", "Which nodes are there, and in which state?"),
    ("cluster_control -l -fn w1 w2", "The same for two nodes only."),
    ("cluster_control -i", "When was each worker last synchronised?"),
    ("cluster_control -i more -fn w1", "All details of one worker."),
    ("cluster_control -i --json", "The same for all nodes, for programs."),
    ("cluster_control -i --watch 5", "What is the progress of a big transfer? Refreshed every 5 seconds."),
    ("cluster_control -a -fs disconnected -fn w1", "Which agents of one worker are disconnected?"),
    ("cluster_control --key-status", "Does every node have the new key?"),
    ("cluster_control --config-diff", "Why does a worker behave differently from the master?"),
    ("cluster_control --confirm-deletions -fn w1", "Permit the deletion of most files of this worker."),
    ("cluster_control --promote", "Make this node the master; the present one hands over."),
    ("cluster_control --forget w3", "Remove the node w3, which is gone for good, from the list."),
    ("cluster_control -l >/dev/null || echo \"exit code $?\"", "Is the cluster in sync? For monitoring."),
    ("cluster_control --add-agent web01 --groups web", "Register an agent, from any node."),
    ("cluster_control --remove-agent 7", "Remove it again."),
    ("cluster_control -d -l", "Why does it not work?"),
];

/// Examples of use.
pub(super) fn examples() -> String {
    EXAMPLES.iter().map(|(line, purpose)| format!("{purpose}\n    {line}\n")).collect::<Vec<_>>().join("\n")
}

/// The version of this program, by whose words `scripts/package/stock` knows it, and that of Wazuh for which it is made.
pub(super) fn version() -> String {
    format!("ThreatLockDown cluster_control {}, for Wazuh {}\n", env!("CARGO_PKG_VERSION"), Settings::default().version)
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
