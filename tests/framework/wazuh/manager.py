"""What tests ask for."""
import functools
import os
import signal
import time

from wazuh.core.cluster.utils import get_manager_status
from wazuh.core.exception import WazuhError
from wazuh.core.utils import execute

HOME = os.environ["WAZUH_HOME"]
# As the framework does: once for each process.
with open(os.path.join(HOME, "etc/ossec.conf")) as configuration:
    CONFIGURATION = configuration.read()
held = []


def expose_resources(function):
    @functools.wraps(function)
    def exposed(*arguments, **named):
        return function(*arguments, **named)

    exposed.__wazuh_exposed__ = True
    return exposed


@expose_resources
def echo(**named):
    return named


@expose_resources
def processes():
    return {"pid": os.getpid(), "parent": os.getppid()}


@expose_resources
def environment():
    with open("/proc/self/oom_score_adj") as adjusted:
        return {"group": os.getpgid(0), "parent": os.getppid(), "adjusted": int(adjusted.read()), "names": sorted(os.environ)}


@expose_resources
def get_status():
    return get_manager_status()


@expose_resources
def read_configuration():
    return CONFIGURATION


@expose_resources
def wait(mark, seconds=1000):
    """Leaves the number of its process in a file, a line for each call."""
    with open(os.path.join(HOME, mark), "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return "waited"


@expose_resources
def die(mark):
    with open(os.path.join(HOME, mark), "a") as file:
        file.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)


@expose_resources
def text(length):
    return "x" * length


@expose_resources
def length(text):
    return len(text)


@expose_resources
def hold(length):
    held.append(b"x" * length)
    return len(held)


@expose_resources
def fail(password):
    raise WazuhError(1726)


@expose_resources
def crash(password):
    raise ValueError(password)


@expose_resources
async def later():
    return "later"


def hidden():
    return "not exposed"
