"""Nodes of ours that accept several keys, against peers that have one."""
import json
import signal
import threading
import unittest

import nodes
import peer

NEW, OLD, WRONG = "n" * 32, "o" * 32, "w" * 32
FILES = {"etc/rules/local_rules.xml": b"<group/>\n"}


def keys(*accepted):
    return {"link": {"reconnect_min": 0.05, "accept_keys": accepted}}


class DroppingMaster(peer.Master):
    """Drops a connection when it cannot decrypt, as the original does; knows the keys that it was called with."""

    def _accept(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            self.conn = peer.Connection(sock, self.key, self._handle)
            threading.Thread(target=self._drop, args=(self.conn,), daemon=True).start()

    def _drop(self, conn):
        conn.closed.wait()
        self.events.put((b"dropped", b""))
        conn.sock.close()


class TestKeys(unittest.TestCase):
    def join(self, master, key, name):
        joined = peer.Worker(master.port, key, name, host=master.host)
        self.addCleanup(joined.conn.close)
        return joined

    def test_a_master_answers_under_the_key_that_a_worker_uses(self):
        with nodes.master(FILES, key=NEW, settings=keys(WRONG, OLD)) as master:
            workers = [self.join(master, key, name) for key, name in ((NEW, "new"), (OLD, "old"))]
            for worker in workers:
                self.assertEqual(worker.keep_alive(), b"keepalive")
                self.assertEqual(worker.integrity_check({})[0], FILES)
            # When the old key goes, so does the worker that uses it, and nobody else.
            new, old = workers
            (master.home / "etc/cluster.json").write_text(json.dumps(keys()))
            master.process.send_signal(signal.SIGHUP)
            self.assertTrue(old.conn.closed.wait(nodes.LIMIT))
            self.assertEqual(new.keep_alive(), b"keepalive")
            with self.assertRaises(peer.WireError):
                self.join(master, OLD, "late")

    def test_whoever_has_no_key_hears_nothing(self):
        with nodes.master(key=NEW, settings=keys(OLD)) as master:
            sock = peer.socket.create_connection((master.host, master.port), timeout=nodes.LIMIT)
            self.addCleanup(sock.close)
            token = peer.Fernet(peer.base64.b64encode(WRONG.encode())).encrypt(b"w1 wazuh worker 4.14.7")
            sock.sendall(peer.HEADER.pack(1, len(token), peer.command_field(b"hello", False)) + token)
            self.assertEqual(sock.recv(1), b"")

    def test_a_worker_that_was_changed_first_finds_its_master(self):
        master = DroppingMaster(0, OLD, dict(FILES), item_key=nodes.item_key)
        self.addCleanup(master.server.close)
        port = master.server.getsockname()[1]
        with nodes.worker("127.0.0.1", port, key=NEW, settings=keys(WRONG, OLD)) as worker:
            for _ in range(2):
                master.wait(b"dropped")
            master.wait(b"in-sync")
            self.assertEqual(worker.files(), FILES)
            self.assertNotIn("ERROR", worker.log())
            # The master is changed, too: the worker comes with its own key at once.
            master.key = NEW
            master.conn.sock.shutdown(2)
            master.wait(b"dropped")
            self.assertEqual(master.wait(b"dropped", b"in-sync")[0], b"in-sync", "no second try was needed")
