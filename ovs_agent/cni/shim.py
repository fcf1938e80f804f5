#!/usr/bin/python3 -IS
"""Warren's CNI plugin as a runtime calls it: hands the call to the agent of this host, and its answer back.

It decides nothing. It starts for every container, so it imports next to nothing: with `json` and `socket` it would
take 15 ms instead of 7.
"""

import _socket
import posix
import sys
from _json import encode_basestring_ascii as quote

SOCKET = "/run/warren/cni.sock"
VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]


def main() -> int:
    stdin = b"".join(iter(lambda: posix.read(0, 65536), b"")).decode("utf-8", "replace")
    environment = {
        key.decode(): value.decode("utf-8", "replace")
        for key, value in posix.environ.items()
        if key.startswith(b"CNI_")
    }
    command = environment.get("CNI_COMMAND", "")
    path = SOCKET
    if command == "VERSION" or '"socket"' in stdin:
        import json

        try:
            config = json.loads(stdin or "{}")
            path = config.get("socket") or SOCKET
        except (ValueError, AttributeError) as fault:
            return failed(6, f"The network configuration is not a JSON object: {fault}.")
        if command == "VERSION":
            version = config.get("cniVersion") or VERSIONS[-1]
            return printed(0, json.dumps({"cniVersion": version, "supportedVersions": VERSIONS}).encode())
        if not isinstance(path, str):
            return failed(7, f"Field 'socket' is {json.dumps(path)}; give the path of the agent's socket.")
    if not command:
        posix.write(2, b"Warren CNI plugin; for container runtimes. CNI_COMMAND=VERSION tells what it supports.\n")
    pairs = ",".join(f"{quote(key)}:{quote(value)}" for key, value in environment.items())
    try:
        reply = ask(path, f'{{"env":{{{pairs}}},"stdin":{quote(stdin)}}}\n'.encode())
    except OSError as fault:
        code = 50 if command == "STATUS" else 11
        return failed(code, f"Warren's agent does not answer at {path} ({fault.strerror}); start it and try again.")
    if not reply:
        return failed(11, f"Warren's agent at {path} went away before it had answered; try again.")
    return printed(reply[0] - ord("0"), reply[1:])


def ask(path: str, request: bytes) -> bytes:
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    agent.connect(path)
    agent.sendall(request)
    return b"".join(iter(lambda: agent.recv(65536), b""))


def failed(code: int, sentence: str) -> int:
    return printed(1, f'{{"cniVersion":"{VERSIONS[-1]}","code":{code},"msg":{quote(sentence)}}}'.encode())


def printed(code: int, text: bytes) -> int:
    while text:
        text = text[posix.write(1, text) :]
    return code


if __name__ == "__main__":
    sys.stdout = sys.stderr = None  # nothing was written there: do not flush on the way out
    posix._exit(main())
