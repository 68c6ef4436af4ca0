# Executes DAPI requests with the manager's framework. `line.py` stands before this text.
#
#   the daemon ── control ──► parent: has the framework in memory, forks, kills and reaps children; touches no request
#              ── one line for each child ──► child: one request at a time
#
# A frame on `control` has the number of a child. With two descriptors it orders a new child, which serves the first; the
# second gets one text, how that child ended. Without descriptors it orders its end.
import asyncio
import gc
import importlib
import inspect
import select
import signal
from concurrent.futures import ThreadPoolExecutor, wait

# Modules all of whose functions may be asked for; where the framework marks those that it exposes, only these.
MODULES = [
    "wazuh." + name
    for name in (
        "active_response agent analysis cdb_list ciscat cluster decoder event logtest manager mitre rootcheck rule sca"
        " security stats syscheck syscollector task vulnerability"
    ).split()
]

# The functions of other modules that the API and the manager's programs ask for.
FUNCTIONS = {
    ("api.authentication", "check_token"),
    ("api.authentication", "check_user_master"),
    ("api.authentication", "get_security_conf"),
    ("wazuh.core.agent", "Agent.get_agents_overview"),
    ("wazuh.core.cluster.control", "get_node_ruleset_integrity"),
    ("wazuh.core.manager", "query_update_check_service"),
    ("wazuh.core.security", "rbac_db_factory_reset"),
    ("wazuh.core.security", "revoke_tokens"),
    ("wazuh.rbac.preprocessor", "get_permissions"),
}

# How long the thread that executed a request may go on after its answer, in seconds.
FREE = 1.0


class Framework:
    """What is taken from the manager's packages."""

    def __init__(self):
        import wazuh
        from wazuh.core import exception, utils
        from wazuh.core.cluster import common
        from wazuh.core.cluster.dapi import dapi

        self.version = wazuh.__version__
        self.exception, self.common, self.dapi = exception, common, dapi
        self.parameters = set(inspect.signature(dapi.DistributedAPI.__init__).parameters) - {"self", "logger", "node", "debug"}
        self.cache = getattr(utils, "t_cache", {})
        for name in sorted({*MODULES, *(module for module, _ in FUNCTIONS)}):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as missing:
                # Versions differ in what they have.
                if not f"{name}.".startswith(f"{missing.name}."):
                    raise
        own = [vars(sys.modules[name]).values() for name in MODULES if name in sys.modules]
        self.marks = any(inspect.isfunction(one) and hasattr(one, "__wazuh_exposed__") for module in own for one in module)

    def refuse(self, text):
        error = self.exception.WazuhInternalError(1000, extra_message=text, cmd_error=True)
        # Nothing in it is the content of a request.
        error.is_public = True
        return error

    def decode(self, value):
        """The framework's decoder of objects, behind a closer look at what it would call."""
        if "__callable__" in value:
            self.check(value["__callable__"])
        return self.common.as_wazuh_object(value)

    def check(self, asked):
        try:
            name, path = asked["__name__"], asked["__qualname__"]
            module = asked["__module__"]
            if "__wazuh__" in asked:
                raise self.refuse(f"Method '{name}' is not exposed with @dapi_allower decorator")
            known = module in MODULES and "." not in path or (module, path) in FUNCTIONS
            if not known or module not in sys.modules or name != path.split(".")[-1] or name.startswith("_"):
                raise self.refuse(f"Decoding callable from module '{module}' is not allowed")
            function = sys.modules[module]
            for step in path.split("."):
                function = getattr(function, step)
        except (KeyError, AttributeError, TypeError):
            raise self.refuse("Wazuh object cannot be decoded from JSON") from None
        here = inspect.isfunction(function) and function.__module__ == module
        if not here or self.marks and not getattr(function, "__wazuh_exposed__", False):
            raise self.refuse(f"Function '{name}' from module '{module}' is not exposed with @dapi_allower decorator")

    def encode(self, value):
        return json.dumps(value, cls=self.common.WazuhJSONEncoder).encode()

    def error(self, error):
        """An error in the form that whoever asked can read."""
        if not isinstance(error, self.exception.WazuhException):
            error = self.exception.WazuhInternalError(1000, extra_message=f"{type(error).__name__}: {error}")
        return self.encode(error)


class Thread(ThreadPoolExecutor):
    """One thread, of which is known whether it works. The framework leaves it to itself when a request takes too long."""

    def __init__(self):
        super().__init__(1)
        self.work = []

    def submit(self, *call, **arguments):
        self.work.append(super().submit(*call, **arguments))
        return self.work[-1]

    def is_free(self):
        """Whether all its work has ended, or does so very soon."""
        work, self.work = self.work, []
        return not wait(work, FREE).not_done


class Child:
    """Executes what comes over its line until that closes."""

    def __init__(self, framework, connected):
        self.framework, self.line = framework, Line(connected)
        self.logger = logging.getLogger("wazuh").getChild("dapi")
        handler = DaemonLog(self.line)
        # The framework names this file in its answers.
        handler.baseFilename = os.path.join(settings["home"], "logs/cluster.log")
        # Not at debug level: there the framework shows the arguments of requests.
        logging.getLogger("wazuh").handlers = [handler]
        logging.getLogger("wazuh").setLevel(logging.INFO)
        logging.getLogger("wazuh").propagate = False
        self.thread = Thread()
        pools = getattr(framework.dapi, "pools", None)
        if pools is not None:
            # Processes of a pool that was made before the fork never answer.
            pools["thread_pool"] = self.thread
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)

    def run(self):
        self.line.send(READY, self.framework.version.encode())
        done = 0
        while True:
            _, text = self.line.receive()
            kind, answer = self.answer(text)
            text = None
            done += 1
            if len(answer) > settings["longest_answer" if kind == RESULT else "longest_refusal"]:
                kind, answer = REFUSED, self.framework.error(self.framework.refuse("the answer is too long"))
            if done >= settings["requests"] or resident() > settings["memory"] or not self.thread.is_free():
                self.line.send(LAST, b"")
            self.line.send(kind, answer)
            answer = None

    def answer(self, text):
        try:
            # The framework remembers for a while which daemons run.
            self.framework.cache.clear()
            request = json.loads(text, object_hook=self.framework.decode)
            return RESULT, self.framework.encode(self.loop.run_until_complete(self.execute(request)))
        except Exception as error:
            what = str(error) if getattr(error, "is_public", False) else type(error).__name__
            self.line.log("E", f"Error in distributed API: {what}")
            return REFUSED, self.framework.error(error)

    def execute(self, request):
        unknown = sorted(set(request) - self.framework.parameters)
        if unknown:
            self.line.log("D", f"This version of the framework does not know: {', '.join(unknown)}")
        known = {name: value for name, value in request.items() if name in self.framework.parameters}
        if "tmp_file" in (known.get("f_kwargs") or {}):
            raise self.framework.exception.WazuhClusterError(3034, extra_message="tmp_file is not accepted")
        call = self.framework.dapi.DistributedAPI(**known, logger=self.logger, node=None)
        # What wazuh-clusterd is and does counts, and not what stands in the files that it has not read again.
        call.node_info = {**call.node_info, "node": settings["node"], "type": settings["type"]}
        api = {**call.cluster_items["distributed_api"], "enabled": settings["enabled"]}
        call.cluster_items = {**call.cluster_items, "distributed_api": api}
        return call.distribute_function()


def resident():
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Parent:
    """Has the framework in memory and forks children."""

    def __init__(self, framework, control):
        self.framework, self.control = framework, control
        # By the number of the process: the number that the daemon gave the child, and where its end is told.
        self.children = {}
        self.woken, wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)

    def run(self):
        while True:
            ready, _, _ = select.select([self.control, self.woken], [], [])
            if self.woken in ready:
                os.read(self.woken, 4096)
            self.reap()
            if self.control in ready:
                try:
                    message, descriptors, _, _ = socket.recv_fds(self.control, 9, 2)
                except OSError:
                    message = b""
                if not message:
                    # The daemon has gone, however it ended.
                    os.killpg(0, signal.SIGKILL)
                number = int.from_bytes(message[5:], "big")
                if descriptors:
                    self.fork(number, *descriptors)
                else:
                    self.kill(number)

    def fork(self, number, served, told):
        try:
            pid = os.fork()
        except OSError as error:
            os.close(served)
            return self.tell(told, f"it cannot be started: {error}")
        if pid == 0:
            self.become_child(served, told)
        os.close(served)
        self.children[pid] = (number, told)

    def tell(self, told, text):
        try:
            os.write(told, text.encode())
        except OSError:
            # The daemon does not want to know any more.
            pass
        os.close(told)

    def become_child(self, served, told):
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for _, other in self.children.values():
                os.close(other)
            os.close(told)
            self.control.close()
            Child(self.framework, socket.socket(fileno=served)).run()
        finally:
            os._exit(1)

    def kill(self, number):
        for pid, (other, _) in self.children.items():
            if other == number:
                os.kill(pid, signal.SIGKILL)

    def reap(self):
        for pid in list(self.children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _, told = self.children.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                self.tell(told, f"exit status {code}" if code >= 0 else f"signal {-code}")


def main():
    framework = Framework()
    gc.collect()
    gc.freeze()
    parent = Parent(framework, line.socket)
    line.send(READY, framework.version.encode())
    parent.run()


main()
