"""The calls that are compared, as a user would make them, and what is equal about two answers."""
import hashlib
import json
import re
from dataclasses import dataclass

UPLOAD = 8_500_000
WEB = b'<agent_config>\n  <localfile><location>/var/log/web.log</location><log_format>syslog</log_format></localfile>\n' \
      b"</agent_config>\n"
NEW_RULES = b'<group name="new,"><rule id="100500" level="3"><description>New.</description></rule></group>\n'
NEW_KEY = "f" * 64
# Where our answer is another one, and why.
GROUPS = "the original never sets the end and the chunks of last_sync_agentgroup"
UNREADABLE = "the original's error is no JSON, so its own framework cannot read it"
DIFFERENT = {("w", "/cluster/healthcheck"): GROUPS, ("m", "/cluster/healthcheck"): GROUPS,
             ("w", "/cluster/healthcheck?nodes_list=w"): GROUPS, ("m", "/cluster/healthcheck?nodes_list=w"): GROUPS,
             ("w", "/overview/agents"): UNREADABLE}
XML, OCTETS = "application/xml", "application/octet-stream"


@dataclass
class Call:
    """One call. `through` is the node whose API is asked; `why` says what may differ, and then must not be equal."""
    through: str
    method: str
    path: str
    body: object = None
    kind: str = OCTETS
    basic: str = ""
    why: str = ""

    def name(self):
        return f"{self.through} {self.method} {self.path}" + (f" (as {self.basic})" if self.basic else "")


def calls():
    """All, in their order: the later ones rest on what the earlier have made."""
    yield Call("w", "POST", "/security/user/authenticate?raw=true", basic="wazuh:wazuh")
    yield Call("w", "POST", "/security/user/authenticate", basic="wazuh:wrong")
    yield Call("w", "POST", "/security/user/authenticate", basic="nobody:wazuh")
    yield Call("m", "POST", "/security/user/authenticate", basic="wazuh:wazuh")
    yield Call("m", "POST", "/security/user/authenticate", basic="wazuh:wrong")
    yield from questions()
    yield from groups()
    yield from agents()
    yield from files()
    yield from orders()
    yield from security()


def questions():
    """What changes nothing, through both nodes."""
    of_node = ("status", "info", "configuration", "configuration?section=cluster", "daemons/stats", "stats",
               "stats/hourly", "stats/weekly", "stats/analysisd", "stats/remoted", "logs?limit=1", "logs/summary",
               "configuration/analysis/global", "configuration/auth/auth")
    paths = [
        "/", "/agents?limit=500", "/agents?select=id,name,node_name,status&sort=-id", "/agents?status=active",
        "/agents?agents_list=001,299,999", "/agents?search=agent00&limit=3&offset=2", "/agents?q=id=005",
        "/agents?select=nothing", "/agents/001/key", "/agents/999/key", "/agents/no_group?limit=2",
        "/agents/outdated?limit=2", "/agents/stats/distinct?fields=node_name,status", "/agents/summary",
        "/agents/summary/os", "/agents/summary/status", "/agents/001/group/is_sync", "/agents/001/config/agent/client",
        "/agents/001/stats/logcollector", "/agents/001/daemons/stats", "/overview/agents",
        "/groups", "/groups/default/agents", "/groups/default/files", "/groups/default/configuration",
        "/groups/default/files/agent.conf", "/groups/none/agents",
        "/cluster/local/info", "/cluster/local/config", "/cluster/nodes", "/cluster/nodes?type=worker", "/cluster/status",
        "/cluster/healthcheck", "/cluster/healthcheck?nodes_list=w", "/cluster/ruleset/synchronization",
        "/cluster/api/config", "/cluster/api/config?nodes_list=w", "/cluster/configuration/validation",
        "/cluster/nope/status", "/manager/status", "/manager/info", "/manager/configuration", "/manager/stats",
        "/manager/logs?limit=1", "/manager/api/config", "/manager/daemons/stats",
        "/rules?limit=2", "/rules?rule_ids=100100,5", "/rules/groups", "/rules/files", "/rules/files/local_rules.xml",
        "/decoders?limit=2", "/decoders/files", "/decoders/parents", "/lists", "/lists/files",
        "/lists/files/colours?raw=true", "/mitre/tactics?limit=1", "/rootcheck/001", "/sca/001", "/syscheck/001",
        "/syscheck/001/last_scan", "/syscollector/001/os", "/syscollector/001/packages", "/ciscat/001/results",
        "/tasks/status", "/security/users", "/security/users/me", "/security/users/me/policies", "/security/roles",
        "/security/policies", "/security/rules", "/security/resources", "/security/actions", "/security/config",
    ] + [f"/cluster/{node}/{what}" for node in ("m", "w") for what in of_node]
    for through in ("w", "m"):
        for path in paths:
            yield Call(through, "GET", path, why=DIFFERENT.get((through, path), ""))


def groups():
    """Made and used at once."""
    for through, group in (("w", "web"), ("m", "db")):
        yield Call(through, "POST", "/groups", {"group_id": group})
        yield Call(through, "PUT", f"/agents/001/group/{group}")
        yield Call(through, "PUT", f"/agents/group?group_id={group}&agents_list=002,003,999")
        yield Call(through, "GET", f"/groups/{group}/agents?select=id,group")
        yield Call(through, "GET", "/agents?agents_list=001,002,003&select=id,group")
        yield Call(through, "POST", "/groups", {"group_id": group})
        yield Call(through, "PUT", f"/groups/{group}/configuration", WEB, XML)
        yield Call(through, "PUT", f"/groups/{group}/configuration", b"<agent_config>", XML)
        yield Call(through, "GET", f"/groups/{group}/configuration")
        yield Call(through, "GET", f"/groups/{group}/files")
        yield Call(through, "DELETE", f"/agents/002/group/{group}")
        yield Call(through, "DELETE", f"/agents/group?agents_list=003&group_id={group}")
        yield Call(through, "DELETE", f"/groups?groups_list={group},none")
        yield Call(through, "GET", "/groups")


def agents():
    """Added and removed, with ids that follow from the order."""
    first = 301
    for through in ("w", "m"):
        yield Call(through, "POST", "/agents", {"name": f"new-{through}", "ip": "any"})
        yield Call(through, "POST", "/agents", {"name": f"new-{through}", "ip": "any"})
        yield Call(through, "POST", "/agents/insert", {"name": f"own-{through}", "ip": "any", "id": f"{first + 400}",
                                                      "key": NEW_KEY})
        yield Call(through, "POST", f"/agents/insert/quick?agent_name=quick-{through}")
        yield Call(through, "GET", f"/agents?agents_list={first},{first + 400},{first + 401}&select=id,name,ip,status")
        yield Call(through, "DELETE", f"/agents?agents_list={first},{first + 400},{first + 401},999"
                                      "&status=all&older_than=0s&purge=true")
        yield Call(through, "GET", "/agents?q=id>300&select=id,name")
        first += 402


def files():
    """Uploads, and what they were."""
    upload = (b"line%07d:\n" * 1000 % tuple(range(1000)))[: 13 * 1000]
    for through in ("w", "m"):
        yield Call(through, "PUT", "/lists/files/upload", (upload * (UPLOAD // len(upload) + 1))[:UPLOAD // 13 * 13])
        yield Call(through, "PUT", "/lists/files/upload", b"a:1\n")
        yield Call(through, "PUT", "/lists/files/upload?overwrite=true", b"a:1\n")
        yield Call(through, "GET", "/lists/files/upload?raw=true")
        yield Call(through, "DELETE", "/lists/files/upload")
        yield Call(through, "PUT", "/lists/files/bad", b"no colon\n")
        yield Call(through, "PUT", "/rules/files/new.xml", NEW_RULES)
        yield Call(through, "PUT", "/rules/files/new.xml?overwrite=true", b"<group>")
        yield Call(through, "DELETE", "/rules/files/new.xml")
        yield Call(through, "PUT", "/cluster/w/configuration", b"<ossec_config></ossec_config>")
        yield Call(through, "GET", "/groups/default/files/big.txt?raw=true")


def orders():
    """What wants other daemons, and says so."""
    for through in ("w", "m"):
        for path in ("/agents/001/restart", "/agents/restart?agents_list=001,011", "/agents/reconnect?agents_list=001,011",
                     "/agents/node/w/restart", "/agents/group/default/restart", "/cluster/restart?nodes_list=w",
                     "/cluster/analysisd/reload", "/manager/analysisd/reload"):
            yield Call(through, "PUT", path)
        yield Call(through, "PUT", "/active-response?agents_list=001,011", {"command": "!test.sh"})
        yield Call(through, "PUT", "/logtest", {"event": "e", "log_format": "syslog", "location": "l"})
        yield Call(through, "POST", "/events", {"events": ["one"]})


def security():
    """Users and what they may."""
    for through in ("w", "m"):
        yield Call(through, "POST", "/security/users", {"username": f"user-{through}", "password": "Secret-1.Word"})
        yield Call(through, "POST", "/security/user/authenticate", basic=f"user-{through}:Secret-1.Word")
        yield Call(through, "POST", "/security/users", {"username": f"user-{through}", "password": "Secret-1.Word"})
        yield Call(through, "POST", "/security/roles", {"name": f"role-{through}"})
        yield Call(through, "GET", "/security/roles?search=role-")
        yield Call(through, "PUT", "/security/users/100/run_as?allow_run_as=true")
        yield Call(through, "DELETE", "/security/roles?role_ids=100")
        yield Call(through, "DELETE", "/security/users?user_ids=100")
        yield Call(through, "PUT", "/security/user/revoke")
        # It takes the token of the one who asks.
        yield Call(through, "GET", "/agents/summary/status")


TIME = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
# The key of an agent that the registrar has made, as it is and as an agent imports it.
KEY = re.compile(r"\b[0-9a-f]{64}\b|\b[A-Za-z0-9+/]{90,}={0,2}")
# Of an installation, made at random.
UUID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def mask(value):
    """An answer without its times, tokens and random keys."""
    if isinstance(value, dict):
        return {name: mask(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [mask(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if len(value) > 100_000:
        return f"{len(value)} characters of SHA-256 {hashlib.sha256(value.encode()).hexdigest()}"
    for pattern, name in ((TIME, "time"), (TOKEN, "token"), (KEY, "key"), (UUID, "uuid")):
        value = pattern.sub(f"<{name}>", value)
    return value


def readable(answer):
    """What is compared of an answer: its status and its body."""
    status, kind, body = answer
    if "json" in kind:
        return {"status": status, "body": mask(json.loads(body))}
    return {"status": status, "body": mask(body.decode(errors="replace"))}


def differences(one, other, place=""):
    """Where two values differ, as `place: one | other`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [text for name in sorted({*one, *other})
                for text in differences(one.get(name, "(none)"), other.get(name, "(none)"), f"{place}.{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [text for at, (a, b) in enumerate(zip(one, other)) for text in differences(a, b, f"{place}[{at}]")]
    if one == other:
        return []
    return [f"{place.lstrip('.')}: {shown(one)} | {shown(other)}"]


def shown(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) < 300 else f"{text[:300]}… ({len(text)} characters)"
