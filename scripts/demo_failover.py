#!/usr/bin/env python3
"""A master that dies, on this machine: three members of etcd, two candidates and two workers in a temporary directory.

Agents register through a worker all the time. The master is killed, another candidate follows, and the former master comes
back. At the end each registration that was answered is looked for, and each ID that was given twice.

    make demo-failover
    make demo-failover KEEP=1    leaves the directory after a success too

It needs /usr/bin/etcd (Debian: etcd-server), and says so where that is missing.
"""

import argparse
import collections
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from demo import heading, ossec_conf

ROOT = Path(__file__).resolve().parent.parent
ETCD = "/usr/bin/etcd"

PATIENCE = 60  # seconds that a step may take
TTL = 5  # seconds after which a silent master is given up
REGISTRARS = 4  # agents that register at a time
PORT = 15160

class Failed(Exception):
    """A step that did not end as it should: what was expected."""


def show(demo):
    """The whole demonstration."""
    heading("Start")
    seconds = demo.start_etcd()
    report(f"etcd: three members at {', '.join(demo.etcd)}", seconds)
    for node in demo.nodes:
        node.start()
    a, b = demo.candidates
    seconds = wait("a is the master", lambda: a.is_master())
    report(f"a is the master, in term {a.term()}; ttl {TTL} s", seconds)
    seconds = wait("b may follow", lambda: "b" in a.followers())
    report("b has what a has, and may follow", seconds)
    seconds = wait("the workers follow a", lambda: all(node.follows("a") for node in demo.workers))
    report("w1 and w2 follow a; neither of them knows etcd", seconds)

    heading("Agents register through w1")
    agents = Agents(demo.workers[0])
    wait("agents are registered", lambda: len(agents.answered) >= 10)
    report(f"{len(agents.answered)} registrations were answered so far")

    heading("The master is killed")
    wait("b may follow", lambda: "b" in a.followers())
    before, killed = len(agents.answered), time.monotonic()
    a.kill()
    report(f"kill -9 of a, after {before} answered registrations")
    seconds = wait("b is the master", lambda: b.is_master())
    report(f"b is the master, in term {b.term()}", seconds)
    wait("agents are registered again", lambda: agents.since(killed))
    gap = agents.since(killed) - killed
    report(f"the next registration was answered {gap:.1f} s after the kill")
    wait("more agents", lambda: len(agents.answered) >= before + 10)

    heading("The former master comes back")
    a.start()
    seconds = wait("a follows b", lambda: a.follows("b"))
    report("a follows b, though its <node_type> is still master", seconds)
    wait("a may follow", lambda: "a" in b.followers())
    report("a has what b has, and may follow it")

    heading("What is left")
    answered = agents.end()
    keys = b.keys()
    missing = [agent for agent in answered if agent["line"] not in keys]
    given = collections.Counter(agent["id"] for agent in answered)
    given.update(collections.Counter(line.split(" ")[0] for line in keys) - collections.Counter(set(given)))
    twice = sorted(number for number, count in given.items() if count > 1)
    report(f"{len(answered)} registrations were answered: {len(answered) - len(missing)} exist on b, {len(missing)} do not")
    report(f"IDs that were given twice: {', '.join(twice) or 'none'}")
    seconds = wait("all nodes have the same agents", lambda: all(node.keys() == b.keys() for node in demo.nodes))
    report("all four nodes have the same client.keys", seconds)
    if missing or twice:
        raise Failed("each answered registration is there, and each ID is one agent's")
    print(demo.nodes[0].control("--failover-status").stdout)


class Node:
    """One daemon, in a home of its own."""

    def __init__(self, demo, name, address, hosts, failover):
        self.demo, self.name, self.home, self.process = demo, name, demo.folder / name, None
        for directory in ("etc/rules", "etc/shared/default", "logs", "queue/cluster", "var/run", "var/multigroups"):
            (self.home / directory).mkdir(parents=True)
        kind = "master" if name == "a" else "worker"
        self.write("etc/ossec.conf", ossec_conf(name, kind, demo.key, PORT, address, hosts))
        settings = {"link": {"reconnect_min": 0.5}}
        if failover:
            settings["failover"] = failover
        self.write("etc/cluster.json", json.dumps(settings))
        self.write("etc/client.keys", "")

    def write(self, name, text):
        path = self.home / name
        path.write_text(text)
        path.chmod(0o640)

    def start(self):
        command = [demo_program(self.demo, "wazuh-clusterd"), "--home", self.home, "-f", "-r"]
        output = open(self.home / "output", "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        output.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def control(self, *arguments):
        command = [demo_program(self.demo, "cluster_control"), "--home", self.home, *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)

    def status(self):
        """What --failover-status says; nothing while the node does not answer."""
        try:
            return json.loads(self.control("--failover-status", "--json").stdout)
        except ValueError:
            return {}

    def is_master(self):
        return self.status().get("role") == "master"

    def term(self):
        return self.status().get("term")

    def follows(self, master):
        status = self.status()
        return status.get("role") == "worker" and status.get("master") == master

    def followers(self):
        candidates = (self.status().get("failover") or {}).get("candidates", [])
        return [seen["name"] for seen in candidates if seen["may_follow"] and seen["is_there"]]

    def keys(self):
        return (self.home / "etc/client.keys").read_text().splitlines()


class Agents:
    """Agents that register at a node until it is ended, and what was answered to them."""

    def __init__(self, node):
        self.node, self.answered, self.over = node, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(REGISTRARS)]
        for thread in self.threads:
            thread.start()

    def run(self, thread):
        number = 0
        while not self.over.wait(0.1):
            number += 1
            name = f"agent-{thread}-{number}"
            said = self.node.control("--add-agent", name, "--json")
            if said.returncode == 0:
                agent = json.loads(said.stdout)
                line = f"{agent['id']} {name} any {agent['key']}"
                self.answered.append({"id": agent["id"], "line": line, "at": time.monotonic()})

    def since(self, moment):
        """When the first was answered after a moment; nothing if none was."""
        return min((agent["at"] for agent in self.answered if agent["at"] > moment), default=None)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.answered


class Demo:
    """The nodes and the members of etcd."""

    def __init__(self, folder, programs):
        self.folder, self.programs, self.key, self.members = folder, programs, secrets.token_hex(16), []
        taken = [free_address() for _ in range(5)]
        self.etcd = [f"http://{address}:2379" for address in taken[:3]]
        hosts = taken[3:]
        failover = {"etcd": self.etcd, "candidates": ["a", "b"], "ttl": TTL}
        self.candidates = [Node(self, name, host, hosts, failover) for name, host in zip(("a", "b"), hosts)]
        self.workers = [Node(self, name, hosts[0], hosts, None) for name in ("w1", "w2")]
        self.nodes = [*self.candidates, *self.workers]

    def start_etcd(self):
        peers = [url.replace("2379", "2380") for url in self.etcd]
        cluster = ",".join(f"m{at}={peer}" for at, peer in enumerate(peers))
        for at, (client, peer) in enumerate(zip(self.etcd, peers)):
            command = [ETCD, "--name", f"m{at}", "--data-dir", self.folder / f"etcd-{at}"]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster", cluster, "--initial-cluster-token", self.key]
            with open(self.folder / f"etcd-{at}.log", "ab") as log:
                self.members.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return wait("etcd answers", lambda: all(answers(url) for url in self.etcd))

    def end(self):
        processes = [node.process for node in self.nodes if node.process] + self.members
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def demo_program(demo, name):
    return demo.programs / name


def answers(url):
    host, port = url.removeprefix("http://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    except OSError:
        return False


def free_address():
    """A loopback address at which nobody listens."""
    while True:
        address = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
        with socket.socket() as taken:
            try:
                taken.bind((address, PORT))
                return address
            except OSError:
                continue


def wait(what, condition):
    """Waits until something is so; gives the seconds that it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > PATIENCE:
            raise Failed(what)
        time.sleep(0.05)
    return time.monotonic() - start


def report(text, seconds=None):
    print(f"  {text}" + (f"  ({seconds:.1f} s)" if seconds is not None else ""), flush=True)


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the directory after a success too")
    parser.add_argument("--bin", type=Path, default=ROOT / "target/release", help="where the two programs are")
    options = parser.parse_args()
    if not os.path.exists(ETCD):
        print(f"skipped: {ETCD} is missing; install etcd-server")
        return 0
    signal.signal(signal.SIGTERM, interrupted)
    folder = Path(tempfile.mkdtemp(prefix="demo-failover-"))
    demo = Demo(folder, options.bin.resolve())
    keep = True
    try:
        show(demo)
        keep = options.keep
        return 0
    except Failed as failed:
        print(f"\nFAILED: not within {PATIENCE} s, or not so: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        keep = False
        return 130
    finally:
        demo.end()
        if keep:
            print(f"The directory is left: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
