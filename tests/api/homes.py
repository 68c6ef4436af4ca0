"""Two homes of a manager, the daemons on them, and the Wazuh server API of the original on both.

The environment variable WAZUH_ORIGINAL names a directory that is laid out like an installed manager of 4.14:
`framework/python/bin/python3` (an interpreter whose packages have `wazuh`, `api` and what they need),
`framework/scripts/wazuh_clusterd.py` and `api/scripts/wazuh_apid.py`. An installed manager is one. Nothing is written
there; each home has links to it.
"""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import nodes  # noqa: E402
from nodes import until  # noqa: E402

AGENTS = 300
# Those that report to the worker, and to the master.
OF_WORKER, OF_MASTER = range(1, 11), range(11, 16)
BIG = 16_000_000
SCRIPTS = ("framework/python/bin/python3", "framework/scripts/wazuh_clusterd.py", "api/scripts/wazuh_apid.py")
# Daemons that are not here and whose pid files the API looks for.
ELSEWHERE = ("wazuh-modulesd", "wazuh-analysisd", "wazuh-execd", "wazuh-remoted")
DIRECTORIES = ("etc/rules", "etc/decoders", "etc/lists", "etc/shared/default", "ruleset/rules", "ruleset/decoders",
               "logs/api", "queue/cluster", "queue/db", "queue/sockets", "queue/alerts", "var/run", "var/multigroups",
               "var/db", "tmp", "stats", "bin", "api/configuration/security", "api/configuration/ssl")
RULES = """<group name="of_test,">
  <rule id="100100" level="5"><match>first</match><description>The first rule.</description></rule>
  <rule id="100101" level="7"><if_sid>100100</if_sid><match>second</match><description>The next.</description></rule>
</group>
"""
DECODERS = """<decoder name="of_test"><program_name>^of_test</program_name></decoder>
"""
CONFIGURATION = """<ossec_config>
  <global><logall>no</logall><agents_disconnection_time>10m</agents_disconnection_time></global>
  <remote><connection>secure</connection><port>1514</port></remote>
  <ruleset>
    <decoder_dir>ruleset/decoders</decoder_dir><rule_dir>ruleset/rules</rule_dir>
    <decoder_dir>etc/decoders</decoder_dir><rule_dir>etc/rules</rule_dir>
    <list>etc/lists/colours</list>
  </ruleset>
  <auth><disabled>no</disabled><use_password>no</use_password></auth>
  <cluster>
    <name>wazuh</name><node_name>{name}</node_name><node_type>{role}</node_type><key>{key}</key><port>1516</port>
    <bind_addr>{address}</bind_addr><nodes><node>{master}</node></nodes><hidden>no</hidden><disabled>no</disabled>
    {helper}
  </cluster>
</ossec_config>
"""


class Missing(Exception):
    """What must be there for this test and is not."""


def original():
    """Where the original is."""
    place = os.environ.get("WAZUH_ORIGINAL")
    if not place:
        raise Missing("WAZUH_ORIGINAL does not name a directory with the original's framework and API")
    missing = [name for name in SCRIPTS if not (pathlib.Path(place) / name).exists()]
    if missing:
        raise Missing(f"WAZUH_ORIGINAL={place} lacks {', '.join(missing)}")
    return pathlib.Path(place).absolute()


class Home:
    """A home of a manager with a few files of each kind."""

    def __init__(self, path, name, address, master, settings=None, helper=""):
        self.path, self.name, self.address = pathlib.Path(path), name, address
        self.role = "master" if address == master else "worker"
        for directory in DIRECTORIES:
            (self.path / directory).mkdir(parents=True, exist_ok=True)
        (self.path / "framework").symlink_to(original() / "framework")
        (self.path / "api/scripts").symlink_to(original() / "api/scripts")
        self.write("etc/ossec.conf", CONFIGURATION.format(
            name=name, role=self.role, key=nodes.KEY, address=address, master=master, helper=helper))
        (self.path / "etc/ossec.conf").chmod(0o640)
        self.write("etc/cluster.json", json.dumps({"version": "4.14.7", **(settings or {})}))
        # Plain HTTP at an address of its own; as many requests and logins as the test makes.
        access = {"max_login_attempts": 5000, "max_request_per_minute": 0}
        self.write("api/configuration/api.yaml", json.dumps(
            {"host": [address], "port": 55000, "https": {"enabled": False}, "access": access}))
        self.write("ruleset/rules/0001-rules.xml", RULES.replace("1001", "1002"))
        self.write("ruleset/decoders/0001-decoders.xml", DECODERS.replace("of_test", "of_ruleset"))
        # The program that says whether the configuration of a group is good is another one of the manager's.
        self.write("bin/verify-agent-conf", "#!/bin/sh\nexit 0\n")
        (self.path / "bin/verify-agent-conf").chmod(0o750)
        self.write("logs/ossec.log", "2026/11/29 10:00:00 wazuh-modulesd: INFO: A line.\n")
        for daemon in ELSEWHERE:
            self.write(f"var/run/{daemon}-{os.getpid()}.pid", f"{os.getpid()}\n")
        if self.role == "master":
            self.write("etc/client.keys", "".join(
                f"{number:03} agent{number:03} any {number:064x}\n" for number in range(1, AGENTS + 1)))
            self.write("etc/rules/local_rules.xml", RULES)
            self.write("etc/decoders/local_decoder.xml", DECODERS)
            self.write("etc/lists/colours", "red:1\nblue:2\n")
            for name in ("default/agent.conf", "agent-template.conf"):
                self.write(f"etc/shared/{name}", "<agent_config>\n</agent_config>\n")
            self.write("etc/shared/default/big.txt", "0123456789abcde\n" * (BIG // 16))

    def write(self, name, text):
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def read(self, name):
        with contextlib.suppress(FileNotFoundError):
            return (self.path / name).read_text(errors="replace")
        return ""

    def database(self, *requests):
        """Answers of the agent database of this home."""
        view = object.__new__(nodes.Node)
        view.home = self.path
        return view.database(*requests)

    def python(self, *arguments, **options):
        """Runs the manager's own interpreter as the manager does."""
        return Process([str(self.path / SCRIPTS[0]), *map(str, arguments)], self, **options)


class Process:
    """A program with a log of its own, ended by SIGTERM."""

    def __init__(self, command, home, log="program.log"):
        self.log = home.path / log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAZUH")}
        with open(self.log, "ab") as output:
            self.child = subprocess.Popen(command, cwd=home.path, stdin=subprocess.DEVNULL, stdout=output,
                                          stderr=output, env=environment, start_new_session=True)
        self.pid = self.child.pid

    def is_alive(self):
        return self.child.poll() is None

    def end(self):
        if self.is_alive():
            self.child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(15)
        # What it has left behind, which is its own group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.child.wait()


def ours(home, *more, log="stderr.log"):
    """Our daemon on a home, which serves its control socket when this returns."""
    daemon = Process([str(nodes.bin_dir / "wazuh-clusterd"), "-f", "-r", "--home", str(home.path), *more], home, log)
    until(lambda: "[Local Server] [Main] Serving on " in home.read("logs/cluster.log") or not daemon.is_alive(),
          "our daemon to serve")
    if not daemon.is_alive():
        raise RuntimeError(f"our daemon has ended:\n{home.read(log)}")
    return daemon


class Cluster:
    """A master and a worker, both with the API: daemons of ours, or the original's."""

    def __init__(self, directory, addresses, with_original, settings=None, helper=""):
        self.directory, self.with_original, self.processes = pathlib.Path(directory), with_original, []
        shutil.rmtree(self.directory, ignore_errors=True)
        self.master, self.worker = (
            Home(self.directory / name, name, address, addresses[0], settings, helper)
            for name, address in zip(("m", "w"), addresses))
        self.daemons = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end()

    def keep(self, process):
        self.processes.append(process)
        return process

    def start(self):
        for home in (self.master, self.worker):
            self.daemons[home.name] = self.keep(self.start_original(home) if self.with_original else ours(home))
        until(lambda: (self.worker.path / "etc/client.keys").exists()
              and (self.worker.path / "etc/shared/default/big.txt").exists(), "the worker to be in sync")
        for home in (self.master, self.worker):
            until(lambda: '"id":300' in home.database("global get-agent-info 300")[0], "agents in the database")
        self.report(self.worker, OF_WORKER)
        self.report(self.master, OF_MASTER)
        for number in OF_WORKER:
            until(lambda: f'"node_name":"{self.worker.name}"' in
                  self.master.database(f"global get-agent-info {number}")[0], "agents of the worker on the master")
        interfaces = [(home, self.keep(home.python(home.path / SCRIPTS[2], "-f", "-r", log="api.log")))
                      for home in (self.master, self.worker)]
        for home, interface in interfaces:
            until(lambda: Client(home).is_there() or not interface.is_alive(), "the API to serve")
            if not interface.is_alive():
                raise RuntimeError(f"the API on {home.name} has ended:\n{home.read('api.log')}")
        # The original never tells it.
        until(lambda: self.with_original or self.has_groups(), "the first assignments to groups on the worker")

    def has_groups(self):
        """Whether the health of the worker no longer depends on when it is asked."""
        user = Client(self.master)
        user.login()
        health = json.loads(user.ask("GET", "/cluster/healthcheck?nodes_list=w")[2])
        return health["data"]["affected_items"][0]["status"]["last_sync_agentgroup"]["date_end"] != "n/a"

    def start_original(self, home):
        """The original's daemon. Its wazuh-db and its wazuh-authd are C programs that are not here: a daemon of ours in a
        home of its own, that knows nothing of the cluster, serves their sockets for it."""
        side = Home(self.directory / f"side-{home.name}", "side", nodes.address(), None)
        side.role = "master"
        shutil.rmtree(side.path / "etc")
        (side.path / "etc").symlink_to(home.path / "etc")
        side.write("side.conf", CONFIGURATION.format(
            name="side", role="master", key=nodes.KEY, address=side.address, master=side.address, helper=""))
        stand_in = self.keep(ours(side, "-c", str(side.path / "side.conf")))
        for directory in ("queue/db", "queue/sockets"):
            (home.path / directory).rmdir()
            (home.path / directory).symlink_to(side.path / directory)
        for daemon in ("wazuh-db", "wazuh-authd"):
            home.write(f"var/run/{daemon}-{stand_in.pid}.pid", f"{stand_in.pid}\n")
        daemon = home.python(home.path / SCRIPTS[1], "-f", "-r", log="stderr.log")
        until(lambda: (home.path / "queue/cluster/c-internal.sock").exists() or not daemon.is_alive(),
              "the original's daemon to serve")
        if not daemon.is_alive():
            raise RuntimeError(f"the original's daemon has ended:\n{home.read('stderr.log')}")
        return daemon

    @staticmethod
    def report(home, numbers):
        """Lets agents report to a node."""
        for number in numbers:
            agent = {"id": number, "os_name": "Ubuntu", "os_version": "22.04", "os_major": "22", "os_minor": "04",
                     "os_codename": "Jammy", "os_platform": "ubuntu", "os_uname": "Linux", "os_arch": "x86_64",
                     "version": "Wazuh v4.14.7", "config_sum": "c", "merged_sum": "m", "manager_host": home.name,
                     "node_name": home.name, "agent_ip": f"10.0.0.{number}", "connection_status": "active",
                     "sync_status": "syncreq", "group_config_status": "synced"}
            answer, = home.database("global update-agent-data " + json.dumps(agent))
            assert answer == "ok", answer


class Client:
    """A user of the API of a home, over one connection."""

    def __init__(self, home, password="wazuh", user="wazuh"):
        self.home, self.token = home, None
        self.basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def is_there(self):
        with contextlib.suppress(OSError):
            return self.ask("GET", "/")[0] == 401
        return False

    def login(self):
        """The status, with the token kept if it is right."""
        status, _, body = self.ask("POST", "/security/user/authenticate?raw=true", basic=True)
        self.token = body.decode() if status == 200 else None
        return status

    def ask(self, method, path, body=None, kind="application/octet-stream", basic=False):
        """Status, type and body of one answer."""
        connection = http.client.HTTPConnection(self.home.address, 55000, timeout=120)
        headers = {"Authorization": self.basic if basic else f"Bearer {self.token}"}
        if basic or not self.token:
            headers = {"Authorization": self.basic} if basic else {}
        if isinstance(body, (dict, list)):
            body, kind = json.dumps(body).encode(), "application/json"
        if body is not None:
            headers["Content-Type"] = kind
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()
