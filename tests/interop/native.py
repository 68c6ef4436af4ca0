#!/usr/bin/env python3
"""Sessions of two nodes that run this daemon (spec/native.md 1 and 2.8), in code of their own.

`python3 native.py` prints the vectors of tests/fixtures/vectors/native_session.json.
"""
import base64
import hashlib
import hmac
import json
import os
import struct

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FIELD = b"session ----"
FRAME = 1 << 20
PIECE = FRAME - 20 - 64 - 12


def nonce_text(nonce):
    return base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()


def nonce_bytes(text):
    return base64.urlsafe_b64decode(text + "==")


def transcript(payloads):
    """Of hello, its answer, the offer and its answer."""
    return hashlib.sha256(b"".join(struct.pack("!Q", len(p)) + p for p in payloads)).digest()


class Session:
    """One end: `is_master` says which."""

    def __init__(self, key, master_nonce, worker_nonce, cluster, master, worker, payloads, is_master):
        names = [name.encode() for name in (cluster, master, worker)]

        def derive(label):
            info = b"\0".join([b"threatlockdown cluster session 1", *names, transcript(payloads), label.encode()])
            return HKDF(hashes.SHA256(), 32, master_nonce + worker_nonce, info).derive(key.encode())

        self.keys = {label: derive(label) for label in ("w2m enc", "w2m mac", "m2w enc", "m2w mac")}
        self.outward, self.inward = ("m2w", "w2m") if is_master else ("w2m", "m2w")
        self.sent = self.received = 0

    def _mac(self, direction, number, header, data):
        return hmac.new(self.keys[direction + " mac"], struct.pack("!Q", number) + header + data, "sha256").digest()

    def seal(self, counter, command, payload, iv=None):
        """One frame; `command` has 12 bytes."""
        iv = iv or os.urandom(16)
        padder = padding.PKCS7(128).padder()
        plain = padder.update(command + payload) + padder.finalize()
        encryptor = Cipher(algorithms.AES(self.keys[self.outward + " enc"]), modes.CBC(iv)).encryptor()
        data = iv + encryptor.update(plain) + encryptor.finalize()
        header = struct.pack("!II12s", counter, len(data) + 32, FIELD)
        frame = header + data + self._mac(self.outward, self.sent, header, data)
        self.sent += 1
        return frame

    def open(self, header, body):
        """The command, 12 bytes, and the payload of a frame."""
        if header[8:] != FIELD or len(header) + len(body) > FRAME:
            raise ValueError("no session frame")
        data, tag = body[:-32], body[-32:]
        if not hmac.compare_digest(tag, self._mac(self.inward, self.received, header, data)):
            raise ValueError("a session frame that cannot be verified")
        self.received += 1
        decryptor = Cipher(algorithms.AES(self.keys[self.inward + " enc"]), modes.CBC(data[:16])).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        plain = unpadder.update(decryptor.update(data[16:]) + decryptor.finalize()) + unpadder.finalize()
        return plain[:12], plain[12:]


def vectors():
    cases = []
    for number, (key, cluster, master, worker) in enumerate((
            ("c98b62a9b6169ac5f67dae55ae4a9088", "wazuh", "m", "w1"),
            ("0123456789abcdefghijklmnopqrstuv", "a-cluster", "master_1", "n\u00f6de"))):
        master_nonce, worker_nonce = bytes(range(number, number + 16)), bytes(range(100, 116))
        payloads = [f"{worker} {cluster} worker 4.14.7".encode(),
                    f"Client {worker} added native/1 {nonce_text(master_nonce)}".encode(),
                    json.dumps({"nonce": nonce_text(worker_nonce), "features": ["digest", "session"]}).encode(),
                    json.dumps({"features": ["digest", "session"], "master": master}).encode()]
        ends = [Session(key, master_nonce, worker_nonce, cluster, master, worker, payloads, is_master)
                for is_master in (True, False)]
        frames = []
        for at, (sender, command, payload) in enumerate((
                (1, b"hello ------", payloads[0]), (0, b"ok ---------", b"Client added"), (1, b"syn_i_w_m_p ", b""),
                (0, b"ok ---------", b"True"), (1, b"echo -------", b"four"), (1, b"echo -------", bytes(range(256))),
                (0, b"ok --------d", b"x" * 4096), (0, b"ok ---------", b"y"))):
            iv = hashlib.sha256(bytes([number, at])).digest()[:16]
            frame = ends[sender].seal(1000 + at, command, payload, iv)
            if ends[1 - sender].open(frame[:20], frame[20:]) != (command, payload):
                raise AssertionError("it does not open")
            frames.append({"from": ("master", "worker")[sender], "header": frame[:20].hex(), "iv": iv.hex(),
                           "plain": (command + payload).hex(), "body": frame[20:].hex()})
        cases.append({"key": key, "cluster": cluster, "master": master, "worker": worker,
                      "master_nonce": master_nonce.hex(), "worker_nonce": worker_nonce.hex(),
                      "transcript": [payload.hex() for payload in payloads],
                      "keys": {label: key.hex() for label, key in ends[0].keys.items()}, "frames": frames})
    return {"note": "Made by tests/interop/native.py; spec/native.md 2.8", "cases": cases}


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1))
