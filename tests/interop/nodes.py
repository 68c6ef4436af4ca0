"""Our daemon as a child process, each with a home and an address of its own."""
import contextlib
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

KEY = "0123456789abcdefghijklmnopqrstuv"
LIMIT = 20.0
PORT = 15161
bin_dir = pathlib.Path("target/debug")
_next = itertools.count(1)
_claims = []


def address():
    """A loopback address that nobody else has, so that the port is free on it. A socket of another protocol claims it."""
    while True:
        number = (os.getpid() << 8) + next(_next)
        host = f"127.{1 + (number >> 16) % 254}.{(number >> 8) & 255}.{number % 254 + 1}"
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((host, PORT))
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return host


def until(look, what="the condition"):
    """What `look` gives as soon as it is true."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise TimeoutError(f"not within {LIMIT} s: {what() if callable(what) else what}")


class Node:
    """A daemon in a temporary home; a context manager that starts and stops it."""

    def __init__(self, node_type, name, host, port=PORT, files=None, key=KEY, version="4.14.7",
                 groups_after=0.2, settings=None):
        self.name, self.host, self.port, self.key = name, host, port, key
        self._directory = tempfile.TemporaryDirectory()
        self.home = pathlib.Path(self._directory.name)
        for directory in ("etc/rules", "logs", "queue/cluster", "var/run"):
            (self.home / directory).mkdir(parents=True)
        (self.home / "etc/ossec.conf").write_text(
            "<ossec_config><cluster><name>wazuh</name>"
            f"<node_name>{name}</node_name><node_type>{node_type}</node_type><key>{key}</key><port>{port}</port>"
            f"<bind_addr>{host}</bind_addr><nodes><node>{host}</node></nodes></cluster></ossec_config>")
        (self.home / "etc/local_internal_options.conf").write_text("wazuh_clusterd.debug=1\n")
        (self.home / "etc/cluster.json").write_text(json.dumps({
            "version": version,
            "intervals": {"worker": {"sync_integrity": 0.2, "connection_retry": 0.2, "sync_agent_info": 0.2},
                          "master": {"recalculate_integrity": 0.2, "sync_agent_groups": 0.2,
                                     "agent_group_start_delay": groups_after}},
            "link": {"reconnect_min": 0.05}, **(settings or {})}))
        for path, content in (files or {}).items():
            self.write(path, content)

    def __enter__(self):
        environment = {name: value for name, value in os.environ.items() if name != "WAZUH_HOME"}
        with open(self.home / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                [str(bin_dir / "wazuh-clusterd"), "-f", "-r", "--home", str(self.home)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
        ready = "[Local Server] [Main] Serving on "
        until(lambda: ready in self.log() or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise RuntimeError(f"the daemon does not start:\n{self.log()}")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._directory.cleanup()

    def write(self, path, content):
        (self.home / path).parent.mkdir(parents=True, exist_ok=True)
        (self.home / path).write_bytes(content)

    def remove(self, path):
        (self.home / path).unlink()

    def files(self, *directories):
        """Path and content of all synchronised files."""
        found = {}
        for top in directories or ("etc/rules", "etc/decoders", "etc/lists", "etc/shared"):
            for path in sorted((self.home / top).rglob("*")):
                if path.is_file():
                    found[str(path.relative_to(self.home))] = path.read_bytes()
        if (self.home / "etc/client.keys").exists():
            found["etc/client.keys"] = (self.home / "etc/client.keys").read_bytes()
        return found

    def database(self, *requests):
        """Sends requests to the agent database of this node as its programs do; gives the answers."""
        def exactly(stream, count):
            data = stream.recv(count, socket.MSG_WAITALL)
            assert len(data) == count, "the database closed the connection"
            return data

        def ask(stream, request):
            stream.sendall(struct.pack("<I", len(request.encode())) + request.encode())
            return exactly(stream, struct.unpack("<I", exactly(stream, 4))[0]).decode()

        with contextlib.closing(socket.socket(socket.AF_UNIX)) as stream:
            stream.settimeout(LIMIT)
            stream.connect(str(self.home / "queue/db/wdb"))
            return [ask(stream, request) for request in requests]

    def rows(self, request):
        """The rows of one answer."""
        answer, = self.database("global " + request)
        assert answer.startswith("ok "), f"{request}: {answer}"
        return json.loads(answer[3:])

    def log(self):
        try:
            return (self.home / "logs/cluster.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for(self, text):
        """A log line that has this text."""
        return until(lambda: next((line for line in self.log().splitlines() if text in line), None),
                     lambda: f"'{text}' in the log:\n{self.log()}")


def master(files=None, **options):
    return Node("master", "m", address(), files=files, **options)


def worker(host, port=PORT, files=None, **options):
    return Node("worker", "w1", host, port, files=files, **options)


def item_key(path):
    """The directory of the cluster that a path belongs to."""
    return "etc/" if path == "etc/client.keys" else re.match(r"[^/]+/[^/]+/", path).group()
