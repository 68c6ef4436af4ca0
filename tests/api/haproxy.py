"""The HAProxy helper of the original beside our daemon, against a Data Plane API (version 2) of this test."""
import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import tempfile
import threading
import urllib.parse

import homes
import nodes
from homes import until

USER, PASSWORD, BACKEND = "dataplane", "Only-For-The-Proxy", "wazuh_reporting"
# The shortest times that the helper takes.
BLOCK = """<haproxy_helper>
    <haproxy_disabled>no</haproxy_disabled><haproxy_address>{address}</haproxy_address><haproxy_port>5555</haproxy_port>
    <haproxy_user>{user}</haproxy_user><haproxy_password>{password}</haproxy_password><frequency>10</frequency>
    <agent_reconnection_time>0</agent_reconnection_time>
    <agent_reconnection_stability_time>10</agent_reconnection_stability_time>
  </haproxy_helper>"""


class DataPlane(http.server.ThreadingHTTPServer):
    """One backend's worth of a Data Plane API, with the number of connections that the test sets."""
    daemon_threads = True

    def __init__(self, address):
        self.backends, self.frontends, self.binds, self.servers = {}, {}, {}, {}
        self.settings, self.version, self.connections, self.seen = {}, 1, {}, []
        self.password = PASSWORD
        super().__init__((address, 5555), Request)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, method, path, query, body):
        """The status and the body for one request."""
        self.seen.append(f"{method} {path}")
        if path == "health":
            return 200, {"haproxy": "up"}
        if path == "services/haproxy/runtime/info":
            return 200, [{"info": {"version": "2.8.0", "pid": 77}}]
        if path == "services/haproxy/configuration/version":
            return 200, self.version
        if path == "services/haproxy/stats/native":
            return self.stats(query["name"])
        configured = re.fullmatch(r"services/haproxy/configuration/(\w+)(?:/(.+))?", path)
        if configured:
            return self.configuration(method, *configured.groups(), query, body)
        running = re.fullmatch(r"services/haproxy/runtime/servers/(.+)", path)
        if running and running[1] in self.servers:
            server = self.servers[running[1]]
            server.update(body or {})
            return 200, {"name": running[1], "admin_state": server["admin_state"]}
        return 404, {"code": 404, "message": f"no {path}"}

    def stats(self, name):
        for server in self.servers:
            if server.lower() == name:
                stats = {"status": "UP", "scur": self.connections.get(server, 0), "lastchg": 100}
                return 200, [{"stats": [{"name": server, "stats": stats}]}]
        return 404, {"code": 404, "message": f"no data for {BACKEND}/{name}: not found"}

    def configuration(self, method, kind, name, query, body):
        if kind == "global":
            self.settings = body or self.settings
            self.version += body is not None
            return 200, {"_version": self.version, "data": self.settings}
        known = {"backends": self.backends, "frontends": self.frontends, "servers": self.servers,
                 "binds": self.binds.setdefault(query.get("frontend"), {})}[kind]
        if method == "GET":
            return 200, {"_version": self.version, "data": list(known.values())}
        if int(query["version"]) != self.version:
            return 409, {"code": 409, "message": f"version mismatch: {query['version']} is not {self.version}"}
        self.version += 1
        if method == "DELETE":
            del known[name]
            return 204, None
        known[body["name"]] = {**body, "admin_state": "ready"} if kind == "servers" else body
        return 201, body


class Request(http.server.BaseHTTPRequestHandler):
    def do(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        right = "Basic " + base64.b64encode(f"{USER}:{self.server.password}".encode()).decode()
        url = urllib.parse.urlsplit(self.path)
        if self.headers.get("Authorization") != right:
            status, answer = 401, {"code": 401, "message": "unauthorized"}
        elif not url.path.startswith("/v2/"):
            status, answer = 404, {"code": 404, "message": "no such version"}
        else:
            query = dict(urllib.parse.parse_qsl(url.query))
            status, answer = self.server.answer(self.command, url.path.removeprefix("/v2/"), query, body)
        text = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do

    def log_message(self, *_):
        pass


class Agents:
    """The socket of wazuh-remoted on a home, which gets the orders for agents."""

    def __init__(self, home):
        self.orders = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(home.path / "queue/alerts/ar"))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        with contextlib.suppress(OSError):
            while True:
                self.orders.append(self.socket.recv(65536).decode(errors="replace"))

    def reconnected(self):
        """The ids of the agents that were ordered to reconnect, in order."""
        return [int(match[1]) for order in self.orders
                if (match := re.search(r" (\d+) force_reconnect", order))]


def helper_of(daemon):
    """The process of the helper; none if it does not run."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (entry / "status").read_text()
            words = (entry / "cmdline").read_bytes()
            if f"PPid:\t{daemon.pid}\n" in status and b"framework/python" in words:
                return int(entry.name), words.decode(errors="replace")
    return None


def test(settings):
    """Whether the helper does its work; prints what it does."""
    nodes.LIMIT = 200.0
    addresses, steps = (nodes.address(), nodes.address()), []

    def step(what, holds):
        steps.append(holds)
        print(f"{'good' if holds else 'BAD '}  haproxy: {what}", flush=True)

    proxy = DataPlane(nodes.address())
    block = BLOCK.format(address=proxy.server_address[0], user=USER, password=PASSWORD)
    with tempfile.TemporaryDirectory() as directory:
        cluster = homes.Cluster(f"{directory}/homes", addresses, False, settings, block)
        agents = [Agents(home) for home in (cluster.master, cluster.worker)]
        with cluster:
            log = lambda: cluster.master.read("logs/cluster.log")  # noqa: E731
            daemon = cluster.daemons["m"]
            until(lambda: "Starting HAProxy Helper" in log() and set(proxy.servers) == {"m", "w"},
                  lambda: f"the servers in the backend, in\n{log()}")
            step(f"both nodes are servers of {BACKEND}: "
                 + ", ".join(f"{name} at {one['address']}:{one['port']}" for name, one in proxy.servers.items()), True)
            step("backend, frontend and its port are made", BACKEND in proxy.backends and
                 [bind["port"] for bind in proxy.binds[f"{BACKEND}_front"].values()] == [1514])
            until(lambda: "Load balancer backend is balanced" in log(), lambda: f"a balanced backend, in\n{log()}")
            every = sorted([*homes.OF_WORKER, *homes.OF_MASTER])
            step(f"all agents are reconnected, on both nodes: {[len(one.reconnected()) for one in agents]}",
                 sorted({number for one in agents for number in one.reconnected()}) == every)
            orders = len(agents[0].reconnected())
            proxy.connections = {"m": 10, "w": 2}
            until(lambda: "Balancing 4 agents from 'm'" in log(), lambda: f"agents to be balanced, in\n{log()}")
            until(lambda: len(agents[0].reconnected()) == orders + 4, "their orders")
            step("10:2 connections: 4 agents of m are reconnected", True)
            proxy.connections = {"m": 6, "w": 6}
            first, words = helper_of(daemon)
            status = pathlib.Path(f"/proc/{first}/status").read_text()
            resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024
            step(f"it has {resident} MiB resident", resident < 200)
            os.kill(first, signal.SIGKILL)
            until(lambda: (helper_of(daemon) or (first,))[0] != first, "another helper")
            step("it is killed: another one is started", True)
            told = len(re.findall("Starting HAProxy Helper", log()))
            until(lambda: len(re.findall("Starting HAProxy Helper", log())) > told, "the other one to work")
            tags = set(re.findall(r"(?:INFO|WARNING|ERROR|DEBUG): (\[HAPHelper\] \[[\w ]+\])", log()))
            step(f"its lines are in cluster.log under {sorted(tags)}", "[HAPHelper] [Main]" in tags)
            step("no password in a log or a command line", PASSWORD not in log() + words)
            mark = len(log())
            proxy.password = "another"
            os.kill(helper_of(daemon)[0], signal.SIGKILL)
            until(lambda: "Error 3046" in log()[mark:] and
                  "Nothing balances the agents until it is started again, in 4 s" in log()[mark:],
                  lambda: f"the refusal in\n{log()[mark:]}")
            step("the proxy refuses its password: the log says so, and the pauses grow", True)
            proxy.password = PASSWORD
            until(lambda: "Load balancer backend is balanced" in log()[mark:], "the helper to work again")
            step("the proxy takes it again: the helper works on", True)
            second, _ = helper_of(daemon)
            daemon.end()
            step("it ends with the daemon", not pathlib.Path(f"/proc/{second}").exists())
    for one in agents:
        one.socket.close()
    proxy.shutdown()
    proxy.server_close()
    return all(steps)
