TEXTS = {
    1000: "Wazuh Internal Error",
    1017: "Some Wazuh daemons are not ready yet",
    1726: "Wazuh authd is not running",
    3021: "Timeout executing API request",
    3034: "Error sending file",
}


class WazuhException(Exception):
    title = "Wazuh Exception"

    def __init__(self, code, extra_message=None, cmd_error=False, dapi_errors=None):
        self.code, self.extra_message, self.cmd_error = code, extra_message, cmd_error
        self.dapi_errors = dapi_errors or {}
        text = TEXTS.get(code, "")
        self.message = extra_message if cmd_error else f"{text}: {extra_message}" if extra_message else text

    def __str__(self):
        return f"Error {self.code} - {self.message}"

    def to_dict(self):
        return {
            "type": "about:blank",
            "title": self.title,
            "code": self.code,
            "extra_message": self.extra_message,
            "extra_remediation": None,
            "cmd_error": self.cmd_error,
            "dapi_errors": self.dapi_errors,
        }


class WazuhInternalError(WazuhException):
    title = "Wazuh Internal Error"


class WazuhClusterError(WazuhInternalError):
    title = "Wazuh Cluster Error"


class WazuhError(WazuhException):
    title = "Bad Request"
