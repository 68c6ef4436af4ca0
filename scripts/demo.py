#!/usr/bin/env python3
"""A cluster at work, on this machine: one master and two workers in a temporary folder.

Each step changes files on one node and waits until the cluster has done what it should. A step that waits
in vain says what was expected and what was seen, and leaves the folder. Nothing outside of it is touched.

    make demo                with the small ruleset in scripts/demo
    make demo RULESET=DIR    with the rules/, decoders/ and lists/ of DIR
    make demo KEEP=1         leaves the folder after a success too
"""

import argparse
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN_RULESET = ROOT / "scripts/demo/ruleset"

PATIENCE = 30  # seconds that a step may take
STOP_WITHIN = 2  # seconds that a daemon may take to end
RULESET_DIRECTORIES = ("rules", "decoders", "lists")

# The cluster looks every second, not every eight to ten.
CLUSTER_JSON = {
    "intervals": {
        "worker": {"sync_integrity": 1, "keep_alive": 3, "connection_retry": 1, "sync_agent_info": 1},
        "master": {"recalculate_integrity": 1, "sync_agent_groups": 1, "agent_group_start_delay": 1},
    }
}

AGENTS = range(101, 401)  # that report to the workers, one half to each

OSSEC_CONF = """\
<ossec_config>
  <cluster>
    <name>demo</name>
    <node_name>{name}</node_name>
    <node_type>{type}</node_type>
    <key>{key}</key>
    <port>{port}</port>
    <bind_addr>{address}</bind_addr>
    <nodes>{nodes}</nodes>
    <disabled>no</disabled>
  </cluster>
</ossec_config>
"""


def ossec_conf(name, kind, key, port, address="127.0.0.1", hosts=("127.0.0.1",)):
    """The file of a node that listens at an address, and finds the master at one of the hosts."""
    nodes = "".join(f"<node>{host}</node>" for host in hosts)
    return OSSEC_CONF.format(name=name, type=kind, key=key, port=port, address=address, nodes=nodes)


# ---------------------------------------------------------------------------------------------------------
# The steps


def show(demo):
    """The whole demonstration."""
    heading("Start")
    start_the_master(demo)
    start_the_workers(demo)

    heading("The first files")
    put_the_first_files(demo)
    look_at_the_modes(demo)
    put_private_files(demo)

    heading("Changes on the master")
    change_a_rule(demo)
    add_a_decoder(demo)
    delete_a_list(demo)
    change_all_rules(demo)
    add_an_agent(demo)
    add_a_group(demo)
    remove_a_group(demo)

    heading("Accidents on the workers")
    leave_a_surplus_file(demo)
    lose_a_file(demo)
    damage_a_file(demo)

    heading("A worker that was away")
    stop_a_worker(demo)
    change_without_it(demo)
    restart_the_worker(demo)

    heading("Agents")
    give_keys_to_agents(demo)
    let_agents_report(demo)
    show_some_agents(demo)
    show_the_default_group(demo)
    move_an_agent(demo)
    lose_an_agent(demo)
    remove_an_agent(demo)

    heading("Registration on any node")
    register_on_a_worker(demo)
    register_a_duplicate(demo)
    remove_what_was_registered(demo)

    heading("What cluster_control says")
    wait_for_in_sync(demo)
    show_the_nodes(demo)
    show_the_health(demo)
    ask_a_worker(demo)

    heading("The end")
    compare_once_more(demo)
    read_the_logs(demo)
    stop_all(demo)


def start_the_master(demo):
    demo.master.start()
    seconds = wait("the master answers cluster_control -l", lambda: demo.nodes_missing(demo.master), demo.master)
    report(f"the master listens on 127.0.0.1:{demo.port}", seconds)


def start_the_workers(demo):
    for worker in demo.workers:
        worker.start()
    seconds = wait("the master lists both workers", lambda: demo.nodes_missing(*demo.nodes), *demo.nodes)
    report("worker-1 and worker-2 are connected", seconds)


def put_the_first_files(demo):
    start = time.monotonic()
    for directory in RULESET_DIRECTORIES:
        shutil.copytree(
            demo.ruleset / directory, demo.master.path("etc", directory), dirs_exist_ok=True, copy_function=copy
        )
    put_group(demo.master, "default")
    put_group(demo.master, "web-servers")
    put_group(demo.master, "retired")
    put_multigroup(demo.master, "default", "web-servers")
    put_multigroup(demo.master, "default", "retired")
    demo.master.write("etc/client.keys", "".join(key_of_agent(number) for number in range(1, 6)))
    files = file_set(demo.master)
    size = sum(path.stat().st_size for path in files.values())
    report(f"{len(files)} files, {size // 1000} kB, put on the master: {describe(files)}", since(start))

    seconds = until_equal(demo, "both workers receive all files")
    report(f"all {len(files)} files on both workers, byte for byte", seconds)


def look_at_the_modes(demo):
    start = time.monotonic()
    for worker in demo.workers:
        wrong = wrong_mode(worker)
        if wrong:
            raise Failed("the modes are those of the cluster", wrong, worker)
    report("mode 0640 of client.keys and 0660 of all others, on both workers", since(start))


def put_private_files(demo):
    """Files that concern one node only: none of them may travel, and no worker may lose its own."""
    for name in PRIVATE:
        demo.master.write_own(name, f"private: {name} of the master\n")
    demo.workers[0].write_own("etc/shared/ar.conf", "restart-ossec0 - restart-ossec.sh - 0\n")
    demo.master.write("etc/shared/default/notice.txt", "This one may travel.\n")
    seconds = until_equal(demo, "a file that was put beside private ones arrives alone")
    report(f"{len(PRIVATE) + 1} private files stayed where they are: ossec.conf, ar.conf, *.tmp, *.swp …", seconds)


def change_a_rule(demo):
    rule = demo.a_file_of("rules")
    demo.master.append(rule, "<!-- Changed by the demo. -->\n")
    seconds = until_equal(demo, f"the changed {rule} arrives on both workers")
    report("changed rule on both workers:", seconds, name=rule)


def add_a_decoder(demo):
    name = "etc/decoders/demo_decoder.xml"
    demo.master.write(name, '<decoder name="demo">\n  <program_name>^demo$</program_name>\n</decoder>\n')
    seconds = until_equal(demo, f"the new {name} arrives on both workers")
    report("new decoder on both workers:", seconds, name=name)


def delete_a_list(demo):
    name = demo.a_file_of("lists")
    demo.master.path(name).unlink()
    seconds = until_equal(demo, f"the deleted {name} disappears from both workers")
    report("deleted list gone from both workers:", seconds, name=name)


def change_all_rules(demo):
    rules = demo.files_of("rules")
    for rule in rules:
        demo.master.append(rule, "<!-- Changed with all others by the demo. -->\n")
    seconds = until_equal(demo, f"{len(rules)} changed rules arrive on both workers")
    report(f"{len(rules)} rule files changed at once, all on both workers", seconds)


def add_an_agent(demo):
    demo.master.append("etc/client.keys", key_of_agent(6))
    seconds = until_equal(demo, "the key of the new agent arrives on both workers")
    report("key of a new agent on both workers: etc/client.keys", seconds)


def add_a_group(demo):
    put_group(demo.master, "databases")
    put_multigroup(demo.master, "databases", "web-servers")
    seconds = until_equal(demo, "the new group arrives on both workers")
    report("new agent group on both workers: databases", seconds)


def remove_a_group(demo):
    """The group's folder must go too, not only its files."""
    folders = ["etc/shared/retired", f"var/multigroups/{multigroup('default', 'retired')}"]
    for folder in folders:
        shutil.rmtree(demo.master.path(folder))

    def left():
        return ", ".join(
            f"{worker.name} has {folder}/"
            for worker in demo.workers
            for folder in folders
            if worker.path(folder).exists()
        )

    start = time.monotonic()
    wait("the directories of the removed group disappear from both workers", left, *demo.nodes)
    until_equal(demo, "the files of the removed group disappear from both workers")
    report("removed agent group gone from both workers, with its directories: retired", since(start))


def leave_a_surplus_file(demo):
    worker = demo.workers[1]
    worker.write("etc/rules/forgotten_rules.xml", "<!-- Written on the worker by mistake. -->\n")
    seconds = until_equal(demo, f"a rule that only {worker.name} has is deleted")
    report(f"surplus file deleted from {worker.name}: etc/rules/forgotten_rules.xml", seconds)


def lose_a_file(demo):
    worker, name = demo.workers[0], demo.a_file_of("decoders")
    worker.path(name).unlink()
    seconds = until_equal(demo, f"the lost {name} comes back to {worker.name}")
    report(f"lost file restored on {worker.name}:", seconds, name=name)


def damage_a_file(demo):
    """Other bytes, but the same size and date: only the contents tell."""
    worker = demo.workers[1]
    name = max(demo.files_of("rules"), key=lambda name: worker.path(name).stat().st_size)
    path = worker.path(name)
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x20
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    seconds = until_equal(demo, f"the damaged {name} on {worker.name} is repaired")
    report(f"damaged file (same size and date) repaired on {worker.name}:", seconds, name=name)


def stop_a_worker(demo):
    worker = demo.workers[1]
    start = time.monotonic()
    worker.stop()
    wait(
        f"the master lists {worker.name} as away",
        lambda: demo.nodes_missing(demo.master, demo.workers[0]),
        demo.master,
    )
    report(f"{worker.name} stopped by SIGTERM, listed as away", since(start))


def change_without_it(demo):
    away = demo.workers[1]
    demo.master.append(demo.a_file_of("decoders"), "<!-- Changed while worker-2 was away. -->\n")
    demo.master.write("etc/lists/demo-hosts", "web1:critical\nweb2:normal\n")
    demo.master.path("etc/decoders/demo_decoder.xml").unlink()
    seconds = until_equal(demo, "worker-1 follows while worker-2 is away", workers=demo.workers[:1])
    behind = difference(demo.master, away)
    if not behind:
        raise Failed(f"{away.name}, which is stopped, is behind", "it is in sync with the master", away)
    report("1 file changed, 1 added, 1 deleted without worker-2; worker-1 has followed", seconds)


def restart_the_worker(demo):
    worker = demo.workers[1]
    start = time.monotonic()
    worker.start()
    until_equal(demo, f"{worker.name} catches up after its restart")
    report(f"{worker.name} started again and in sync", since(start))


def give_keys_to_agents(demo):
    """No other program of a manager runs here, so the daemon itself makes the rows of the agent databases."""
    demo.master.append("etc/client.keys", "".join(map(key_of_agent, AGENTS)))
    known = f"SELECT count(*) AS n FROM agent WHERE id BETWEEN {AGENTS[0]} AND {AGENTS[-1]}"

    def left():
        counts = {node.name: node.rows(f"sql {known}")[0]["n"] for node in demo.nodes}
        return "" if set(counts.values()) == {len(AGENTS)} else f"agents in the databases: {counts}"

    seconds = wait(f"{len(AGENTS)} new agents are in the databases of all nodes", left, *demo.nodes)
    report(f"{len(AGENTS)} new agents: keys on all nodes, rows in their databases", seconds)


def let_agents_report(demo):
    for worker, agents in zip(demo.workers, halves(AGENTS)):
        for agent in agents:
            worker.tell(f"global update-agent-data {json.dumps(what_agents_say(agent, worker))}")
    active = "SELECT count(*) AS n FROM agent WHERE os_name = 'Ubuntu' AND connection_status = 'active'"

    def left():
        count = demo.master.rows(f"sql {active}")[0]["n"]
        return "" if count == len(AGENTS) else f"the master knows of {count}"

    seconds = wait(f"the master knows what {len(AGENTS)} agents have told the workers", left, *demo.nodes)
    report(f"{len(AGENTS)} agents report to two workers; the master knows them all", seconds)


def show_some_agents(demo):
    start = time.monotonic()
    listed = json.loads(demo.master.control("-a", "-fs", "active", "--json").stdout)
    for worker, agents in zip(demo.workers, halves(AGENTS)):
        seen = [agent for agent in listed if agent["node_name"] == worker.name]
        if len(seen) != len(agents):
            raise Failed(f"cluster_control -a shows {len(agents)} agents of {worker.name}", len(seen), demo.master)
    health = json.loads(demo.workers[0].control("-i", "--json").stdout)["nodes"]
    counts = {node.name: health[node.name]["info"]["n_active_agents"] for node in demo.workers}
    if set(counts.values()) != {len(AGENTS) // 2}:
        raise Failed("the health counts the active agents of each worker", counts, demo.master)
    show_output(demo.master, "-a", "-fs", "active", "-fn", "worker-2", first=4)
    row = demo.master.rows(f"get-agent-info {AGENTS[-1]}")[0]
    about = " ".join(row[part] for part in ("name", "os_name", "os_version", "connection_status", "node_name"))
    report(f"in the master's database: {about}", since(start))


def show_the_default_group(demo):
    """The master decides when an agent connects for the first time."""
    seconds = wait_for_groups(demo, AGENTS[0], "default")
    wait_for_groups(demo, AGENTS[-1], "default")
    report("agents that connect for the first time are in the group default, on all nodes", seconds)


def move_an_agent(demo):
    agent = AGENTS[0]
    data = json.dumps([{"id": agent, "groups": ["web-servers", "databases"]}])
    demo.master.tell(f'global set-agent-groups {{"mode":"override","sync_status":"syncreq","data":{data}}}')
    seconds = wait_for_groups(demo, agent, "web-servers,databases")
    report(f"agent {agent} moved to web-servers and databases on the master; the workers know", seconds)


def lose_an_agent(demo):
    worker, agent = demo.workers[0], AGENTS[1]
    status = {"id": agent, "connection_status": "disconnected", "sync_status": "syncreq_status", "status_code": 4}
    worker.tell(f"global update-connection-status {json.dumps(status)}")

    def left():
        row = demo.master.rows(f"get-agent-info {agent}")[0]
        return "" if row["connection_status"] == "disconnected" else f"it is {row['connection_status']}"

    seconds = wait(f"the master knows that agent {agent} is gone", left, *demo.nodes)
    report(f"agent {agent} is lost by {worker.name}; the master knows", seconds)


def remove_an_agent(demo):
    """What a worker still tells of it must not bring it back."""
    worker, agent = demo.workers[0], AGENTS[2]
    lines = demo.master.path("etc/client.keys").read_text().splitlines(keepends=True)
    demo.master.write("etc/client.keys", "".join(line for line in lines if not line.startswith(f"{agent:03} ")))
    # The worker hears of it later, with the file.
    worker.tell(f"global update-agent-data {json.dumps(what_agents_say(agent, worker))}")

    def left():
        return ", ".join(node.name for node in demo.nodes if node.rows(f"get-agent-info {agent}"))

    seconds = wait(f"agent {agent} is removed from the databases of all nodes", left, *demo.nodes)
    worker.tell(f'global insert-agent {{"id":{agent},"name":"agent-{agent}","date_add":1}}')
    worker.tell(f"global update-agent-data {json.dumps(what_agents_say(agent, worker))}")
    told = "Left out, because they do not exist on this master"
    seconds += wait("the master refuses the late report", lambda: demo.master.log_lacks(told), *demo.nodes)
    if demo.master.rows(f"get-agent-info {agent}"):
        raise Failed(f"agent {agent} stays removed on the master", "it is back", demo.master)
    worker.tell(f"global delete-agent {agent}")
    report(f"agent {agent} removed on the master, gone everywhere; a late report of it is refused", seconds)


NEWCOMER = "newcomer"


def register_on_a_worker(demo):
    worker, start = demo.workers[0], time.monotonic()
    answer = worker.control("--add-agent", NEWCOMER, "--json")
    if answer.returncode:
        raise Failed(f"{worker.name} registers an agent", answer.stdout + answer.stderr, *demo.nodes)
    agent, answered = json.loads(answer.stdout), since(start)
    line = f"{agent['id']} {NEWCOMER} any {agent['key']}\n"

    def left():
        return ", ".join(node.name for node in demo.nodes if line not in node.path("etc/client.keys").read_text())

    seconds = wait("the new agent is in client.keys of all nodes", left, *demo.nodes)
    report(f"registered on {worker.name}; the master gave it the id {agent['id']} and a key", answered)
    report("and it is in client.keys of all nodes", seconds)
    show_output(demo.workers[1], "--agent-key", agent["id"])
    demo.newcomer = agent["id"]


def register_a_duplicate(demo):
    start = time.monotonic()
    answer = demo.workers[1].control("--add-agent", NEWCOMER)
    if answer.returncode != 1 or "Error 9008 - Duplicate name" not in answer.stderr:
        raise Failed("the master refuses a second agent of that name", answer.stdout + answer.stderr, *demo.nodes)
    report(f"a second one of that name, on worker-2: {answer.stderr.splitlines()[0]}", since(start))


def remove_what_was_registered(demo):
    answer = demo.master.control("--remove-agent", demo.newcomer)
    if answer.returncode:
        raise Failed("the master removes an agent", answer.stdout + answer.stderr, demo.master)
    lives, row = f"{demo.newcomer} {NEWCOMER} ", f"get-agent-info {int(demo.newcomer)}"

    def left():
        return ", ".join(
            node.name for node in demo.nodes if lives in node.path("etc/client.keys").read_text() or node.rows(row)
        )

    seconds = wait("the agent is in no client.keys and in no database", left, *demo.nodes)
    report(f"agent {demo.newcomer} removed on the master: gone from the keys and databases of all nodes", seconds)


def wait_for_in_sync(demo):
    def not_in_sync():
        answer = demo.master.control("-l")
        return answer.returncode and f"exit {answer.returncode}: {answer.stdout.strip()} {answer.stderr.strip()}"

    seconds = wait("cluster_control -l of the master ends with 0: all nodes in sync", not_in_sync, *demo.nodes)
    report("cluster_control -l ends with 0: all nodes in sync", seconds)


def show_the_nodes(demo):
    show_output(demo.master, "-l")


def show_the_health(demo):
    show_output(demo.master, "-i")


def ask_a_worker(demo):
    worker = demo.workers[1]
    start = time.monotonic()
    answer = worker.control("-l", "--json")
    try:
        nodes = {node["name"]: node for node in json.loads(answer.stdout)}
    except (ValueError, TypeError, KeyError):
        nodes = {}
    seen = f"exit {answer.returncode}: {answer.stdout.strip()} {answer.stderr.strip()}"
    if answer.returncode or set(nodes) != {node.name for node in demo.nodes}:
        raise Failed(f"cluster_control -l --json on {worker.name} lists all nodes and ends with 0", seen, worker)
    wrong = [name for name, node in nodes.items() if node.get("in_sync") is not True]
    if wrong:
        raise Failed("every node in it is in_sync", seen, worker)
    report(f"cluster_control -l --json on {worker.name}: {len(nodes)} nodes, all in_sync", since(start))


def compare_once_more(demo):
    seconds = until_equal(demo, "all nodes are equal at the end")
    files = file_set(demo.master)

    def left():
        return ", ".join(name for node in demo.nodes for name in node.leftovers())

    # A check that is going on has a file of its own, for a moment.
    seconds += wait("no half-written files are left on any node", left, *demo.nodes)
    demo.files = len(files)
    report(f"{len(files)} files equal on all nodes; nothing half-written is left", seconds)


def read_the_logs(demo):
    start = time.monotonic()
    for node in demo.nodes:
        faults = [line for line in node.log_lines() if " ERROR: " in line or " CRITICAL: " in line]
        if faults:
            raise Failed(f"no errors in the log of {node.name}", f"{len(faults)}, the first: {faults[0]}", node)
    lines = sum(len(node.log_lines()) for node in demo.nodes)
    report(f"no error in {lines} lines of the three logs", since(start))


def stop_all(demo):
    start = time.monotonic()
    for node in reversed(demo.nodes):
        node.stop()
    report(f"workers and master stopped by SIGTERM, each within {STOP_WITHIN} s", since(start))


# ---------------------------------------------------------------------------------------------------------
# The files that the steps put


# Written on the master. By the rules of the cluster none of them goes to a worker.
PRIVATE = (
    "etc/internal.pem",
    "etc/shared/ar.conf",
    "etc/shared/default/ossec.conf",
    "etc/rules/draft_rules.xml.tmp",
    "etc/rules/.local_rules.xml.swp",
    "etc/decoders/local_decoder.xml~",
    "etc/lists/hosts.lock",
    "var/multigroups/notes.txt",
)


def halves(agents):
    return agents[: len(agents) // 2], agents[len(agents) // 2 :]


def what_agents_say(agent, worker):
    """What the program that talks to agents tells the database of its node."""
    return {
        "id": agent, "version": "Wazuh v4.14.7", "config_sum": "", "merged_sum": "", "manager_host": worker.name,
        "node_name": worker.name, "agent_ip": f"10.0.0.{agent % 250 + 1}", "connection_status": "active",
        "sync_status": "syncreq", "group_config_status": "synced", "os_name": "Ubuntu", "os_version": "24.04",
        "os_major": "24", "os_minor": "04", "os_codename": "noble", "os_platform": "ubuntu", "os_build": "",
        "os_uname": f"Linux |agent-{agent} |6.8.0 |x86_64", "os_arch": "x86_64", "labels": f'"site":demo{agent % 3}',
    }


def wait_for_groups(demo, agent, groups):
    def left():
        seen = {node.name: node.rows(f"get-agent-info {agent}")[0].get("group") for node in demo.nodes}
        return "" if set(seen.values()) == {groups} else f"the groups of agent {agent}: {seen}"

    return wait(f"all nodes know that agent {agent} belongs to {groups}", left, *demo.nodes)


def put_group(node, name):
    """The folder of an agent group, with the file that agents get: all files of the folder, one after the other."""
    agent_conf = f"<agent_config>\n  <labels>\n    <label key=\"group\">{name}</label>\n  </labels>\n</agent_config>\n"
    node.write(f"etc/shared/{name}/agent.conf", agent_conf)
    node.write(f"etc/shared/{name}/merged.mg", f"#{name}\n!{len(agent_conf)} agent.conf\n{agent_conf}")


def put_multigroup(node, *groups):
    """What an agent of several groups gets."""
    merged = "".join(node.path(f"etc/shared/{group}/merged.mg").read_text() for group in groups)
    node.write(f"var/multigroups/{multigroup(*groups)}/merged.mg", merged)


def multigroup(*groups):
    return hashlib.sha256(",".join(groups).encode()).hexdigest()[:8]


def key_of_agent(number):
    return f"{number:03} agent-{number} any {secrets.token_hex(32)}\n"


def copy(source, target):
    """Copies a file without its mode: a ruleset may be read-only, what the demo changes must not be."""
    shutil.copyfile(source, target)


# ---------------------------------------------------------------------------------------------------------
# Comparing nodes


# Directory, the names that belong to the cluster (none: all), whether its subdirectories do. Written down here again
# on purpose: the demo must not believe the daemon which files it has to carry.
FILE_SET = (
    ("etc", ("client.keys",), False),
    ("etc/shared", (), True),
    ("etc/rules", (), True),
    ("etc/decoders", (), True),
    ("etc/lists", (), True),
    ("var/multigroups", ("merged.mg",), True),
)
EXCLUDED_NAMES = ("ossec.conf", "ar.conf")
EXCLUDED_ENDINGS = ("~", ".tmp", ".lock", ".swp")


def file_set(node):
    """The files of a node that the cluster keeps equal: path relative to the home → path."""
    found = {}
    for directory, names, recursive in FILE_SET:
        for folder, folders, files in os.walk(node.path(directory)):
            if not recursive:
                folders.clear()
            for name in files:
                excluded = name in EXCLUDED_NAMES or name.endswith(EXCLUDED_ENDINGS)
                if not excluded and (not names or name in names):
                    path = Path(folder, name)
                    found[str(path.relative_to(node.home))] = path
    return dict(sorted(found.items()))


def until_equal(demo, expected, workers=None):
    """Waits until the workers have the master's files and nothing else; gives the seconds that it took."""
    workers = workers or demo.workers
    known = {}

    def seen():
        return "; ".join(filter(None, (difference(demo.master, worker, known) for worker in workers)))

    seconds = wait(expected, seen, demo.master, *workers)
    # While waiting, a file was read again only if its size or a date had changed. Now every byte counts.
    for worker in workers:
        left = difference(demo.master, worker) or wrong_mode(worker) or private_files_on(worker)
        if left:
            raise Failed(expected, left, demo.master, worker)
    return seconds


def difference(master, worker, known=None):
    """In words, how the files of a worker differ from the master's; nothing if they are equal."""
    here, there = file_set(master), file_set(worker)
    missing = [name for name in here if name not in there]
    surplus = [name for name in there if name not in here]
    other = [name for name in here if name in there and read(here[name], known) != read(there[name], known)]
    kinds = {"missing": missing, "surplus": surplus, "with other contents": other}
    found = [f"{len(names)} {kind} ({names[0]}{' …' if names[1:] else ''})" for kind, names in kinds.items() if names]
    return f"{worker.name}: {', '.join(found)}" if found else ""


def read(path, known=None):
    """The contents of a file, or nothing if it has just gone. `known` holds what was read before."""
    try:
        if known is None:
            return path.read_bytes()
        status = path.stat()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if known.get(path, ())[:1] != (stamp,):
            known[path] = (stamp, hashlib.sha256(path.read_bytes()).digest())
        return known[path][1]
    except FileNotFoundError:
        return None


def wrong_mode(worker):
    """In words, which file has another mode than the cluster gives it; nothing if none has."""
    for name, path in file_set(worker).items():
        wanted, mode = 0o640 if name == "etc/client.keys" else 0o660, stat.S_IMODE(path.stat().st_mode)
        if mode != wanted:
            return f"{worker.name}: {name} has mode {mode:04o}, not {wanted:04o}"
    return ""


def private_files_on(worker):
    """In words, what is wrong with the files that concern one node only; nothing if all is well."""
    for name in (*PRIVATE, *worker.own):
        expected, seen = worker.own.get(name), read(worker.path(name))
        if seen != expected:
            return f"{worker.name}: the private file {name} was {'changed' if expected else 'made'}"
    return ""


# ---------------------------------------------------------------------------------------------------------
# The nodes


class Demo:
    """The three nodes in their folder."""

    def __init__(self, folder, bin_dir, ruleset):
        self.folder, self.ruleset = folder, ruleset
        self.port = free_port()
        key = secrets.token_hex(16)
        self.master = Node("master", "master", folder, bin_dir, key, self.port)
        self.workers = [Node(f"worker-{i}", "worker", folder, bin_dir, key, self.port) for i in (1, 2)]
        self.nodes = [self.master, *self.workers]
        self.files = 0  # that all nodes have at the end

    def nodes_missing(self, *expected):
        """In words, how the list of connected nodes differs from what is expected; nothing if it does not."""
        answer = self.master.control("-l", "--json")
        try:
            names = sorted(node["name"] for node in json.loads(answer.stdout) if node["state"] != "away")
        except (ValueError, TypeError, KeyError):
            return f"cluster_control -l --json: exit {answer.returncode}: {answer.stdout} {answer.stderr}"
        return "" if names == sorted(node.name for node in expected) else f"the nodes {', '.join(names)}"

    def files_of(self, directory):
        """The master's files below etc/`directory`."""
        return [name for name in file_set(self.master) if name.startswith(f"etc/{directory}/")]

    def a_file_of(self, directory):
        return self.files_of(directory)[0]


class Node:
    """One daemon and its home."""

    def __init__(self, name, kind, folder, bin_dir, key, port):
        self.name, self.bin_dir = name, bin_dir
        self.home = folder / name
        self.process = None
        for directory in (
            *("etc/rules", "etc/decoders", "etc/lists", "etc/shared/default"),
            *("queue/cluster", "logs", "var/run", "var/multigroups"),
        ):
            self.path(directory).mkdir(parents=True)
        self.own = {}
        self.write_own("etc/ossec.conf", ossec_conf(name, kind, key, port))
        self.write_own("etc/cluster.json", json.dumps(CLUSTER_JSON, indent=4))

    def path(self, *parts):
        return self.home.joinpath(*parts)

    def write(self, name, text):
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)

    def write_own(self, name, text):
        """Writes a file that the cluster must never touch."""
        self.write(name, text)
        self.own[name] = text.encode()

    def append(self, name, text):
        with self.path(name).open("a") as file:
            file.write(text)

    def start(self):
        """Starts the daemon, in a process group of its own: Ctrl-C is for the demo, which then ends the daemons."""
        command = [self.bin_dir / "wazuh-clusterd", "-f", "-r", "--home", self.home]
        with self.path("logs/output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def stop(self):
        """Ends the daemon as a service manager does, and insists that it ends as it should."""
        process, self.process = self.process, None
        process.terminate()
        try:
            status = process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"{self.name} ends within {STOP_WITHIN} s of SIGTERM", "it had to be killed", self) from None
        if status != -signal.SIGTERM:
            raise Failed(f"{self.name} ends by the signal SIGTERM (status 143)", f"status {status}", self)
        pid_files = list(self.path("var/run").glob("*.pid"))
        if pid_files:
            raise Failed(f"{self.name} removes its pid file", f"{pid_files[0]} is there", self)

    def control(self, *arguments):
        command = [self.bin_dir / "cluster_control", *arguments, "--home", self.home]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"cluster_control {' '.join(arguments)} answers", f"nothing in {PATIENCE} s", self) from None

    def ask(self, request):
        """Sends a request to the agent database as the manager's other programs do; gives the answer."""
        def exactly(stream, count):
            data = stream.recv(count, socket.MSG_WAITALL)
            if len(data) < count:
                raise Failed(f"the agent database of {self.name} answers", "it closed the connection", self)
            return data

        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(str(self.path("queue/db/wdb")))
            stream.sendall(struct.pack("<I", len(request)) + request.encode())
            return exactly(stream, struct.unpack("<I", exactly(stream, 4))[0]).decode()

    def tell(self, request):
        answer = self.ask(request)
        if answer != "ok":
            raise Failed(f"the agent database of {self.name} does: {request[:60]}", answer, self)

    def rows(self, request):
        answer = self.ask(f"global {request}")
        if not answer.startswith("ok "):
            raise Failed(f"the agent database of {self.name} answers {request[:60]}", answer, self)
        return json.loads(answer[3:])

    def log_lacks(self, text):
        return "" if any(text in line for line in self.log_lines()) else f"no line '{text}' in the log of {self.name}"

    def log_lines(self):
        """The daemon's log; if it has none yet, what it said when it was started."""
        for name in ("logs/cluster.log", "logs/output.txt"):
            if self.path(name).exists() and self.path(name).stat().st_size:
                return self.path(name).read_text(errors="replace").splitlines()
        return []

    def leftovers(self):
        """Files that nobody wanted: what an unfinished or uncleaned synchronisation would leave in the home."""
        wanted = {*self.own, *file_set(self)}
        # When agents were registered.
        wanted |= {"queue/agents-timestamp"}
        # What the daemon keeps over its restarts: registrations that the database may not know, the largest id, which workers
        # there are, the master that has had a session, its term, and that a worker was killed while it reported.
        state = ("agents-pending", "highest-id", "nodes.json", "master.json", "term.json", "agent-info-under-way")
        wanted |= {f"queue/cluster-state/{name}" for name in state}
        # The agent database and its log.
        wanted |= {f"queue/db/global.db{ending}" for ending in ("", "-wal", "-shm")}
        places = [self.path(place) for place in ("etc", "queue", "var/multigroups")]
        files = [str(path.relative_to(self.home)) for place in places for path in place.rglob("*") if path.is_file()]
        return [f"{self.name}/{name}" for name in files if name not in wanted]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---------------------------------------------------------------------------------------------------------
# Waiting and telling


class Failed(Exception):
    """A step did not do what was expected. The logs of `nodes` may tell why."""

    def __init__(self, expected, seen, *nodes):
        super().__init__(expected)
        self.expected, self.seen, self.nodes = expected, seen, nodes


class Interrupted(Exception):
    """The demo itself was told to end."""


def wait(expected, unmet, *nodes):
    """Waits until `unmet` has nothing to say any more; gives the seconds that it took."""
    start = time.monotonic()
    while True:
        end_if_told()
        seen = unmet()
        if not seen:
            return since(start)
        for node in nodes:
            if node.process and node.process.poll() is not None:
                raise Failed(expected, f"{node.name} has ended with status {node.process.returncode}", node)
        if since(start) > PATIENCE:
            raise Failed(expected, f"after {PATIENCE} s still: {seen}", *nodes)
        time.sleep(0.02)


told_to_end = []  # the signals that have told so


def end_if_told():
    """Only here, so that no signal falls between the start of a daemon and the knowledge of it."""
    if told_to_end:
        raise Interrupted(signal.Signals(told_to_end[0]).name)


def since(start):
    return time.monotonic() - start


steps = []  # the seconds of each


def heading(text):
    print(f"\n{bold(text)}", flush=True)


def report(text, seconds, name=""):
    """A line for a step that has done what was expected."""
    end_if_told()
    steps.append(seconds)
    text = f"{text} {short(name, WIDTH - len(text) - 1)}" if name else text
    print(f"  {green('✓ ') if COLOURS else ''}{text:<{WIDTH}} {seconds:>6.2f} s", flush=True)


def show_output(node, *options, first=None):
    """Runs cluster_control for the reader's eyes, which see the `first` lines."""
    start, option = time.monotonic(), " ".join(options)
    answer = node.control(*options)
    if answer.returncode or not answer.stdout.strip():
        seen = f"exit {answer.returncode}: {answer.stdout.strip()} {answer.stderr.strip()}"
        raise Failed(f"cluster_control {option} on {node.name} ends with 0", seen, node)
    report(f"cluster_control {option} on {node.name}:", since(start))
    lines = answer.stdout.rstrip().splitlines()
    for line in lines[:first]:
        print(f"      {line}".rstrip(), flush=True)
    if lines[first or len(lines) :]:
        print(f"      … and {len(lines) - first} more", flush=True)


def describe(files):
    counts = [sum(name.startswith(f"etc/{directory}/") for name in files) for directory in RULESET_DIRECTORIES]
    return "{} rules, {} decoders, {} lists".format(*counts)


def short(name, width):
    """A path that fits on the line: if need be, without its middle."""
    half = (width - 1) // 2
    return name if len(name) <= width else f"{name[:half]}…{name[-half:]}"


WIDTH = 84  # of a step's text
COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def bold(text):
    return f"\033[1m{text}\033[0m" if COLOURS else text


def green(text):
    return f"\033[32m{text}\033[0m" if COLOURS else text


def red(text):
    return f"\033[31m{text}\033[0m" if COLOURS else text


def tell_failure(failed, folder):
    print(f"  {red('✗ ') if COLOURS else ''}{red('FAILED')}")
    print(f"    expected: {failed.expected}")
    print(f"    seen:     {failed.seen}")
    for node in failed.nodes:
        print(f"    the end of {node.path('logs/cluster.log')}:")
        for line in node.log_lines()[-8:]:
            print(f"      {line}")
    print(f"    the directory is left for you: {folder}", flush=True)


# ---------------------------------------------------------------------------------------------------------
# From the command line to the exit status


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: told_to_end.append(number))
    start = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="wazuh-demo-"))
    demo, status, leave = None, 1, True
    try:
        demo = Demo(folder, options.bin_dir, options.ruleset)
        print(f"One master and two workers in {folder}; they look for changes every second.", flush=True)
        show(demo)
        status, leave = 0, options.keep
    except (Failed, Interrupted) as end:
        if told_to_end:  # Ctrl-C reaches a running cluster_control too, which then fails
            status, leave = 128 + told_to_end[0], options.keep
            print(f"\nStopped by {signal.Signals(told_to_end[0]).name}.", flush=True)
        else:
            tell_failure(end, folder)
    finally:
        if demo:
            end_all(demo)
    if not leave:
        shutil.rmtree(folder)
    if status == 0:
        print(
            f"\nThree nodes, {demo.files} files, one opinion. {len(steps)} steps in {since(start):.1f} s, "
            f"the slowest {max(steps):.2f} s.",
            f"\nThe folder is kept: {folder}" if leave else "\nNothing is left running or lying around.",
            sep="",
        )
    return status


def end_all(demo):
    """Ends what still runs, after whatever has happened."""
    for node in reversed(demo.nodes):
        if node.process and node.process.poll() is None:
            try:
                node.stop()
            except Failed as failed:
                print(f"    besides: {failed.expected}; but {failed.seen}", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Shows a cluster of one master and two workers at work.")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    directory = {"type": Path, "metavar": "DIR"}
    parser.add_argument("--bin-dir", default=target / "release", help="where the programs are", **directory)
    parser.add_argument("--ruleset", default=OWN_RULESET, help="has rules/ decoders/ lists/", **directory)
    parser.add_argument("--keep", action="store_true", help="leave the folder after a success too")
    options = parser.parse_args()
    options.bin_dir = options.bin_dir.resolve()
    for program in ("wazuh-clusterd", "cluster_control"):
        if not (options.bin_dir / program).is_file():
            parser.error(f"there is no {program} in {options.bin_dir}; build it: cargo build --release --locked")
    for directory in RULESET_DIRECTORIES:
        if not any(path.is_file() for path in (options.ruleset / directory).rglob("*")):
            parser.error(f"there are no files in {options.ruleset / directory}")
    return options


if __name__ == "__main__":
    sys.exit(main())
