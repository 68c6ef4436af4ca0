import asyncio
import functools
from concurrent.futures import ProcessPoolExecutor

import wazuh.core.cluster.utils
import wazuh.core.manager
from wazuh.core import exception
from wazuh.core.results import WazuhResult

node_info = {"node": "of a file", "type": "of a file", "cluster": "wazuh"}
# Made before the fork, and so of no use in a child.
pools = {"authentication_pool": ProcessPoolExecutor(1)}


class DistributedAPI:
    def __init__(self, f, logger, f_kwargs=None, node=None, debug=False, request_type="local_master", current_user="",
                 wait_for_complete=False, from_cluster=False, is_async=False, broadcasting=False, basic_services=None,
                 local_client_arg=None, rbac_permissions=None, nodes=None, api_timeout=None, remove_denied_nodes=False):
        self.f, self.logger, self.f_kwargs = f, logger, f_kwargs or {}
        self.request_type, self.from_cluster, self.is_async = request_type, from_cluster, is_async
        # Where a test does not say it: longer than anything takes on a machine that does much else.
        self.timeout = None if wait_for_complete else api_timeout or 600
        self.basic_services = basic_services or ("wazuh-db",)
        self.node_info = node_info
        self.cluster_items = wazuh.core.cluster.utils.get_cluster_items()

    async def distribute_function(self):
        is_local = (
            not self.cluster_items["distributed_api"]["enabled"]
            or self.request_type == "local_any"
            or (self.request_type == "local_master" and self.node_info["type"] == "master")
            or (self.request_type == "distributed_master" and self.from_cluster)
        )
        if not is_local:
            return WazuhResult({"passed on by": self.node_info["node"]})
        self.logger.debug(f"Receiving parameters {self.f_kwargs}")
        try:
            return WazuhResult(await self.execute())
        except exception.WazuhException as error:
            for handler in self.logger.handlers or self.logger.parent.handlers:
                error.dapi_errors = {self.node_info["node"]: {"error": error.message, "logfile": handler.baseFilename}}
            self.logger.error(error.message, exc_info=True)
            return error

    async def execute(self):
        status = wazuh.core.manager.status()
        missing = [service for service in self.basic_services if status[service] == "stopped"]
        if missing:
            raise exception.WazuhInternalError(1017, extra_message=", ".join(missing))
        if self.is_async:
            return await self.f(**self.f_kwargs)
        pool = pools.get("thread_pool", pools["authentication_pool"])
        call = asyncio.get_running_loop().run_in_executor(pool, functools.partial(self.f, **self.f_kwargs))
        try:
            return await asyncio.wait_for(call, self.timeout)
        except asyncio.TimeoutError:
            raise exception.WazuhInternalError(3021)
