"""Our master against a worker that shares no code with it."""
import os
import unittest

import nodes
import peer

FILES = {
    "etc/client.keys": b"001 agent any key\n",
    "etc/rules/local_rules.xml": b"<group/>\n",
    "etc/decoders/below/deep/d.xml": b"<decoder/>\n",
    "etc/lists/empty": b"",
    "etc/shared/default/agent.conf": b"<agent_config/>\n" * 1000,
    "etc/shared/default/\u00fc n\u00efcode.conf": b"a name that is not ASCII",
    "etc/shared/default/separators": b"|@@//@@|" + b"|//@@//|" + os.urandom(64) + b"|@@//@@|" * 50,
}


class TestMaster(unittest.TestCase):
    def setUp(self):
        self.master = self.enterContext(nodes.master(FILES))
        self.worker = self.join("w1")

    def join(self, name):
        joined = peer.Worker(self.master.port, nodes.KEY, name, host=self.master.host)
        self.addCleanup(joined.conn.close)
        return joined

    def manifest(self, files):
        """The manifest of a worker that has these files."""
        return {path: {"mod_time": 1.5, "cluster_item_key": nodes.item_key(path), "merged": False,
                       "hash": peer.hashlib.blake2b(content).hexdigest()} for path, content in files.items()}

    def test_hello_and_keep_alive(self):
        self.assertRegex(self.worker.hello_reply, rb"^Client w1 added( native/1 [\w-]{22})?$")
        self.assertEqual(self.worker.keep_alive(), b"keepalive")

    def test_first_synchronisation_and_no_change(self):
        files, lists = self.worker.integrity_check({})
        self.assertEqual(files, FILES)
        self.assertEqual((set(lists["missing"]), lists["shared"], lists["extra"]), (set(FILES), {}, {}))
        # What a worker makes of it is the same to the bit, and the next check says so.
        self.assertIsNone(self.worker.integrity_check(self.manifest(files)))

    def test_the_metadata_is_that_of_the_original(self):
        _, lists = self.worker.integrity_check({})
        for path, entry in lists["missing"].items():
            self.assertEqual(set(entry), {"mod_time", "cluster_item_key", "merged", "hash"})
            self.assertRegex(entry["hash"], r"^[0-9a-f]{128}$")
            self.assertEqual(entry["hash"], peer.hashlib.blake2b(FILES[path]).hexdigest())
            self.assertEqual(entry["cluster_item_key"], nodes.item_key(path))
            self.assertIs(entry["merged"], False)
            self.assertIsInstance(entry["mod_time"], float)

    def test_one_changed(self):
        have = dict(FILES, **{"etc/rules/local_rules.xml": b"<group>old</group>\n"})
        files, lists = self.worker.integrity_check(self.manifest(have))
        self.assertEqual(files, {"etc/rules/local_rules.xml": FILES["etc/rules/local_rules.xml"]})
        self.assertEqual((lists["missing"], set(lists["shared"]), lists["extra"]),
                         ({}, {"etc/rules/local_rules.xml"}, {}))

    def test_one_deleted(self):
        surplus = "etc/shared/old/agent.conf"
        mine = self.manifest(dict(FILES, **{surplus: b"gone on the master"}))
        files, lists = self.worker.integrity_check(mine)
        self.assertEqual((files, lists["missing"], lists["shared"]), ({}, {}, {}))
        self.assertEqual(lists["extra"], {surplus: mine[surplus]})

    def test_a_change_on_the_master_is_seen_by_the_next_check(self):
        self.assertIsNone(self.worker.integrity_check(self.manifest(FILES)))
        self.master.write("etc/rules/local_rules.xml", b"<group>new</group>\n")
        self.master.remove("etc/lists/empty")
        # Each change makes a run at once. A file counts as deleted when it has been missing for a period, so it takes some of
        # those that come once in a period.
        last = self.master.log().count("Calculated metadata")
        nodes.until(lambda: self.master.log().count("Calculated metadata") >= last + 8)
        files, lists = self.worker.integrity_check(self.manifest(FILES))
        self.assertEqual(files, {"etc/rules/local_rules.xml": b"<group>new</group>\n"})
        self.assertEqual((set(lists["shared"]), set(lists["extra"])),
                         ({"etc/rules/local_rules.xml"}, {"etc/lists/empty"}))

    def test_files_that_need_many_messages(self):
        noise, zeros = os.urandom(6 << 20), bytes(20 << 20)
        self.master.write("etc/lists/noise", noise)
        self.master.write("etc/lists/zeros", zeros)
        self.master.wait_for(f"Calculated metadata of {len(FILES) + 2} files")
        files, _ = self.worker.integrity_check(self.manifest(FILES))
        self.assertTrue(files == {"etc/lists/noise": noise, "etc/lists/zeros": zeros})

    def test_messages_in_several_frames(self):
        long = os.urandom(6 << 20)
        self.assertTrue(self.worker.conn.request(b"echo", long) == long)

    def test_many_workers_at_a_time(self):
        others = [self.join(f"other{number}") for number in range(12)]
        for worker in others:
            self.assertEqual(worker.integrity_check({})[0], FILES)

    def test_refusals_are_error_objects(self):
        for words, code in (("w1", 3028), ("m", 3029), ("w 1", 1000), ("w.1", 3060)):
            with self.assertRaises(peer.WireError) as refused:
                self.join(words) if code != 3028 else self.join_twice()
            self.assertEqual(self.code(refused.exception), code, words)
        for cluster, version, code in (("other", "4.14.7", 3030), ("wazuh", "4.13.0", 3031)):
            with self.assertRaises(peer.WireError) as refused:
                peer.Worker(self.master.port, nodes.KEY, "w9", cluster, version, self.master.host)
            self.assertEqual(self.code(refused.exception), code)

    def join_twice(self):
        # The first one answers `echo-m`, so it lives.
        self.worker.conn.handler = lambda command, data: (b"ok-c", data)
        return self.join("w1")

    @staticmethod
    def code(error):
        return peer.json.loads(str(error))["__wazuh_exception__"]["__object__"]["code"]
