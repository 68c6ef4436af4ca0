#!/usr/bin/env python3
"""The page of a node, in a real browser: a cluster is started, its page is opened wide and narrow, light and dark, and
what is rendered is measured. The pictures stay in target/page, to be looked at.

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
from demo import CLUSTER_JSON, Failed, Node, end_if_told, free_port, tell_failure, wait, what_agents_say  # noqa: E402

PICTURES = ROOT / "target/page"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# What a page looks like to a person: cells and their edges, colours, and whether anything sticks out of the window.
LOOK = r"""
(() => {
  const box = (element) => {
    const { left, right, top, width, height } = element.getBoundingClientRect();
    return { left, right, top, width, height, text: element.innerText.trim() };
  };
  const shown = (element) => getComputedStyle(element).display !== "none";
  const table = (id) => ({
    head: [...document.querySelectorAll(`#${id} thead th`)].map(box),
    rows: [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.cells].filter(shown).map((cell) => ({
      ...box(cell), column: cell.dataset.column, number: cell.classList.contains("number"),
      label: getComputedStyle(cell, "::before").content, align: getComputedStyle(cell).textAlign,
    }))),
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
    folder = Path(tempfile.mkdtemp(prefix="wazuh-page-"))
    cluster, begun = Cluster(folder, options.bin_dir.resolve()), time.monotonic()
    try:
        cluster.start()
        with Browser(program) as browser:
            look_at_all(browser, cluster)
    except Failed as failed:
        tell_failure(failed, folder)
        return 1
    finally:
        cluster.end()
    shutil.rmtree(folder)
    print(f"    the page is as it should be, in {time.monotonic() - begun:.1f} s; pictures in {PICTURES}")
    return 0


class Cluster:
    """A master and three workers: one in sync and with agents, one with a file that cannot be written, one that left."""

    def __init__(self, folder, bin_dir):
        key, port = secrets.token_hex(16), free_port()
        kinds = {"manager": "master", "worker-1": "worker", "worker-2": "worker", "worker-3": "worker"}
        self.nodes = {name: Node(name, kind, folder, bin_dir, key, port) for name, kind in kinds.items()}
        self.urls = {}
        for name in ("manager", "worker-1"):
            address = f"127.0.0.1:{free_port()}"
            self.nodes[name].write_own("etc/cluster.json", json.dumps({**CLUSTER_JSON, "metrics": {"listen": address}}))
            self.urls[name] = f"http://{address}/"

    def start(self):
        master, worker, failing, leaving = self.nodes.values()
        for number in range(40):
            master.write(f"etc/rules/{number}.xml", f"<group name=\"{number}\"></group>\n")
        # A directory stands where the file is to be, and something of its own is in it.
        failing.write("etc/rules/7.xml/occupied.tmp", "x")
        for node in self.nodes.values():
            node.start()
        wait("all nodes are connected", self.missing, master)
        for number in range(1, 24):
            request = {"id": number, "name": f"agent-{number}", "date_add": 1}
            master.tell(f"global insert-agent {json.dumps(request)}")
            master.tell(f"global update-agent-data {json.dumps(what_agents_say(number, worker))}")
        leaving.stop()
        wait("worker-3 has left", lambda: "" if self.missing() else "it is connected", master)

    def missing(self):
        listed = self.nodes["manager"].control("-l", "--json").stdout
        missing = [name for name in self.nodes if f'"{name}"' not in listed]
        return ", ".join(missing)

    def end(self):
        for node in reversed(self.nodes.values()):
            if node.process and node.process.poll() is None:
                node.stop()


def look_at_all(browser, cluster):
    page = cluster.urls["manager"]

    def ripe():
        end_if_told()
        browser.open(page, 1280, 900)
        text = browser.evaluate("document.body.innerText")
        wanted = ("1 of 3 workers in sync.", "1 file failed", "not connected", "23")
        return ", ".join(f"no '{one}'" for one in wanted if one not in text)

    wait("the page shows every state", ripe, cluster.nodes["manager"], cluster.nodes["worker-2"])
    for name, width, scheme in (
        ("wide-light", 1280, "light"),
        ("wide-dark", 1280, "dark"),
        ("middle-light", 900, "light"),
        ("narrow-light", 390, "light"),
        ("narrow-dark", 360, "dark"),
    ):
        check(browser, cluster, "manager", name, width, scheme)
    check(browser, cluster, "worker-1", "worker-light", 1280, "light")


def check(browser, cluster, node, name, width, scheme):
    """Opens a page, takes its picture, and measures it."""
    url = cluster.urls[node]
    browser.open(url, width, 900, scheme)
    browser.screenshot(PICTURES / f"{name}.png")
    look = browser.evaluate(LOOK)

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
    rows = {row[0]["text"].split()[0]: {cell["column"]: cell["text"] for cell in row} for row in look["nodes"]["rows"]}
    if node == "manager":
        expect("one worker is in sync", look["verdict"].startswith("1 of 3 workers in sync."), look["verdict"])
        expect("all nodes are there", list(rows) == list(cluster.nodes), list(rows))
        expect("a good worker", rows["worker-1"]["State"] == "in sync" and rows["worker-1"]["Agents"] == "23", rows)
        state = rows["worker-2"]["State"]
        expect("a file that failed, and why", state.startswith("1 file failed") and "etc/rules/7.xml:" in state, state)
        expect("a worker that left", rows["worker-3"]["State"].startswith("not connected since 20"), rows["worker-3"])
    else:
        expect("the worker knows itself", list(rows) == ["worker-1"] and rows["worker-1"]["State"] == "in sync", rows)
        expect("it tells its master", any("127.0.0.1" in fact["text"] for fact in look["facts"]), look["facts"])


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
