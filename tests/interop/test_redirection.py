"""What original nodes and programs said of redirected requests, to our nodes, and the answers compared."""
import base64
import contextlib
import json
import socket
import struct
import threading
import unittest

import nodes
import peer
from test_vectors import HELLO_SUFFIX, Replay, load, payload

ADDED = b'{"error":0,"data":{"id":"004","name":"agent-d","ip":"any","key":"00"}}'
# Executes a request as the original did: refuses one function, and gives the captured answer to the other.
EXECUTOR = """#!/bin/sh
case "$(cat)" in
*get_agents_overview*) cat "$WAZUH_HOME/answer.json" ;;
*) echo "Error 1000 - Function 'status' from module 'wazuh.core.manager' is not exposed with @dapi_allower decorator" >&2
   exit 1 ;;
esac
"""


class Registrar(contextlib.AbstractContextManager):
    """The registration daemon of the captures: it always gives the same agent."""

    def __init__(self, node):
        path = node.home / "queue/sockets/auth"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                stream, _ = self.socket.accept()
            except OSError:
                return
            with stream:
                length, = struct.unpack("<I", stream.recv(4, socket.MSG_WAITALL))
                json.loads(stream.recv(length, socket.MSG_WAITALL))
                stream.sendall(struct.pack("<I", len(ADDED)) + ADDED)

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


def captured_answer(name):
    """The answer of the API in a capture."""
    for message in load(name)["messages"]:
        if message["command"] == "str_upd":
            return payload(message).split(b" ", 1)[1]
    raise AssertionError("no answer in the capture")


ANSWERS = {"specmaster": captured_answer("local_worker_dapi"), "specw1": captured_answer("local_master_dapi_fwd_ok")}


def node(role, name, host):
    made = nodes.Node(role, name, host, settings=SETTINGS)
    made.write("answer.json", ANSWERS[name])
    made.write("executor", EXECUTOR.encode())
    (made.home / "executor").chmod(0o755)
    settings = json.loads((made.home / "etc/cluster.json").read_text())
    settings["distributed_api"] = {"executor": [str(made.home / "executor")]}
    (made.home / "etc/cluster.json").write_text(json.dumps(settings))
    return made


SETTINGS = {"registration": "authd"}


class TestPrograms(unittest.TestCase):
    """Captured local programs at the control sockets of a cluster of ours."""

    @classmethod
    def setUpClass(cls):
        cls.master = cls.enterClassContext(node("master", "specmaster", nodes.address()))
        cls.enterClassContext(Registrar(cls.master))
        cls.worker = cls.enterClassContext(node("worker", "specw1", cls.master.host))
        cls.worker.wait_for("Successfully connected to master")

    def replay(self, name):
        home = (self.master if name.startswith("local_master") else self.worker).home
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as stream:
            stream.settimeout(nodes.LIMIT)
            stream.connect(str(home / "queue/cluster/c-internal.sock"))
            counters = {}
            for message in load(name)["messages"]:
                if message["dir"] == "client>server" and message["role"] == "request":
                    counters[message["n"]] = message["counter"]
                    stream.sendall(base64.b64decode(message["raw_b64"]))
                elif message["dir"] == "client>server":
                    body = payload(message)
                    header = peer.HEADER.pack(counters[message["answers"]], len(body), message["header_command"].encode())
                    stream.sendall(header + body)
                else:
                    header = stream.recv(peer.HEADER.size, socket.MSG_WAITALL)
                    counter, size, field = peer.HEADER.unpack(header)
                    got = stream.recv(size, socket.MSG_WAITALL) if size else b""
                    self.assertEqual(field.decode(), message["header_command"], f"{name} {message['n']}")
                    self.assertEqual(got, payload(message), f"{name} {message['n']}")
                    if message["role"] == "response":
                        self.assertEqual(counter, counters[message["answers"]])
                    counters[message["n"]] = counter

    def test_captured_programs(self):
        for name in ("local_master_dapi", "local_master_dapi_error", "local_master_dapi_fwd",
                     "local_master_dapi_fwd_ok", "local_master_dapi_fwd_unknown_node", "local_master_hello",
                     "local_master_keepalive", "local_master_send_file_unknown_node", "local_master_sendasync",
                     "local_master_sendrreload", "local_master_unknown_command", "local_worker_dapi",
                     "local_worker_dapi_badjson", "local_worker_dapi_error", "local_worker_sendasync",
                     "local_worker_sendasync_error", "local_worker_sendrreload", "local_worker_sendsync_c_client",
                     "local_worker_sendsync_c_client_error", "local_worker_unknown_command"):
            with self.subTest(name):
                self.replay(name)


class TestSessions(unittest.TestCase):
    """Captured links, our node at one end."""

    def session(self, name, replay):
        """Plays the captured end. Counters of requests of our node are its own."""
        messages, counters = load(name)["messages"], {}
        theirs = messages[0]["dir"]
        for message in messages:
            if message["dir"] == theirs and message["role"] == "request":
                replay.send(message)
                counters[message["n"]] = message["counter"]
            elif message["dir"] == theirs:
                replay.send(message, counters[message["answers"]])
            else:
                counter, field, got = replay.receive()
                self.assertEqual(field.decode(), message["header_command"], f"{name} {message['n']}")
                if message["command"] != "file_upd":
                    self.assertEqual(got, payload(message), f"{name} {message['n']}")
                counters[message["n"]] = counter

    def test_an_original_worker_at_our_master(self):
        master = node("master", "specmaster", nodes.address())
        master.key = load("session_sendsync")["key"]
        config = master.home / "etc/ossec.conf"
        config.write_text(config.read_text().replace(nodes.KEY, master.key))
        self.enterContext(master)
        self.enterContext(Registrar(master))
        for name in ("session_sendsync", "session_sendsync_error", "session_dapi_worker_to_master"):
            with self.subTest(name), contextlib.ExitStack() as stack:
                replay = Replay(master, [], master.key)
                stack.callback(replay.sock.close)
                nodes.until(lambda: HELLO_SUFFIX.sub(b"", replay.hello("specw1")[2]) == b"Client specw1 added"
                            or self.again(replay, master))
                self.session(name, replay)

    @staticmethod
    def again(replay, master):
        """The name is still taken by the connection of the capture before."""
        replay.sock.close()
        replay.sock = socket.create_connection((master.host, master.port), timeout=nodes.LIMIT)

    def test_an_original_master_at_our_worker(self):
        key = load("session_dapi_master_to_worker")["key"]
        listener = self.enterContext(contextlib.closing(socket.create_server((nodes.address(), nodes.PORT))))
        listener.settimeout(nodes.LIMIT)
        worker = node("worker", "specw1", listener.getsockname()[0])
        config = worker.home / "etc/ossec.conf"
        config.write_text(config.read_text().replace(nodes.KEY, key))
        settings = json.loads((worker.home / "etc/cluster.json").read_text())
        settings["intervals"]["worker"] = {name: 600 for name in ("sync_integrity", "sync_agent_info", "keep_alive")}
        (worker.home / "etc/cluster.json").write_text(json.dumps(settings))
        self.enterContext(worker)
        replay = Replay.__new__(Replay)
        replay.messages, replay.tasks = [], {}
        replay.fernet = peer.Fernet(base64.b64encode(key.encode()))
        replay.sock, _ = listener.accept()
        self.addCleanup(replay.sock.close)
        replay.sock.settimeout(nodes.LIMIT)
        counter, field, got = replay.receive()
        self.assertEqual((field, got), (b"hello ------", b"specw1 wazuh worker 4.14.7"))
        body = replay.fernet.encrypt(b"Client specw1 added")
        replay.sock.sendall(peer.HEADER.pack(counter, len(body), b"ok ---------") + body)
        for name in ("session_dapi_master_to_worker", "session_send_file"):
            with self.subTest(name):
                self.session(name, replay)
        captured = next(m for m in load("session_send_file")["messages"] if m["command"] == "file_upd")
        self.assertEqual((worker.home / "queue/cluster/spec_test.bin").read_bytes(), payload(captured).split(b" ", 1)[1])


if __name__ == "__main__":
    unittest.main()
