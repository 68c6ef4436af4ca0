"""The bytes that an original worker sent are answered as the original master answered them."""
import base64
import json
import pathlib
import re
import socket
import unittest

import nodes
import peer

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "fixtures/vectors"
HELLO_SUFFIX = re.compile(rb" native/1 [\w-]{22}$")
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
PATH = re.compile(rb"queue/cluster/specw1/specw1-\d+\.\d+-[0-9a-f]{32}\.zip")


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def payload(message):
    if "payload_b64" in message:
        return base64.b64decode(message["payload_b64"])
    return message["payload"].encode()


class Replay:
    """Plays the worker of a captured session against a master, and keeps what the master says."""

    def __init__(self, node, messages, key):
        self.messages, self.tasks = messages, {}
        self.fernet = peer.Fernet(base64.b64encode(key.encode()))
        self.sock = socket.create_connection((node.host, node.port), timeout=nodes.LIMIT)

    def send(self, message, counter=None, command=None):
        """Sends a frame as it was captured, unless a task id in it or its counter has to be ours."""
        ours = payload(message)
        for theirs, task in self.tasks.items():
            ours = ours.replace(theirs, task)
        if ours == payload(message) and counter is None:
            return self.sock.sendall(base64.b64decode(message["raw_b64"]))
        body = self.fernet.encrypt(ours)
        counter = message["counter"] if counter is None else counter
        field = message["header_command"].encode()
        return self.sock.sendall(peer.HEADER.pack(counter, len(body), field) + body)

    def hello(self, name):
        """Joins as this worker; the captures of single requests begin later."""
        body = self.fernet.encrypt(f"{name} wazuh worker 4.14.7".encode())
        self.sock.sendall(peer.HEADER.pack(1, len(body), b"hello ------") + body)
        return self.receive()

    def receive(self):
        """Counter, the 12 bytes of the command, payload."""
        counter, size, field = peer.HEADER.unpack(self.exactly(peer.HEADER.size))
        return counter, field, self.fernet.decrypt(self.exactly(size))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise ConnectionError("the master closed the connection")
            data += piece
        return data


class TestVectors(unittest.TestCase):
    def replay(self, name):
        vector = load(name)
        answers = {message["answers"]: message for message in vector["messages"] if message["role"] == "response"}
        node = self.enterContext(nodes.Node("master", "specmaster", nodes.address(), files=FILES, key=vector["key"],
                                             groups_after=nodes.LIMIT))
        replay = Replay(node, vector["messages"], vector["key"])
        self.addCleanup(replay.sock.close)
        sent = {}
        for message in vector["messages"]:
            if message["role"] == "response":
                continue
            answer = answers[message["n"]]
            if message["dir"] == "w>m":
                self.ask(replay, message, answer)
            else:
                self.take(replay, message, answer, sent)
        return sent

    def ask(self, replay, message, captured):
        """The worker's request gets the captured answer."""
        while True:
            replay.send(message)
            counter, field, got = replay.receive()
            self.assertEqual(counter, message["counter"])
            # The master of the capture had calculated its checksums before.
            if message["command"] != "syn_i_w_m_p" or got != b"False":
                break
        self.assertEqual(field.decode(), captured["header_command"], message["command"])
        expected = payload(captured)
        if message["command"] == "hello":
            got = HELLO_SUFFIX.sub(b"", got)
        if UUID.match(expected.decode()):
            self.assertRegex(got.decode(), UUID)
            replay.tasks[expected] = got
            return
        self.assertEqual(got, expected, message["command"])

    def take(self, replay, message, answer, sent):
        """The master makes the captured request, and gets the captured answer."""
        counter, field, got = replay.receive()
        self.assertEqual(field.decode(), message["header_command"])
        expected, command = payload(message), message["command"]
        if command == "file_upd":
            sent["captured"] = peer.unpack_archive(expected.split(b" ", 1)[1])
            sent["ours"] = peer.unpack_archive(got.split(b" ", 1)[1])
        elif command == "file_end":
            self.assertEqual(len(got.split(b" ", 1)[1]), 32)
        else:
            self.assertEqual(PATH.sub(b"PATH", got), PATH.sub(b"PATH", expected), command)
        replay.send(answer, counter)

    def test_a_check_without_change(self):
        self.assertEqual(self.replay("session_integrity_nochange"), {})

    def test_a_check_with_changes(self):
        sent = self.replay("session_integrity_full")
        (theirs, their_lists), (ours, our_lists) = sent["captured"], sent["ours"]
        self.assertEqual(ours, theirs)
        self.assertEqual(without_times(our_lists), without_times(their_lists))


def without_times(lists):
    """`extra` is what the worker said, with its times; the other two have the times of the master's files."""
    return {name: {path: {k: v for k, v in entry.items() if k != "mod_time" or name == "extra"}
                   for path, entry in files.items()} for name, files in lists.items()}


def master_files():
    """The files of the master of the capture: the worker lacked all of them, or had another content."""
    for message in load("session_integrity_full")["messages"]:
        if message["dir"] == "m>w" and message["command"] == "file_upd":
            return peer.unpack_archive(payload(message).split(b" ", 1)[1])[0]
    raise AssertionError("no archive in the capture")


FILES = master_files()
