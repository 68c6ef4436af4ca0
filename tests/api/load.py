"""How fast requests of the API are, how many at once, and what they leave in memory."""
import concurrent.futures
import os
import pathlib
import signal
import statistics
import time

import homes
import peer
from homes import Client, until

TOGETHER = 50


def dapi(name="get_agents", module="wazuh.agent", **arguments):
    """A request as the framework writes it."""
    f = {"__callable__": {"__name__": name, "__module__": module, "__qualname__": name, "__type__": "function"}}
    return peer.json.dumps({"f": f, "f_kwargs": arguments, "request_type": "local_master", "wait_for_complete": False,
                            "from_cluster": False, "is_async": False}).encode()


def ask(home, request, timeout=60.0):
    """The seconds that one request through the control socket of a node takes, and its answer."""
    begin = time.monotonic()
    client = peer.LocalClient(str(home.path))
    try:
        answer = client.ask(b"dapi", request, timeout)
    finally:
        client.conn.close()
    return time.monotonic() - begin, answer


def measured(home, count, at_a_time, request):
    """The seconds of each of `count` requests and of all, and what those are told that are refused."""
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        answers = list(pool.map(lambda _: ask(home, request), range(count)))
    refused = [answer for _, answer in answers if b"affected_items" not in answer]
    return [seconds for seconds, _ in answers], time.monotonic() - begin, refused


def told(refused):
    return f"{len(refused)} refused: {refused[0][:400].decode()}" if refused else "none refused"


def figures(seconds):
    ordered = sorted(seconds)
    return (f"median {statistics.median(ordered) * 1000:.1f} ms, "
            f"95 % {ordered[int(len(ordered) * 0.95)] * 1000:.1f} ms, most {ordered[-1] * 1000:.1f} ms")


def descendants(pid):
    """The processes below a process, each with its resident KiB."""
    parents = {}
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if "VmRSS" in fields:
            parents[int(fields["Pid"])] = (int(fields["PPid"]), int(fields["VmRSS"].split()[0]))
    below, found = {pid}, {}
    while True:
        more = {one: size for one, (parent, size) in parents.items() if parent in below and one not in found}
        if not more:
            return found
        found.update(more)
        below.update(more)


def speed(cluster):
    """Both kinds of daemon; gives lines for people, and whether they hold."""
    request, lines = dapi(limit=500), []
    measured(cluster.worker, 8, 4, request)
    seconds, total, refused = measured(cluster.worker, 96, 4, request)
    median = statistics.median(seconds)
    lines.append((f"96 requests of {homes.AGENTS} agents, 4 at a time, worker to master: {figures(seconds)}, "
                  f"{96 / total:.0f} a second, {told(refused)}", median <= 0.040 and not refused))
    seconds, total, refused = measured(cluster.worker, TOGETHER, TOGETHER, request)
    lines.append((f"{TOGETHER} at once on the worker: all answered within {total:.2f} s, {told(refused)}",
                  total <= 3 and not refused))
    user = Client(cluster.worker)
    user.login()
    seconds = []
    for _ in range(20):
        begin = time.monotonic()
        assert user.ask("GET", "/agents?limit=500")[0] == 200
        seconds.append(time.monotonic() - begin)
    lines.append((f"20 calls of GET /agents through the worker's API, one by one: {figures(seconds)}", True))
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        statuses = list(pool.map(lambda _: user.ask("GET", "/agents?limit=500")[0], range(TOGETHER)))
    lines.append((f"{TOGETHER} such calls at once: all answered within {time.monotonic() - begin:.2f} s",
                  set(statuses) == {200}))
    return lines


def refusals(cluster):
    """What is not executed, and what whoever asks for it is told."""
    not_json = "Expecting value: line 1 column 1 (char 0)"
    cases = (("a function of the interpreter", dapi("system", "os", command="true"), "from module 'os' is not allowed"),
             ("a part of the framework", dapi("load_wazuh_xml", "wazuh.core.utils"), "'wazuh.core.utils' is not allowed"),
             ("a function that is not exposed", dapi("get_full_overview"), "is not exposed with @dapi_allower"),
             ("a function that is none", dapi("nothing"), "Wazuh object cannot be decoded from JSON"),
             ("a file", dapi(tmp_file="tmp/x"), "3034"),
             ("no JSON", b"no JSON", not_json))
    lines = []
    for what, request, text in cases:
        for home in (cluster.master, cluster.worker):
            try:
                answer = ask(home, request)[1].decode()
            except peer.WireError as refused:
                answer = str(refused)
            holds = text in answer and "affected_items" not in answer
            lines.append((f"{what}, asked for at {home.name}: refused" + ("" if holds else f", but: {answer[:300]}"), holds))
    return lines


def memory(cluster):
    """1 000 requests after a warm-up: what the processes of the executor gain."""
    pid, request = cluster.daemons["m"].pid, dapi(limit=500)
    measured(cluster.worker, 300, 4, request)
    sizes, refused = [], []
    for _ in range(10):
        refused += measured(cluster.worker, 100, 4, request)[2]
        sizes.append(sum(descendants(pid).values()))
    own = int(next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                   if line.startswith("VmRSS")).split()[1])
    slope = statistics.linear_regression(range(len(sizes)), sizes).slope / 100
    return [(f"1 000 requests: {len(descendants(pid))} processes of the executor have {sizes[0]} KiB, then {sizes[-1]} "
             f"KiB resident: {slope:+.2f} KiB a request; the daemon has {own} KiB; {told(refused)}", abs(slope) < 1 and not refused)]


def kill(cluster):
    """A child of the executor that is killed: its asker is told so, and the next request is executed."""
    children = descendants(cluster.daemons["m"].pid)
    leaves = [pid for pid in children if not (set(descendants(pid)) & set(children))]
    slow = dapi("get_agents", limit=500, sort={"fields": ["name"], "order": "asc"})
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(ask, cluster.worker, slow) for _ in range(40)]
        until(lambda: any(one.done() for one in waiting), "the first answer")
        for pid in leaves:
            os.kill(pid, signal.SIGKILL)
        answers = [one.result()[1] for one in waiting]
    refused = [answer for answer in answers if b"__wazuh_exception__" in answer]
    took = time.monotonic() - begin
    seconds, answer = ask(cluster.worker, dapi(limit=1))
    lines = [(f"kill -9 of {len(leaves)} children under 40 requests: {len(refused)} refused, {40 - len(refused)} "
              f"answered, all within {took:.2f} s", len(refused) <= len(leaves) and took < 10),
             (f"the next request: answered in {seconds * 1000:.0f} ms", b"affected_items" in answer)]
    if refused:
        lines.append((f"what the refused are told: {refused[0].decode()[:300]}", True))
    return lines
