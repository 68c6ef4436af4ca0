#!/usr/bin/env python3
"""The page of a node, in a real browser: clusters of 1, 5 and 40 nodes are started, their pages are opened wide and
narrow, light and dark, and what is rendered is measured. The pictures stay in target/page, to be looked at.

    make page
"""

import argparse
import json
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from browser import Browser  # noqa: E402
from demo import CLUSTER_JSON, Failed, Node, end_if_told, free_port, ossec_conf, tell_failure, wait, what_agents_say  # noqa: E402

PICTURES = ROOT / "target/page"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# What a page looks like to a person: cells and their edges, colours, and whether anything sticks out of the window.
LOOK = r"""
(() => {
  const box = (element) => {
    const { left, right, top, bottom, width, height } = element.getBoundingClientRect();
    return { left, right, top, bottom, width, height, text: element.innerText.trim() };
  };
  const shown = (element) => getComputedStyle(element).display !== "none";
  const table = (id) => ({
    head: [...document.querySelectorAll(`#${id} thead th`)].map(box),
    rows: [...document.querySelectorAll(`#${id} tbody tr:not(.why)`)].map((row) => [...row.cells].filter(shown).map((cell) => ({
      ...box(cell), column: cell.dataset.column, number: cell.classList.contains("number"),
      label: getComputedStyle(cell, "::before").content, align: getComputedStyle(cell).textAlign,
    }))),
    whys: [...document.querySelectorAll(`#${id} tbody tr.why`)].map((row) => ({
      ...box(row), of: row.previousElementSibling.cells[0].querySelector("b").innerText,
    })),
  });
  const light = (colour) => {
    const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const [red, green, blue] = colour.match(/[\d.]+/g).map(Number).map(part);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\)$|transparent/.test(colour)) return light(colour);
    }
    return 1;
  };
  const contrast = (element) => {
    const [a, b] = [light(getComputedStyle(element).color), ground(element)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const texts = [...document.querySelectorAll("h1, h2, p, dt, dd, th, td, small, .state, li, footer, a")];
  const poor = texts.filter((text) => text.innerText.trim() && contrast(text) < 4.5);
  return {
    width: document.documentElement.clientWidth, wanted: document.documentElement.scrollWidth,
    ground: ground(document.body), verdict: document.querySelector(".verdict").innerText,
    colour: document.querySelector(".verdict").classList[1],
    facts: [...document.querySelectorAll("dl div")].map(box),
    poor: poor.map((text) => [text.innerText.slice(0, 40), contrast(text)]),
    nodes: table("nodes"), tasks: table("tasks"),
  };
})()
"""


def main():
    parser = argparse.ArgumentParser(description="Looks at the page of a node in a browser.")
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "target/debug")
    parser.add_argument("--browser", help="the program; else one of " + ", ".join(BROWSERS))
    options = parser.parse_args()
    program = options.browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        parser.error(f"none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with Browser(program) as browser:
        for size, look_at in ((1, look_at_one), (5, look_at_five), (40, look_at_forty)):
            folder = Path(tempfile.mkdtemp(prefix="wazuh-page-"))
            cluster = Cluster(size, folder, options.bin_dir.resolve())
            try:
                cluster.start()
                look_at(browser, cluster)
            except Failed as failed:
                tell_failure(failed, folder)
                return 1
            finally:
                cluster.end()
            shutil.rmtree(folder)
    print(f"    the page is as it should be, in {time.monotonic() - begun:.1f} s; pictures in {PICTURES}")
    return 0


MASTER, FAILING, AWAY = "manager", "worker-2", "worker-10"
LONG = "worker-3-" + "in-a-data-centre-with-a-long-name-" * 3 + "x"

# The screens of people, in pixels.
DESKTOP, PHONE = (1280, 800), (390, 844)


class Cluster:
    """A master and its workers: one with a file that cannot be written, one that left, all others in sync. With one node,
    a master that never had a worker."""

    def __init__(self, size, folder, bin_dir):
        key, port = secrets.token_hex(16), free_port()
        numbers = {1: (), 5: (1, 2, 3, 10), 40: range(1, 40)}[size]
        self.workers = [LONG if number == 3 else f"worker-{number}" for number in numbers]
        kinds = {MASTER: "master", **dict.fromkeys(self.workers, "worker")}
        # The folder of a node has a short name, because a socket in it must not have a long one.
        homes = {name: name[:9] for name in kinds}
        self.nodes = {name: Node(homes[name], kind, folder, bin_dir, key, port) for name, kind in kinds.items()}
        if LONG in self.nodes:
            self.nodes[LONG].write_own("etc/ossec.conf", ossec_conf(LONG, "worker", key, port))
        self.master, self.urls = self.nodes[MASTER], {}
        for name in [MASTER, *self.workers[:1]]:
            address = f"127.0.0.1:{free_port()}"
            self.nodes[name].write_own("etc/cluster.json", json.dumps({**CLUSTER_JSON, "metrics": {"listen": address}}))
            self.urls[name] = f"http://{address}/"

    def start(self):
        for number in range(40):
            self.master.write(f"etc/rules/{number}.xml", f"<group name=\"{number}\"></group>\n")
        if FAILING in self.nodes:
            # A directory stands where the file is to be, and something of its own is in it.
            self.nodes[FAILING].write("etc/rules/7.xml/occupied.tmp", "x")
        for node in self.nodes.values():
            node.start()
        wait("all nodes are connected", self.missing, self.master)
        if not self.workers:
            return
        for number in range(1, 24):
            request = {"id": number, "name": f"agent-{number}", "date_add": 1}
            self.master.tell(f"global insert-agent {json.dumps(request)}")
            self.master.tell(f"global update-agent-data {json.dumps(what_agents_say(number, self.nodes['worker-1']))}")
        self.nodes[AWAY].stop()

    def missing(self):
        listed = self.master.control("-l", "--json").stdout
        return ", ".join(name for name in self.nodes if f'"{name}"' not in listed)

    def end(self):
        for node in reversed(self.nodes.values()):
            if node.process and node.process.poll() is None:
                node.stop()


def ripens(browser, cluster, *wanted):
    """Waits until the page of the master has all of these texts in its verdict or its table of nodes."""

    def lacks():
        end_if_told()
        browser.open(cluster.urls[MASTER], *DESKTOP)
        text = browser.evaluate("['.verdict', '#nodes'].map((part) => document.querySelector(part).innerText).join('\\t')")
        return ", ".join(f"no '{one}'" for one in wanted if one not in text)

    wait("the page shows every state", lacks, cluster.master)


def look_at_one(browser, cluster):
    ripens(browser, cluster, "in sync")
    for name, screen in (("1-desktop", DESKTOP), ("1-phone", PHONE)):
        look, expect = check(browser, cluster, MASTER, name, *screen, "light")
        seen = (look["verdict"], look["colour"])
        expect("a master that never had a worker is neither good nor bad", seen == ("This master has no worker.", "idle"), seen)


def look_at_five(browser, cluster):
    ripens(browser, cluster, "3 of 5 in sync, 1 away, 1 behind.", "\t23\t")
    for name, screen, scheme in (
        ("5-desktop", DESKTOP, "light"),
        ("5-desktop-dark", DESKTOP, "dark"),
        ("5-middle", (900, 800), "light"),
        ("5-phone", PHONE, "light"),
        ("5-phone-dark", PHONE, "dark"),
    ):
        two_are_bad(*check(browser, cluster, MASTER, name, *screen, scheme), cluster)
    check(browser, cluster, MASTER, "5-small-phone", 320, 568, "light")
    look, expect = check(browser, cluster, "worker-1", "5-worker", *DESKTOP, "light")
    rows = by_name(look)
    expect("the worker knows itself", list(rows) == ["worker-1"] and rows["worker-1"]["State"] == "in sync", rows)
    master = f"Master\n{MASTER}"
    expect("it tells its master", any(fact["text"] == master for fact in look["facts"]), look["facts"])

    # Nobody is connected any more, and that is not good.
    for name in cluster.workers:
        if name != AWAY:
            cluster.nodes[name].stop()
    ripens(browser, cluster, "1 of 5 in sync, 4 away.")
    look, expect = check(browser, cluster, MASTER, "5-all-away", *DESKTOP, "light")
    expect("a master that has lost its workers is not well", look["colour"] == "bad", look["colour"])


def look_at_forty(browser, cluster):
    ripens(browser, cluster, "38 of 40 in sync, 1 away, 1 behind.", "\t23\t")
    for name, screen in (("40-desktop", DESKTOP), ("40-phone", PHONE)):
        two_are_bad(*check(browser, cluster, MASTER, name, *screen, "light"), cluster)


def by_name(look):
    return {row[0]["text"].split()[0]: {cell["column"]: cell["text"] for cell in row} for row in look["nodes"]["rows"]}


def two_are_bad(look, expect, cluster):
    """The first screen tells which, since when, why, and what to do; then come all others, by their names."""
    expect("it is not well", look["colour"] == "bad" and "1 away, 1 behind" in look["verdict"], look["verdict"])
    rows, whys = by_name(look), {why["of"]: why for why in look["nodes"]["whys"]}
    others = [name for name in cluster.workers if name not in (FAILING, AWAY)]
    expect("the worst first, then by name", list(rows) == [AWAY, FAILING, MASTER, *others], list(rows))
    expect("only they need a reason", list(whys) == [AWAY, FAILING], list(whys))
    for name, state, reason in ((AWAY, "away", "Why: "), (FAILING, "behind", "etc/rules/7.xml: ")):
        expect(f"the state of {name}, and since when", rows[name]["State"] == state and rows[name]["Since"][:2] == "20", rows[name])
        text = whys[name]["text"]
        expect(f"why {name} is {state}, and what to do", reason in text and "What to do: " in text, text)
        bottom, height = whys[name]["bottom"], look["height"]
        expect(f"{name} is on the first screen", bottom <= height, f"it ends at {bottom:.0f} of {height} px")
    expect("a good worker", rows["worker-1"]["State"] == "in sync" and rows["worker-1"]["Agents"] == "23", rows["worker-1"])


def check(browser, cluster, node, name, width, height, scheme):
    """Opens a page, takes its pictures, and measures it; gives what is seen, and a way to insist on more."""
    url = cluster.urls[node]
    browser.open(url, width, height, scheme)
    browser.screenshot(PICTURES / f"{name}.png", whole=False)
    look = browser.evaluate(LOOK)
    browser.screenshot(PICTURES / f"{name}-whole.png")

    def expect(what, holds, seen=""):
        if not holds:
            raise Failed(f"{name}: {what}", seen or "it is not so", cluster.nodes[node])

    expect("nothing else is asked for", browser.requests() == [url], browser.requests())
    expect("the browser has no complaint", not browser.complaints(), browser.complaints())
    expect("nothing sticks out of the window", look["wanted"] <= look["width"], f"{look['wanted']} of {look['width']} px")
    expect("every text can be read", not look["poor"], look["poor"])
    expect(f"the page is {scheme}", (look["ground"] < 0.2) == (scheme == "dark"), f"brightness {look['ground']:.2f}")
    for id in ("nodes", "tasks"):
        lines_up(look[id], width, lambda what, holds, seen="", id=id: expect(f"table {id}: {what}", holds, seen))
    return {**look, "height": height}, expect


def lines_up(table, width, expect):
    """On a wide screen the cells stand under their heads; on a narrow one each stands beside the name of its column."""
    known = set()
    for row in table["rows"]:
        if width > 960:
            for head, cell in zip(table["head"], row):
                edges = ("right",) if cell["number"] else ("left",)
                for edge in edges:
                    off = abs(head[edge] - cell[edge])
                    expect(f"'{cell['text']}' stands under '{head['text']}'", off < 1, f"{off} px beside it")
                expect("numbers stand right", cell["align"] == ("right" if cell["number"] else "left"), cell["align"])
        else:
            edges = {round(cell["left"]) for cell in row}
            expect("the cells of a row have few edges", len(edges) == 1 if width < 600 else len(edges) <= 3, edges)
            known = edges if len(edges) > len(known) else known
            expect("the cells of all rows have the same edges", edges <= known, (edges, known))
            for cell in row[1:]:
                expect("a cell has its name", cell["label"] == f'"{cell["column"]}"', cell["label"])
                expect("names and values stand left", cell["align"] == "left", cell)
    expect("there are rows", table["rows"])


if __name__ == "__main__":
    sys.exit(main())
