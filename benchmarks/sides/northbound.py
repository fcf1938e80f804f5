"""A client of OVN's northbound database: one transaction, and until every host has said that it carries it.

The same as `ovn-nbctl --wait=hv` does (raise nb_cfg, wait for hv_cfg), over a connection that is kept, so that what is
measured is OVN and not the start of a process. It knows no more of OVN than that.
"""

from __future__ import annotations

import itertools
import json
import socket
from pathlib import Path
from typing import Any

DATABASE = "OVN_Northbound"
_EVERY_ROW: list[Any] = []


class Northbound:
    def __init__(self, path: Path) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.settimeout(120)
        self._line.connect(str(path))
        self._rest = ""
        self._numbers = itertools.count()
        self._confirmed = 0
        self._call("monitor", DATABASE, None, {"NB_Global": {"columns": ["hv_cfg"]}})

    def close(self) -> None:
        self._line.close()

    def confirmed(self, *operations: dict[str, Any]) -> None:
        """Returns when all hosts carry what the operations ask for."""
        raised = {"op": "mutate", "table": "NB_Global", "where": _EVERY_ROW, "mutations": [["nb_cfg", "+=", 1]]}
        number = {"op": "select", "table": "NB_Global", "where": _EVERY_ROW, "columns": ["nb_cfg"]}
        results = self._call("transact", DATABASE, *operations, raised, number)
        wanted = results[-1]["rows"][0]["nb_cfg"]
        while self._confirmed < wanted:
            self._notified(self._message())

    def _call(self, method: str, *params: object) -> Any:
        number = next(self._numbers)
        self._send({"method": method, "params": params, "id": number})
        while True:
            said = self._message()
            if said.get("id") == number and "result" in said:
                for fault in (said, *(one for one in said["result"] if isinstance(one, dict))):
                    if fault.get("error"):
                        raise RuntimeError(f"OVN's database refused: {fault['error']} {fault.get('details', '')}")
                return said["result"]
            self._notified(said)

    def _notified(self, said: dict[str, Any]) -> None:
        if said["method"] == "echo":
            self._send({"result": said["params"], "error": None, "id": said["id"]})
        elif said["method"] == "update":
            for row in said["params"][1]["NB_Global"].values():
                self._confirmed = row["new"]["hv_cfg"]

    def _send(self, message: dict[str, Any]) -> None:
        self._line.sendall(json.dumps(message).encode())

    def _message(self) -> dict[str, Any]:
        """The next one; nothing stands between two messages."""
        while True:
            if self._rest:
                try:
                    message, end = json.JSONDecoder().raw_decode(self._rest)
                except json.JSONDecodeError:
                    pass
                else:
                    self._rest = self._rest[end:]
                    return dict(message)
            more = self._line.recv(1 << 16)
            if not more:
                raise RuntimeError("OVN's database closed the connection")
            self._rest += more.decode()
