"""The control socket of both node types against an independent client."""
import json
import unittest

import nodes
import peer

RULE = b"<group/>\n"


class TestLocal(unittest.TestCase):
    def setUp(self):
        files = {"etc/rules/a.xml": RULE, "etc/lists/l": b"1:2", "etc/client.keys": b"k", "etc/shared/s": b"s"}
        self.master = self.enterContext(nodes.master(files))
        self.worker = self.enterContext(nodes.worker(self.master.host))
        self.worker.wait_for("Sync not required.")

    def clients(self):
        for node in (self.master, self.worker):
            client = peer.LocalClient(str(node.home))
            self.addCleanup(client.conn.close)
            yield node, client

    def test_get_config(self):
        for node, client in self.clients():
            shown = json.loads(client.ask(b"get_config"))
            self.assertEqual(shown["key"], "*****")
            self.assertNotIn(nodes.KEY, json.dumps(shown))
            self.assertEqual((shown["name"], shown["node_name"]), ("wazuh", node.name))
            self.assertEqual(shown["node_type"], "master" if node is self.master else "worker")
            self.assertEqual((shown["port"], shown["bind_addr"], shown["nodes"]), (node.port, node.host, [node.host]))
            self.assertEqual((shown["hidden"], shown["disabled"]), ("no", False))

    def test_get_nodes(self):
        arguments = {"filter_node": None, "offset": 0, "limit": 500, "sort": None, "search": None, "select": None,
                     "filter_type": "all", "distinct": False}
        for _, client in self.clients():
            shown = json.loads(client.ask(b"get_nodes", json.dumps(arguments).encode()))
            self.assertEqual(shown, {"totalItems": 2, "items": [
                {"name": "m", "type": "master", "version": "4.14.7", "ip": self.master.host},
                {"name": "w1", "type": "worker", "version": "4.14.7", "ip": "127.0.0.1"}]})
            some = json.loads(client.ask(b"get_nodes", b'{"filter_type": "worker", "select": ["name"]}'))
            self.assertEqual(some, {"totalItems": 1, "items": [{"name": "w1"}]})

    def test_errors_of_get_nodes_reach_the_client(self):
        for arguments, code in ((b'{"filter_node": "nosuch"}', 1730), (b'{"limit": 0}', 1406), (b'{"x": 1}', 1000)):
            with self.assertRaises(peer.WireError) as refused:
                peer.LocalClient(str(self.master.home)).ask(b"get_nodes", arguments)
            error = json.loads(str(refused.exception))
            self.assertEqual(error["__wazuh_exception__"]["__object__"]["code"], code)
            error = json.loads(peer.LocalClient(str(self.worker.home)).ask(b"get_nodes", arguments))
            self.assertEqual(error["__wazuh_exception__"]["__object__"]["code"], code, "the original stays silent")

    def test_get_health(self):
        for _, client in self.clients():
            shown = json.loads(client.ask(b"get_health", b"null"))
            self.assertEqual((shown["n_connected_nodes"], set(shown["nodes"])), (1, {"m", "w1"}))
            self.assertEqual(shown["nodes"]["m"].keys(), {"info"})
            status = shown["nodes"]["w1"]["status"]
            self.assertEqual(set(status), {
                "sync_integrity_free", "last_check_integrity", "last_sync_integrity", "sync_agent_info_free",
                "last_sync_agentinfo", "last_sync_agentgroup", "last_sync_full_agentgroup", "last_keep_alive"})
            date = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"
            self.assertRegex(status["last_check_integrity"]["date_end_master"], date)
            self.assertRegex(status["last_keep_alive"], date)
            self.assertEqual(status["last_sync_integrity"]["total_files"], {"missing": 4, "extra": 0, "shared": 0})
            self.assertEqual(set(json.loads(client.ask(b"get_health", b'["w1"]'))["nodes"]), {"w1"})
            self.assertEqual(set(json.loads(client.ask(b"get_health", b"{}"))["nodes"]), {"w1"})

    def test_get_hash(self):
        digest = peer.hashlib.blake2b
        expected = {"etc/rules/a.xml": digest(RULE).hexdigest(), "etc/lists/l": digest(b"1:2").hexdigest()}
        for _, client in self.clients():
            self.assertEqual(json.loads(client.ask(b"get_hash")), expected)

    def test_common_commands(self):
        for _, client in self.clients():
            self.assertEqual(client.ask(b"echo", b"x" * 6_000_000), b"x" * 6_000_000)
            self.assertEqual(client.ask(b"echo-c", b"keepalive"), b"keepalive")
            with self.assertRaisesRegex(peer.WireError, "^unknown command 'b'no_such''$"):
                client.ask(b"no_such")
            with self.assertRaises(peer.WireError):
                client.ask(b"native", b"{}")

    def test_a_worker_without_its_master(self):
        with nodes.worker(nodes.address()) as alone:
            for command in (b"get_nodes", b"get_health"):
                with self.assertRaises(peer.WireError) as refused:
                    peer.LocalClient(str(alone.home)).ask(command, b"{}")
                self.assertIn('"code": 3023', str(refused.exception))
            self.assertEqual(json.loads(peer.LocalClient(str(alone.home)).ask(b"get_config"))["node_name"], "w1")
