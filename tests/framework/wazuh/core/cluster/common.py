import importlib
import json

from wazuh.core import exception, results


class WazuhJSONEncoder(json.JSONEncoder):
    def default(self, value):
        if isinstance(value, exception.WazuhException):
            return {"__wazuh_exception__": {"__class__": type(value).__name__, "__object__": value.to_dict()}}
        if isinstance(value, results.WazuhResult):
            return {"__wazuh_result__": {"__class__": type(value).__name__, "__object__": value.encode_json()}}
        return super().default(value)


def as_wazuh_object(value):
    if "__callable__" in value:
        asked = value["__callable__"]
        found = importlib.import_module(asked["__module__"])
        for step in asked["__qualname__"].split("."):
            found = getattr(found, step)
        return found
    return value
