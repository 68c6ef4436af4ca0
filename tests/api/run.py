#!/usr/bin/env python3
"""The Wazuh server API and the HAProxy helper of the original on nodes of ours, beside those on nodes of the original:

    WAZUH_ORIGINAL=/var/ossec make api-test

homes.py says what has to be there; without it nothing is tested. Writes what is equal and what is not to
target/api/calls.md, and the answers beside it.
"""
import argparse
import json
import pathlib
import signal
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import calls  # noqa: E402
import haproxy  # noqa: E402
import homes  # noqa: E402
import load  # noqa: E402
import nodes  # noqa: E402

RESULTS = HERE.parents[1] / "target/api"
PARTS = ["calls", "figures", "haproxy"]


def answers(cluster):
    """What each call is answered."""
    users = {"m": homes.Client(cluster.master), "w": homes.Client(cluster.worker)}
    for user in users.values():
        assert user.login() == 200, user.ask("POST", "/security/user/authenticate", basic=True)
    for call in calls.calls():
        user = users[call.through]
        if call.basic:
            name, password = call.basic.split(":")
            user = homes.Client(user.home, password, name)
        begin = time.monotonic()
        answer = user.ask(call.method, call.path, call.body, call.kind, basic=bool(call.basic))
        yield call, calls.readable(answer), time.monotonic() - begin
        if answer[0] == 401 and not call.basic:
            # Its token was revoked.
            user.login()


def compare(ours, original):
    """The table, and the number of calls that differ without a reason."""
    rows, wrong, equal = [], 0, 0
    for (call, one, seconds), (_, other, their_seconds) in zip(ours, original, strict=True):
        found = calls.differences(one, other)
        equal += not found
        wrong += bool(found) != bool(call.why)
        verdict = "equal" if not found else "different" if call.why else "**different**"
        why = "; ".join(filter(None, [call.why, *found[:4]])).replace("|", "\\|").replace("\n", " ")
        rows.append(f"| `{call.name()}` | {one['status']} | {verdict} | {seconds * 1000:.0f} | "
                    f"{their_seconds * 1000:.0f} | {why} |")
    head = ["| call | status | | ms | original ms | why: ours \\| original |", "|---|---|---|---|---|---|"]
    summary = f"{len(rows)} calls: {equal} equal but for times, {len(rows) - equal} different, {wrong} without a reason"
    return "\n".join([*head, *rows, "", summary, ""]), summary, wrong


def with_daemons(directory, addresses, with_original, settings, what):
    """The answers and the figures of one kind of daemon, of which `what` names those that are wanted."""
    kind = "original" if with_original else "ours"
    with homes.Cluster(directory, addresses, with_original, settings) as cluster:
        got = list(answers(cluster)) if "calls" in what else []
        (RESULTS / f"{kind}.json").write_text(json.dumps([[call.name(), answer] for call, answer, _ in got], indent=1))
        lines = load.speed(cluster) if "figures" in what else []
        if lines and not with_original:
            lines += load.refusals(cluster) + load.kill(cluster) + load.memory(cluster)
        for home in (cluster.master, cluster.worker):
            (RESULTS / f"{kind}-{home.name}.log").write_text(home.read("logs/cluster.log"))
            (RESULTS / f"{kind}-{home.name}-api.log").write_text(home.read("logs/api.log"))
    return got, lines


def beside_the_original(settings, what):
    """Prints what is equal and how fast it is; whether all is as it should be."""
    # The same paths and addresses for both, so that these are equal in the answers.
    addresses = (nodes.address(), nodes.address())
    with tempfile.TemporaryDirectory() as directory:
        ours, lines = with_daemons(f"{directory}/homes", addresses, False, settings, what)
        original, their_lines = with_daemons(f"{directory}/homes", addresses, True, {}, what)
    table, summary, wrong = compare(ours, original)
    told = [f"{'good' if holds else 'BAD '}  {line}" for line, holds in lines]
    told += [f"      original: {line}" for line, _ in their_lines]
    (RESULTS / "calls.md").write_text("\n".join([table, *told, ""]))
    print("\n".join([row for row in table.splitlines() if "different" in row] + told + [summary]))
    return not wrong and all(holds for _, holds in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("target/debug"))
    parser.add_argument("--settings", type=json.loads, default={}, help="more of cluster.json of our nodes")
    parser.add_argument("what", nargs="*", default=PARTS, help=f"some of {', '.join(PARTS)}; all if none is named")
    arguments = parser.parse_args()
    # What it has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    nodes.bin_dir, nodes.LIMIT = arguments.bin_dir.resolve(), 90.0
    try:
        homes.original()
    except homes.Missing as missing:
        print(f"skipped: {missing}")
        return 0
    RESULTS.mkdir(parents=True, exist_ok=True)
    good = True
    if {"calls", "figures"} & {*arguments.what}:
        good = beside_the_original(arguments.settings, arguments.what)
    if "haproxy" in arguments.what:
        good = haproxy.test(arguments.settings) and good
    print("good" if good else "NOT good")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
