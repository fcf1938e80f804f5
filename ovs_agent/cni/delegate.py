"""Another plugin that gives the addresses in Warren's place: `host-local`, `static` or any other IPAM plugin.

It is called as the specification has it: found in CNI_PATH, with the caller's environment and the whole configuration.
It decides how long the plugin may take and what its failures are called. What its answer means it does not know.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovs_agent.cni.spec import BAD_CONFIG, IO_FAILURE, Call, CniError

PATIENCE = 20.0
"""Seconds."""


def ask(call: Call, command: str, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """Its answer; empty where it has none to give. Raises CniError, with its own code and sentence."""
    program = _find(call.delegate, environment.get("CNI_PATH", ""))
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
    try:
        done = subprocess.run(
            [program],
            input=json.dumps(call.config),
            capture_output=True,
            text=True,
            errors="replace",
            env={**inherited, **environment, "CNI_COMMAND": command},
            timeout=PATIENCE,
        )
    except (OSError, ValueError) as fault:
        raise CniError(IO_FAILURE, f"IPAM plugin {program} cannot be run: {fault}.") from None
    except subprocess.TimeoutExpired:
        raise CniError(IO_FAILURE, f"IPAM plugin {program} did not answer within {PATIENCE:g} s.") from None
    try:
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CniError(IO_FAILURE, f"IPAM plugin {program} answered no JSON: {done.stdout.strip()[:200]!r}.")
    if done.returncode == 0:
        return answer
    code = answer.get("code")
    said = str(answer.get("msg") or done.stderr.strip()[:200] or f"exit code {done.returncode}").rstrip(".")
    details = str(answer.get("details") or "")
    raise CniError(
        code if isinstance(code, int) and code else IO_FAILURE, f"IPAM plugin '{call.delegate}': {said}.", details
    )


def _find(name: str, path: str) -> Path:
    for folder in path.split(":"):
        if folder and (program := Path(folder, name)).is_file():
            return program
    raise CniError(BAD_CONFIG, f"Field 'ipam.type' is '{name}', which is not in CNI_PATH ({path}); install it there.")
