from wazuh.core.cluster.utils import get_manager_status


def status():
    return get_manager_status()
