# The HAProxy helper of the manager's framework, as a program of wazuh-clusterd (see line.py for what is defined before).
import asyncio


class HelperLog(DaemonLog):
    """Hands lines on with the two tags of whoever wrote them in front, and without the passwords of the helper."""

    def __init__(self):
        super().__init__(self)
        self.tags, self.secrets = threading.local(), []

    def emit(self, record):
        self.tags.text = f"{getattr(record, 'tag', 'HAPHelper')}\t{getattr(record, 'subtag', 'Main')}\t"
        super().emit(record)

    def log(self, level, text):
        for secret in self.secrets:
            text = text.replace(secret, "*****")
        line.log(level, self.tags.text + text)


def debug2(self, text, *arguments, **more):
    self.log(DEBUG2, text, *arguments, **more)


def end_with_the_daemon():
    while True:
        line.receive()


# A level of the framework's, which only its own daemons define.
DEBUG2 = 5
logging.addLevelName(DEBUG2, "DEBUG2")
logging.Logger.debug2 = debug2
lines = HelperLog()
# What libraries have to say: standard error is a file that nobody empties.
logging.getLogger().addHandler(lines)
framework = logging.getLogger("wazuh")
framework.propagate = False
framework.addHandler(lines)
framework.setLevel(settings["level"])
threading.Thread(target=end_with_the_daemon, daemon=True).start()

try:
    from wazuh.core.cluster.hap_helper.hap_helper import HAPHelper
except ModuleNotFoundError as missing:
    if not str(missing.name).startswith("wazuh.core.cluster.hap_helper"):
        raise
    line.send(REFUSED, b"the framework that is installed here has no HAProxy helper")
    sys.exit()
from wazuh.core.cluster.utils import read_cluster_config

configured = read_cluster_config()["haproxy_helper"]
lines.secrets = [str(value) for name, value in configured.items() if name.endswith("password") and value]
asyncio.run(HAPHelper.start())
