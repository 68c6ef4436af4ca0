#!/usr/bin/env python3
"""The alert rules and the dashboard, evaluated by promtool (of Prometheus) over what nodes of a cluster export.

Each scenario says which nodes are scraped and what happens to them after ten minutes. Beside them a second cluster, with
nodes of the same names and another job, is well all the time. What fires is compared as a whole: what is missing and what
is too much are both faults.

    make alerts
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "etc/alerts.yml"
DASHBOARD = ROOT / "etc/grafana-dashboard.json"

MASTER, WORKERS = "m", ("w1", "w2")
NODES = (MASTER, *WORKERS)
BEFORE, AFTER = 10, 20  # minutes, before and after what happens
DAY = 24 * 60

# What a state is as a number, by the help text of wazuh_cluster_node_state.
IN_SYNC, JOINING, BEHIND, AWAY = range(4)


class Cluster:
    """What nodes export of themselves and of others, minute by minute."""

    def __init__(self, job="c", scraped=NODES, minutes=AFTER):
        self.job, self.scraped, self.minutes = job, scraped, minutes
        self.killed, self.cut_off, self.unreachable, self.forgotten = (), (), (), ()
        self.state, self.failed, self.held, self.unwritable, self.diverged, self.strangers = {}, {}, {}, {}, {}, 0
        # Of the candidates m and w1: who acts, how many may follow, and who can read from etcd. None without failover.
        self.acts, self.followers, self.etcd = None, 1, (MASTER, "w1")

    def series(self):
        for node in self.scraped:
            yield from self.told_by(node)

    def told_by(self, node):
        """The series of one target. It is stale when that is gone."""
        ends = node in self.killed or node in self.unreachable
        kind = "master" if node == MASTER else "worker"

        def one(metric, before, after, **labels):
            labels = {"job": self.job, "instance": f"{node}:9510", **labels}
            text = ",".join(f'{label}="{value}"' for label, value in labels.items())
            after = "stale" if ends else f"{after}x{self.minutes}" if "+" in str(after) else f"{after}+0x{self.minutes}"
            return {"series": f"{metric}{{{text}}}", "values": f"{before}x{BEFORE - 1} {after}"}

        yield one("wazuh_cluster_up", 1, 1, name=node, type=kind)
        yield one("wazuh_cluster_wdb_up", 1, 1)
        yield one("wazuh_cluster_unwritable_places", 0, self.unwritable.get(node, 0))
        yield one("wazuh_cluster_diverged_files", 0, self.diverged.get(node, 0))
        if self.acts is not None and node in (MASTER, "w1"):
            yield one("wazuh_cluster_failover_acts", int(node == MASTER), int(node == self.acts))
            yield one("wazuh_cluster_failover_etcd_up", 1, int(node in self.etcd))
            if node == MASTER:
                yield one("wazuh_cluster_failover_followers", 1, self.followers)
        for other in NODES if node == MASTER else (node,):
            if node == MASTER and other in self.forgotten:
                continue
            lost = other != MASTER and (MASTER in self.killed or other in (*self.killed, *self.cut_off))
            address = "" if node == other != MASTER else "192.0.2.7"
            about = {"name": other, "type": "master" if other == MASTER else "worker", "version": "4.14.7"}
            yield one("wazuh_cluster_node_info", 1, 1, **about, ip=address)
            yield one("wazuh_cluster_node_connected", 1, int(not lost), name=other)
            state = AWAY if lost else self.state.get(other, IN_SYNC)
            yield one("wazuh_cluster_node_state", IN_SYNC, state, name=other)
            yield one("wazuh_cluster_node_state_since_timestamp", 1, 600, name=other)
            yield one("wazuh_cluster_active_agents", 5, 5, name=other)
            if other == MASTER or lost and node == MASTER:
                continue
            yield one("wazuh_cluster_keepalive_age_seconds", 30, "30+60" if lost else 30, name=other)
            yield one("wazuh_cluster_sync_age_seconds", 9, "9+60" if state > IN_SYNC else 9, name=other)
            yield one("wazuh_cluster_failed_files", 0, self.failed.get(other, 0), name=other)
            for difference in ("shared", "missing", "extra"):
                yield one("wazuh_cluster_files", 0, int(state == BEHIND), name=other, state=difference)
            if node == MASTER:
                yield one("wazuh_cluster_held_deletions", 0, self.held.get(other, 0), name=other)
        if node == MASTER:
            counts = (0, f"0+{self.strangers}")
            yield one("wazuh_cluster_auth_failures_total", *counts)
            yield one("wazuh_cluster_rejected_connections_total", *counts, reason="no_hello")


def scenarios():
    """Name, clusters, and what is to fire: alert and node, of the job c."""
    for scraped, killed in itertools.product(subsets(), subsets()):
        cluster = Cluster(scraped=scraped)
        cluster.killed = killed
        yield f"scraped: {scraped}, killed: {killed}", cluster, [*down(set(scraped), set(killed))]

    def one(name, expected, scraped=NODES, **what):
        cluster = Cluster(scraped=scraped)
        vars(cluster).update(what)
        return name, cluster, expected

    node_down = [("WazuhClusterNodeDown", "w1")]
    yield one("w1 lives and has no connection", node_down, cut_off=("w1",))
    yield one("the same, nobody asks the master", node_down, scraped=WORKERS, cut_off=("w1",))
    all_down = [("WazuhClusterNodeDown", name) for name in WORKERS]
    yield one("the master lives and has no worker", all_down, cut_off=WORKERS)
    yield one("w1 cannot be scraped and is connected", [("WazuhClusterNodeSilent", "w1")], unreachable=("w1",))
    yield one("the master cannot be scraped and has its workers", [("WazuhClusterNodeSilent", "m")], unreachable=("m",))
    yield one("w1 was removed and forgotten", [], killed=("w1",), forgotten=("w1",))
    behind = {"w1": BEHIND}
    yield one("w1 is behind", [("WazuhClusterNodeBehind", "w1")], state=behind)
    yield one("w1 cannot write", [("WazuhClusterFilesFailed", "w1")], state=behind, failed={"w1": 3})
    no_place = {"unwritable": {"w1": 1}}
    yield one("w1 has a directory where it cannot write", [("WazuhClusterUnwritable", "w1")], **no_place)
    yield one("the same, and files for it", [("WazuhClusterFilesFailed", "w1")], **no_place, state=behind, failed={"w1": 3})
    yield one("w1 was the master and had files alone", [("WazuhClusterDiverged", "w1")], diverged={"w1": 2})
    yield one("candidates, and all is well", [], acts=MASTER)
    yield one("another candidate acts", [], acts="w1")
    yield one("no candidate acts", [("WazuhClusterNoMaster", "")], acts="")
    yield one("no candidate acts, nor reads from etcd", [("WazuhClusterNoMaster", "")], acts="", etcd=())
    yield one("nobody may follow", [("WazuhClusterNoFollower", "m")], acts=MASTER, followers=0)
    yield one("w1 cannot read from etcd", [("WazuhClusterEtcdDown", "w1")], acts=MASTER, etcd=(MASTER,))
    held = [("WazuhClusterDeletionsHeld", "w1")]
    yield one("deletions on w1 are held back", held, state=behind, held={"w1": 30})
    yield one("the same, and w1 cannot write", held, state=behind, held={"w1": 30}, failed={"w1": 3})
    yield one("w1 cannot write and is killed", node_down, state=behind, failed={"w1": 3}, killed=("w1",))
    yield one("w1 cannot write and has no connection", node_down, failed={"w1": 3}, cut_off=("w1",))
    yield one("somebody has another key", [("WazuhClusterAuthFailures", "")], strangers=6)
    joining = [("WazuhClusterNodeJoining", "w1")]
    yield one("w1 does not get its files", joining, state={"w1": JOINING})


def subsets():
    return itertools.chain.from_iterable(itertools.combinations(NODES, size) for size in range(len(NODES) + 1))


def down(scraped, killed):
    """Each killed node of which anybody tells, once."""
    told_by_master = MASTER in scraped - killed
    if MASTER in killed and scraped - killed:
        yield "WazuhClusterMasterDown", ""
    elif MASTER in killed & scraped:
        yield "WazuhClusterNodeSilent", MASTER
    for name in sorted(killed - {MASTER}):
        if told_by_master:
            yield "WazuhClusterNodeDown", name
        elif name in scraped:
            yield "WazuhClusterNodeSilent", name


def samples(fires, job="c"):
    labels = [
        {"alertname": alert, "job": job, "name": name} if job else {"alertname": alert} for alert, name in fires
    ]
    text = lambda labels: "{" + ",".join(f'{name}="{value}"' for name, value in labels.items() if value) + "}"
    return [{"labels": text(one), "value": 1} for one in labels]


FIRING = 'count by (alertname, job, name) (ALERTS{alertstate="firing"})'


def test(name, series, at, expressions):
    """A group of tests of promtool: what an expression gives at a minute."""
    tests = [{"expr": expr, "eval_time": f"{at}m", "exp_samples": samples} for expr, samples in expressions]
    return {"name": name, "interval": "1m", "input_series": series, "promql_expr_test": tests}


def of_alerts():
    well = [*Cluster("other").series()]
    for name, cluster, fires in scenarios():
        series = [*cluster.series(), *well]
        yield test(name, series, BEFORE - 1, [(FIRING, [])])
        yield test(name, series, BEFORE + AFTER, [(FIRING, samples(fires))])
    # A cluster that is gone altogether is told of by name for a day, and then as such.
    cluster = Cluster()
    cluster.killed = NODES
    series = [*cluster.series()]
    by_name = [("WazuhClusterNodeSilent", name) for name in NODES]
    yield test("all are gone", series, DAY - 1, [(FIRING, samples(by_name))])
    yield test("all have been gone for a day", series, DAY + 30, [(FIRING, samples([("WazuhClusterMetricsAbsent", "")], None))])


def of_dashboard():
    """Every query can be evaluated. None gives a node twice, although it is scraped and its master tells of it, too."""
    series = [*Cluster().series(), *Cluster("other").series()]
    expressions, table = [], 0
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            expr = target["expr"]
            for name, value in (("$job", "c"), ("$instance", ".*"), ("$__rate_interval", "5m")):
                expr = expr.replace(name, value)
            if panel["type"] == "table":
                once = [{"labels": f'{{name="{name}"}}', "value": 1} for name in NODES]
                expressions.append((f"count by (name) ({expr})", once))
                table += 1
            elif "{{name}}" in target["legendFormat"]:
                # A legend of its labels, each of which is there once.
                labels = ", ".join(target["legendFormat"].replace("{{", "").replace("}}", "").split())
                expressions.append((f"count by ({labels}) ({expr}) > 1", []))
            else:
                expressions.append((f"count({expr}) > 100", []))
    assert table > 2, "the table of nodes has its columns"
    yield test("the dashboard", series, BEFORE + AFTER, expressions)


def main():
    parser = argparse.ArgumentParser(description="Evaluates the alert rules and the dashboard.")
    parser.add_argument("--promtool", default=shutil.which("promtool"), help="the program, if it is not in the path")
    options = parser.parse_args()
    if not options.promtool:
        parser.error("promtool is not installed; on Debian: apt-get install prometheus")
    tests = [*of_alerts(), *of_dashboard()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tests.json"
        # JSON is YAML.
        file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
        for command in (["check", "rules", RULES], ["test", "rules", file]):
            result = subprocess.run([options.promtool, *command], capture_output=True, text=True)
            if result.returncode:
                print(result.stdout, result.stderr, sep="\n", file=sys.stderr)
                return 1
    print(f"    the alerts and the dashboard are as they should be, in {len(tests)} scenarios")
    return 0


if __name__ == "__main__":
    sys.exit(main())
