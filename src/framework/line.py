# The end of the line that a program of wazuh-clusterd holds: frames of a length, a kind and a payload, over standard input.
# The program's own source follows in the same text.
import json
import logging
import os
import socket
import struct
import sys
import threading

REQUEST, RESULT, REFUSED, LOG, READY, LAST, FAILED = range(1, 8)


class Line:
    """Frames over a connected socket."""

    def __init__(self, connected):
        self.socket = connected
        self.lock = threading.Lock()

    def receive(self):
        """The kind and the payload of the next frame; the process ends with the line."""
        length, kind = struct.unpack(">IB", self.take(5))
        return kind, self.take(length)

    def send(self, kind, payload):
        header = struct.pack(">IB", len(payload), kind)
        with self.lock:
            try:
                if len(payload) < 65536:
                    # A short frame goes as a whole.
                    return self.socket.sendall(header + payload)
                self.socket.sendall(header)
                self.socket.sendall(payload)
            except OSError:
                os._exit(0)

    def log(self, level, text):
        """A line for cluster.log; `level` is one of E, W, I, D."""
        self.send(LOG, f"{level}{text}".encode(errors="replace")[:16384])

    def take(self, length):
        taken = bytearray(length)
        view, have = memoryview(taken), 0
        while have < length:
            count = self.socket.recv_into(view[have:])
            if count == 0:
                os._exit(0)
            have += count
        return bytes(taken)


class DaemonLog(logging.Handler):
    """Hands records on as lines for cluster.log. A traceback becomes the place of its last step: its text may hold what a
    request holds."""

    def __init__(self, to):
        super().__init__()
        self.to = to

    def emit(self, record):
        text = record.getMessage()
        if record.exc_info and record.exc_info[2]:
            step = record.exc_info[2]
            while step.tb_next:
                step = step.tb_next
            code = step.tb_frame.f_code
            text += f" ({os.path.basename(code.co_filename)}:{step.tb_lineno}, {code.co_name})"
        level = "E" if record.levelno >= 40 else "W" if record.levelno >= 30 else "I" if record.levelno >= 20 else "D"
        self.to.log(level, text)


try:
    # When memory runs out, this is what can be missed first.
    with open("/proc/self/oom_score_adj", "w") as adjust:
        adjust.write("500")
except OSError:
    pass
line = Line(socket.socket(fileno=os.dup(0)))


def tell_end(kind, error, _):
    line.send(FAILED, f"{kind.__name__}: {error}".encode(errors="replace")[:4096])


# From here on the daemon learns by the line what ends this program, and nothing that is written is kept anywhere.
sys.excepthook = tell_end
nothing = os.open(os.devnull, os.O_RDWR)
for standard in (0, 2):
    os.dup2(nothing, standard)
os.close(nothing)
settings = json.loads(line.receive()[1])
if os.path.isfile(os.path.join(settings["home"], "framework/wazuh/__init__.py")):
    sys.path.insert(0, os.path.join(settings["home"], "framework"))
