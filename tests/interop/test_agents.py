"""Agents and groups between our nodes and a peer that shares no code with them, with what original nodes sent."""
import json
import unittest

import nodes
import peer
from test_vectors import load, payload


def strings(name):
    """The strings of a captured session with the message that names each, and the answers that came later."""
    messages = load(name)["messages"]
    contents = [json.loads(payload(message).split(b" ", 1)[1]) for message in messages
                if message["command"] == "str_upd"]
    reports = [json.loads(payload(message)) for message in messages
               if message["command"] in ("syn_m_a_e", "syn_w_g_e", "syn_wgc_e")]
    return contents, reports


def timeless(report):
    return {key: value for key, value in report.items() if key != "time_spent"}


def make_agents(node, *ids):
    answers = node.database(*(f'global insert-agent {{"id":{n},"name":"agent-{"?abcdef"[n]}","date_add":1}}' for n in ids))
    assert set(answers) == {"ok"}, answers


class TestMaster(unittest.TestCase):
    def join(self, version="4.14.7"):
        self.master = self.enterContext(nodes.Node("master", "m", nodes.address(), version=version))
        make_agents(self.master, 1, 2, 3)
        self.worker = peer.Worker(self.master.port, nodes.KEY, "w1", host=self.master.host, version=version)
        self.addCleanup(self.worker.conn.close)

    def agent(self, number):
        return self.master.rows(f"get-agent-info {number}")[0]

    def test_agent_info_of_4_14(self):
        self.join()
        (message,), (report,) = strings("session_agent_info_4.14")
        command, answer = self.worker.send_agent_info(message["chunks"])
        self.assertEqual((command, timeless(answer)), (b"syn_m_a_e", timeless(report)))
        sent, stored = message["chunks"]["syncreq"][0], self.agent(1)
        labels = sent.pop("labels")
        self.assertEqual({name: stored[name] for name in sent}, sent)
        self.assertEqual(self.master.rows("get-labels 1"), [{"id": 1, **label} for label in labels])
        self.assertEqual(self.agent(2)["connection_status"], "active")
        status = message["chunks"]["syncreq_status"][0]
        self.assertEqual({name: self.agent(3)[name] for name in status}, status)

    def test_agent_info_of_4_12(self):
        self.join("4.12.0")
        (message,), (report,) = strings("session_agent_info_4.12")
        command, answer = self.worker.send_agent_info(message["chunks"])
        self.assertEqual((command, timeless(answer)), (b"syn_m_a_e", timeless(report)))
        for sent in json.loads(message["chunks"][0]):
            labels = sent.pop("labels", [])
            stored = self.agent(sent["id"])
            self.assertEqual({name: stored[name] for name in sent}, sent)
            self.assertEqual(self.master.rows(f"get-labels {sent['id']}"), labels)

    def test_what_cannot_be_stored_is_told_and_the_next_is(self):
        self.join()
        for bad in ("text", [1], {"syncreq": {}}, {"syncreq": [{}]}, {"syncreq": [{"id": 1}]}, ["[{]"]):
            command, answer = self.worker.send_agent_info(bad)
            told = command == b"syn_m_a_err" or answer["error_messages"]
            self.assertTrue(told, f"{bad}: {answer}")
        self.worker.conn.request(b"syn_a_w_m", b"12345")
        self.assertIn(b"12345", self.worker.wait(b"syn_m_a_err")[1])
        keepalive = {"syncreq_keepalive": [{"id": 2, "version": "v"}, {"id": 999999, "version": "v"}]}
        self.assertEqual(self.worker.send_agent_info(keepalive)[1]["updated_chunks"], 1)
        self.assertEqual((self.agent(2)["version"], len(self.master.rows("get-all-agents last_id 0"))), ("v", 3))
        self.assertEqual(self.worker.keep_alive(), b"keepalive")

    def groups(self, command):
        """The next message of the master, taken like an original worker takes it."""
        _, task = self.worker.wait(command)
        return json.loads(self.worker.conn.strings.pop(task))

    def taken(self, message):
        report = {"updated_chunks": len(message["chunks"]), "error_messages": [], "time_spent": 0.1}
        self.assertEqual(self.worker.conn.request(b"syn_w_g_e", json.dumps(report).encode()), b"Thanks")

    def test_agent_groups(self):
        self.join()
        self.master.database("global insert-agent-group default", "global insert-agent-group group1")
        (periodic, whole), _ = strings("session_agent_groups")
        self.worker.keep_alive()
        self.taken(self.groups(b"syn_g_m_w"))
        rows = json.loads(periodic["chunks"][0])[0]["data"]
        data = json.dumps([{"id": row["id"], "groups": row["groups"]} for row in rows])
        asked = self.master.database(
            f'global set-agent-groups {{"mode":"override","sync_status":"syncreq","data":{data}}}')
        self.assertEqual(asked, ["ok"])
        while True:
            message = self.groups(b"syn_g_m_w")
            self.taken(message)
            chunk = json.loads(message["chunks"][0])[0]
            if chunk["data"]:
                break
            # Nothing but the hash, as the original sends it in every turn.
            self.assertEqual(set(chunk), {"data", "hash"})
        self.assertEqual({**message, "chunks": 0}, {**periodic, "chunks": 0})
        self.assertEqual((chunk["data"], len(chunk["hash"])), (rows, 40))

        self.worker.conn.request(b"syn_w_g_c")
        message = self.groups(b"syn_g_m_w_c")
        self.assertEqual({**message, "chunks": 0}, {**whole, "chunks": 0})
        chunk, = json.loads(message["chunks"][0])
        expected, = json.loads(whole["chunks"][0])
        self.assertEqual(set(chunk), set(expected))
        self.assertEqual([row for row in chunk["data"] if row["groups"]], rows)
        self.assertEqual(self.worker.conn.request(b"syn_wgc_e", b'{"updated_chunks": 1}'), b"Thanks")

    def test_a_worker_that_stores_nothing_gets_it_again(self):
        self.join()
        self.worker.keep_alive()
        first = self.groups(b"syn_g_m_w")
        self.assertEqual(self.worker.conn.request(b"syn_w_g_err", b"no room"), b"Thanks")
        self.assertEqual(self.groups(b"syn_g_m_w")["chunks"][:-1], first["chunks"][:-1])
        self.master.wait_for("no room")


class TestWorker(unittest.TestCase):
    def join(self, version="4.14.7"):
        self.master = peer.Master(0, nodes.KEY, {}, item_key=nodes.item_key)
        self.addCleanup(self.master.server.close)
        port = self.master.server.getsockname()[1]
        self.worker = self.enterContext(nodes.Node("worker", "w1", "127.0.0.1", port, version=version))
        self.addCleanup(lambda: self.master.conn.close())
        self.master.wait(b"syn_a_w_m_p")

    def send(self, command, content):
        conn = self.master.conn
        task = conn.send_string(json.dumps(content).encode())
        self.assertEqual(conn.request(command, task), task)

    def agent_info(self, name, version):
        """What our worker sends when its database knows what the captured one knew."""
        self.join(version)
        (captured,), _ = strings(name)
        chunks = captured["chunks"]
        lists = chunks if isinstance(chunks, dict) else {"syncreq": json.loads(chunks[0])}
        for status, records in lists.items():
            for record in records:
                record = dict(record)
                number, labels = record.pop("id"), record.pop("labels", [])
                make_agents(self.worker, number)
                for label in labels:
                    sql = "INSERT INTO labels VALUES ({}, '{key}', '{value}')".format(number, **{
                        name: label[name] for name in ("key", "value")})
                    self.worker.database("global sql " + sql)
                values = ", ".join(f"{column} = {json.dumps(value)}".replace('"', "'")
                                   for column, value in {**record, "sync_status": status}.items())
                self.worker.database(f"global sql UPDATE agent SET {values} WHERE id = {number}")
        seen = {}
        while seen.keys() != lists.keys() or sum(map(len, seen.values())) < sum(map(len, lists.values())):
            _, task = self.master.wait(b"syn_a_w_m")
            message = json.loads(self.master.conn.strings[task])
            self.assertEqual({**message, "chunks": 0}, {**captured, "chunks": 0})
            self.assertIs(type(message["chunks"]), type(chunks))
            report = {"updated_chunks": len(message["chunks"]), "error_messages": [], "time_spent": 0.1}
            self.assertEqual(self.master.conn.request(b"syn_m_a_e", json.dumps(report).encode()), b"Thanks")
            for status, records in (message["chunks"].items() if isinstance(chunks, dict) else
                                    [("syncreq", json.loads(message["chunks"][0]))]):
                seen.setdefault(status, []).extend(records)
        # They were made one after the other, so one may have come before it was complete.
        for status, records in lists.items():
            for record in records:
                self.assertIn(record, seen[status])
        self.worker.wait_for("[Agent-info sync] Finished in")

    def test_agent_info_of_4_14(self):
        self.agent_info("session_agent_info_4.14", "4.14.7")

    def test_agent_info_of_4_12(self):
        self.agent_info("session_agent_info_4.12", "4.12.0")

    def test_agent_groups(self):
        self.join()
        self.worker.database("global insert-agent-group default", "global insert-agent-group group1")
        (periodic, whole), reports = strings("session_agent_groups")
        # The hash of the capture is not that of its rows, so every comparison fails.
        for turn in range(5):
            self.send(b"syn_g_m_w", periodic)
            answer = json.loads(self.master.wait(b"syn_w_g_e")[1])
            self.assertEqual(timeless(answer), timeless(reports[0]))
        self.master.wait(b"syn_w_g_c")
        rows = json.loads(periodic["chunks"][0])[0]["data"]
        for row in rows:
            self.assertEqual(self.worker.rows(f"select-group-belong {row['id']}"), row["groups"])
            self.assertEqual(self.worker.rows(f"select-agent-name {row['id']}"), [{"name": row["name"]}])
        self.send(b"syn_g_m_w_c", whole)
        answer = json.loads(self.master.wait(b"syn_wgc_e")[1])
        self.assertEqual(timeless(answer), timeless(reports[1]))

    def test_groups_that_cannot_be_read_are_refused(self):
        self.join()
        for bad in (b"{", b'{"chunks": 1}', b'{"chunks": [1]}'):
            task = self.master.conn.send_string(bad)
            self.master.conn.request(b"syn_g_m_w", task)
            self.assertIn(b"error while trying to load JSON", self.master.wait(b"syn_w_g_err")[1])
        self.send(b"syn_g_m_w", {"chunks": ["nonsense"]})
        report = json.loads(self.master.wait(b"syn_w_g_e")[1])
        self.assertEqual((report["updated_chunks"], len(report["error_messages"])), (0, 1))


if __name__ == "__main__":
    unittest.main()
