"""Our worker against a master that shares no code with it."""
import os
import re
import unittest

import nodes
import peer

FILES = {
    "etc/client.keys": b"001 agent any key\n",
    "etc/rules/local_rules.xml": b"<group/>\n",
    "etc/decoders/below/deep/d.xml": b"<decoder/>\n",
    "etc/lists/empty": b"",
    "etc/shared/default/\u00fc n\u00efcode.conf": os.urandom(1 << 20),
}


class TestWorker(unittest.TestCase):
    def setUp(self):
        self.master = peer.Master(0, nodes.KEY, dict(FILES), item_key=nodes.item_key)
        self.addCleanup(self.master.server.close)
        port = self.master.server.getsockname()[1]
        surplus = {"etc/rules/surplus.xml": b"x", "etc/shared/old/agent.conf": b"x",
                   "etc/rules/local_rules.xml": b"old"}
        self.worker = self.enterContext(nodes.worker("127.0.0.1", port, surplus))
        self.addCleanup(lambda: self.master.conn.close())

    def verdicts(self):
        """What the master sent, until it said that the worker is in sync."""
        sent = []
        while True:
            event, data = self.master.wait(b"sent", b"in-sync")
            if event == b"in-sync":
                return sent
            sent.append(peer.json.loads(data))

    def test_first_synchronisation(self):
        self.assertEqual(self.verdicts(), [{"missing": 4, "shared": 1, "extra": 2}], "one cycle is enough")
        self.assertTrue(self.worker.files() == FILES)
        self.assertFalse((self.worker.home / "etc/shared/old").exists(), "an emptied directory goes too")

    def test_no_change_one_changed_one_deleted(self):
        self.verdicts()
        self.assertEqual(self.verdicts(), [], "nothing changed")
        for path, content, expected in (
                ("etc/rules/local_rules.xml", b"<group>new</group>\n", {"missing": 0, "shared": 1, "extra": 0}),
                ("etc/lists/empty", None, {"missing": 0, "shared": 0, "extra": 1}),
                ("etc/lists/new", b"new", {"missing": 1, "shared": 0, "extra": 0})):
            if content is None:
                del self.master.files[path]
            else:
                self.master.files[path] = content
            sent = nodes.until(self.verdicts, path)
            self.assertEqual(sent, [expected], "one cycle is enough")
            self.assertTrue(self.worker.files() == self.master.files)
        self.assertNotIn("ERROR", self.worker.log())

    def test_own_changes_of_the_worker_are_overwritten(self):
        self.verdicts()
        self.worker.write("etc/rules/local_rules.xml", b"an own idea")
        self.worker.write("etc/rules/own.xml", b"an own idea")
        self.worker.remove("etc/client.keys")
        nodes.until(self.verdicts)
        self.assertEqual(self.verdicts(), [])
        self.assertTrue(self.worker.files() == FILES)

    def test_it_says_nothing_that_an_original_master_does_not_know(self):
        commands = set()
        for _ in range(3):
            while (event := self.master.wait(*ALL))[0] != b"in-sync":
                commands.add(event[0])
        self.assertLessEqual(commands, CLASSIC)
        self.assertEqual(self.master.hello, [b"w1", b"wazuh", b"worker", b"4.14.7"])
        self.assertTrue(self.master.theirs)
        for path, entry in self.master.theirs.items():
            self.assertEqual(set(entry), {"mod_time", "cluster_item_key", "merged", "hash"})
            self.assertEqual(entry["hash"], peer.hashlib.blake2b(FILES[path]).hexdigest())
            self.assertEqual(entry["cluster_item_key"], nodes.item_key(path))
        names = {name.decode() for name in self.master.conn.files}
        for name in names:
            self.assertRegex(name, r"^/queue/cluster/w1/w1-\d+\.\d+-[0-9a-f]{32}\.zip$")

    def test_it_comes_back_when_the_connection_breaks(self):
        self.verdicts()
        for _ in range(3):
            first = self.master.conn
            first.sock.shutdown(2)
            nodes.until(lambda: self.master.conn is not first, "another connection")
            self.assertEqual(self.verdicts(), [])

    def test_it_answers_what_it_is_asked(self):
        self.verdicts()
        conn = self.master.conn
        self.assertEqual(conn.request(b"echo", b"x"), b"x")
        self.assertEqual(conn.request(b"echo-m", b"x"), b"x")
        task = conn.send_string(b"some text")
        self.assertTrue(task.isdigit())
        with self.assertRaisesRegex(peer.WireError, "^unknown command 'b'syn_x''$"):
            conn.request(b"syn_x", b"")


class Original(peer.Master):
    """A master that compares by its last scan and archives what is there when it packs."""

    def __init__(self, files):
        super().__init__(0, nodes.KEY, files, item_key=nodes.item_key)
        self.around = (lambda: None, lambda: None)
        self.sent = []

    def metadata(self):
        before, after = self.around
        before()
        scanned = super().metadata()
        after()
        self.sent.append(dict(self.files))
        return scanned


class TestOriginalMaster(unittest.TestCase):
    """Case 4.1: files that change between the scan of an original master and its archive."""

    def setUp(self):
        self.master = Original({"etc/client.keys": b"001 a any k\n"})
        self.addCleanup(self.master.server.close)
        self.worker = self.enterContext(nodes.worker("127.0.0.1", self.master.server.getsockname()[1]))
        self.addCleanup(lambda: self.master.conn.close())
        self.master.wait(b"in-sync")

    def complaints(self):
        return [line for line in self.worker.log().splitlines() if re.search(r" (ERROR: |WARNING: \[Worker )", line)]

    def test_keys_arrive_with_each_check_while_agents_register_without_end(self):
        def register():
            count = self.master.files["etc/client.keys"].count(b"\n")
            self.master.files["etc/client.keys"] += f"{count + 1:03d} a{count} any k\n".encode()

        self.master.around = (register, register)
        for _ in range(10):
            self.master.wait(b"sent")
            expected = self.master.sent[-1]
            nodes.until(lambda: self.worker.files() == expected, "the keys that were there when the master packed")
        self.master.around = (lambda: None, lambda: None)
        self.master.wait(b"in-sync")
        self.assertEqual(self.worker.files(), self.master.files)
        self.assertEqual(self.complaints(), [])

    def test_what_is_caught_in_the_middle_of_being_written_waits_for_the_next_check(self):
        whole = {"etc/client.keys": b"001 a any k\n002 b any k\n", "etc/rules/r.xml": b"<group>\n<rule/>\n</group>\n",
                 "etc/lists/l": b"key:value\n"}
        old = dict(self.master.files)

        def tear():
            self.master.files.update({path: content[:content.rindex(b"\n", 0, -1) + 3] if content.count(b"\n") > 1
                                      else b"" for path, content in whole.items()})

        def mend():
            self.master.files.update(whole)

        self.master.around = (mend, tear)
        self.master.wait(b"sent")
        for path in whole:
            self.worker.wait_for(f"'{path}' was being changed on the master when it was sent")
        self.assertEqual(self.worker.files(), old, "each file is old or new, whole")
        self.master.around = (mend, mend)
        nodes.until(lambda: self.worker.files() == whole, "what is whole")
        self.assertEqual(self.complaints(), [])


CLASSIC = {b"hello", b"echo-c", b"syn_i_w_m_p", b"syn_i_w_m", b"syn_i_w_m_e", b"sent", b"syn_a_w_m_p", b"syn_w_g_c"}
ALL = CLASSIC | {b"in-sync", b"native", b"syn_i_w_m_r", b"cancel_task", b"get_nodes", b"get_health"}
