"""Sessions with a peer that shares no code with the daemon, in both roles; and links on which there is none."""
import json
import re
import socket
import unittest

import native
import nodes
import peer
from test_master import FILES as MASTER_FILES
from test_worker import ALL, CLASSIC, FILES

VECTORS = nodes.pathlib.Path(__file__).parent.parent / "fixtures/vectors/native_session.json"
CHECKSUM = "checksum=md5+blake2b"


class TestVectors(unittest.TestCase):
    def test_the_vectors_are_what_this_implementation_makes(self):
        self.assertEqual(json.loads(VECTORS.read_text()), native.vectors())


class TestMaster(unittest.TestCase):
    """Our master and a worker in Python."""

    def setUp(self):
        self.master = self.enterContext(nodes.master(MASTER_FILES))

    def join(self, name, features=("session",)):
        joined = peer.Worker(self.master.port, nodes.KEY, name, host=self.master.host, features=list(features))
        self.addCleanup(joined.conn.close)
        return joined

    def test_a_check_and_long_messages(self):
        worker = self.join("w1")
        self.assertEqual(worker.taken, {"features": ["session"], "master": "m"})
        self.assertEqual(worker.hello_reply, b"Client w1 added")
        self.assertEqual(worker.keep_alive(), b"keepalive")
        files, _ = worker.integrity_check({})
        self.assertEqual(files, {path: content for path, content in MASTER_FILES.items()})
        for length in (0, 1, 15, 16, 17, native.PIECE, native.PIECE + 1, 5 << 20):
            self.assertEqual(worker.conn.request(b"echo", b"x" * length), b"x" * length)
        frames = worker.conn.frames[2:]
        self.assertTrue(all(frame[8:20] == native.FIELD and len(frame) <= native.FRAME for frame in frames))

    def test_a_recording_is_no_worker(self):
        worker = self.join("w1")
        sent, frames = worker.conn.sock.getpeername(), []
        worker.conn.close()
        # A new connection with the old first words.
        sock = socket.create_connection(sent, timeout=nodes.LIMIT)
        self.addCleanup(sock.close)
        token = peer.Fernet(peer.base64.b64encode(nodes.KEY.encode())).encrypt(b"w1 wazuh worker 4.14.7")
        frames.append(peer.HEADER.pack(1, len(token), b"hello ------") + token)
        sock.sendall(b"".join(frames) + worker.conn.session.seal(2, b"hello ------", b"w1 wazuh worker 4.14.7"))
        answers = b""
        while piece := sock.recv(65536):
            answers += piece
        self.assertNotIn(native.FIELD, answers)
        self.assertIn("did not prove by a session", self.master.wait_for("did not prove"))

    def test_a_changed_transcript_has_other_keys(self):
        worker = self.join("w1", ["digest"])
        self.assertEqual(worker.taken, {"features": ["digest"]}, "no session, no name")
        other = peer.Worker(self.master.port, nodes.KEY, "w2", host=self.master.host)
        self.addCleanup(other.conn.close)
        other.hello_reply += b" "
        with self.assertRaises((peer.WireError, TimeoutError)):
            other.agree(nodes.KEY, "wazuh", b"w2 wazuh worker 4.14.7", ["session"])
        self.assertTrue(other.conn.closed.wait(nodes.LIMIT))

    def test_a_name_with_a_session_needs_one(self):
        self.join("w1").conn.close()
        nodes.until(lambda: "Disconnected w1" in self.master.log(), "it has left")
        classic = self.join("w1", [])
        with self.assertRaisesRegex(peer.WireError, "cluster_control --forget w1"):
            classic.conn.request(b"syn_i_w_m_p")
        self.assertTrue(classic.conn.closed.wait(nodes.LIMIT))
        self.assertEqual(self.join("w1").keep_alive(), b"keepalive")


class TestWorker(unittest.TestCase):
    """Our worker and a master in Python."""

    def start(self, master):
        self.addCleanup(master.server.close)
        worker = self.enterContext(nodes.worker("127.0.0.1", master.server.getsockname()[1]))
        self.addCleanup(lambda: master.conn.close())
        return worker

    def test_a_check_in_a_session(self):
        master = peer.NativeMaster(0, nodes.KEY, dict(FILES), item_key=nodes.item_key)
        worker = self.start(master)
        master.wait(b"in-sync")
        self.assertEqual(worker.files(), FILES)
        self.assertIsNotNone(master.conn.session)
        self.assertEqual(master.conn.request(b"echo", b"x" * (3 << 20)), b"x" * (3 << 20))
        self.assertTrue(all(frame[8:20] == native.FIELD for frame in master.conn.frames[2:]))
        # Whoever has the key and says nothing of a session is not accepted any more.
        master.features = ()
        master.conn.sock.shutdown(2)
        worker.wait_for("there is no session with the master")
        self.assertIn("cluster_control --forget python", worker.log())
        master.features = ("session",)
        master.wait(b"in-sync")

    def test_a_frame_that_is_sent_twice_ends_the_connection(self):
        master = peer.NativeMaster(0, nodes.KEY, dict(FILES), item_key=nodes.item_key)
        worker = self.start(master)
        master.wait(b"in-sync")
        first = master.conn
        with first.lock:
            first.sock.sendall(2 * first.session.seal(9, b"echo-m -----", b"x"))
        worker.wait_for("a frame of the session cannot be opened")
        nodes.until(lambda: master.conn is not first, "another connection")


class TestClassicLink(unittest.TestCase):
    """On a link with a stock node nothing shows that this daemon can do more."""

    def frames(self, settings):
        """What the worker says to a stock master until it is in sync: command and, but for what is random, payload."""
        master = peer.Master(0, nodes.KEY, {"etc/rules/a.xml": b"a"}, item_key=nodes.item_key)
        self.addCleanup(master.server.close)
        with nodes.worker("127.0.0.1", master.server.getsockname()[1], settings=settings):
            master.wait(b"in-sync")
            frames = list(master.conn.frames)
            master.conn.close()
        said = []
        for frame in frames:
            _, size, field = peer.HEADER.unpack(frame[:20])
            self.assertEqual(size, len(frame) - 20)
            payload = master.conn.fernet.decrypt(frame[20:])
            name = field[:-1].split(b" ")[0]
            self.assertIn(name, CLASSIC | ALL | ANSWERS)
            if name in (b"hello", b"syn_i_w_m_p", b"syn_i_w_m", b"new_file", b"syn_i_w_m_e"):
                said.append((field, re.sub(rb"[0-9a-f-]{32,36}|\d+\.\d+", b"N", payload) if name != b"hello" else payload))
        return said[:said.index(next(f for f in said if f[0].startswith(b"syn_i_w_m_e "))) + 1]

    def test_a_stock_master_sees_what_it_sees_of_a_node_that_can_do_nothing_else(self):
        link = {"reconnect_min": 0.05}
        able = self.frames({"link": link})
        unable = self.frames({"link": {**link, "native": "never"}})
        self.assertEqual(able, unable)
        self.assertEqual(able[0], (b"hello ------", b"w1 wazuh worker 4.14.7"))

    def test_a_stock_worker_is_answered_in_its_own_words(self):
        with nodes.master(MASTER_FILES) as master:
            worker = peer.Worker(master.port, nodes.KEY, "w1", host=master.host)
            self.addCleanup(worker.conn.close)
            self.assertEqual(worker.integrity_check({})[0], MASTER_FILES)
            self.assertEqual(worker.keep_alive(), b"keepalive")
            for frame in worker.conn.frames:
                self.assertNotEqual(frame[8:20], native.FIELD)
                worker.conn.fernet.decrypt(frame[20:])


ANSWERS = {b"ok", b"err", b"ok-c", b"new_file", b"file_upd", b"file_end", b"new_str", b"str_upd"}
