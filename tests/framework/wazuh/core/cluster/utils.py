import glob
import os

from wazuh.core.utils import t_cache

DAEMONS = ("wazuh-analysisd", "wazuh-authd", "wazuh-db", "wazuh-execd", "wazuh-modulesd", "wazuh-remoted")


def get_manager_status(cache=False):
    """Cached until somebody clears the cache, as a daemon that has just come up shows."""
    if "status" not in t_cache:
        run = os.path.join(os.environ["WAZUH_HOME"], "var/run")
        is_there = {daemon: glob.glob(f"{run}/{daemon}-*.pid") for daemon in DAEMONS}
        t_cache["status"] = {daemon: "running" if files else "stopped" for daemon, files in is_there.items()}
    return t_cache["status"]


def get_cluster_items():
    return {"distributed_api": {"enabled": True}}
