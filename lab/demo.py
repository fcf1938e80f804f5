"""The first thing people see: two tenants with endpoints on every host, and the packets that prove them apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from client import change
from client.progress import Step
from client.rest import Problem, Rest
from lab.endpoint import Wanted
from lab.lab import SIDE_BY_SIDE, Lab
from lab.probe import Answer

TENANTS = ("red", "blue")
PER_HOST = 2
PATIENCE = 30.0


def run(lab: Lab, hosts: int | None, port: int) -> list[Answer]:
    """Make what is missing, then let everybody ask everybody."""
    started = lab.up(hosts, port)
    rest = lab.rest
    with Step("Tenants", total=len(TENANTS)) as step:
        for name in TENANTS:
            _tenant(rest, name)
            step.advance()
    there = {one.name for one in lab.endpoints()}
    missing = [
        (f"h{n}", f"{tenant}{(n - 1) * PER_HOST + k}", tenant)
        for n in range(1, started.hosts + 1)
        for k in range(1, PER_HOST + 1)
        for tenant in TENANTS
    ]
    missing = [one for one in missing if one[1] not in there]
    if missing:
        with Step("Endpoints", total=len(missing)) as step, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:

            def one(host: str, name: str, tenant: str) -> None:
                lab.run(host, Wanted(name, f"{tenant}/default", {"app": "demo"}))
                step.advance()

            for done in [pool.submit(one, *each) for each in missing]:
                done.result()
    with Step("Live on every host"):
        change.wait(rest, rest.get("/revisions", params={"limit": 1}).body["revision"], PATIENCE)
    with Step("Probe"):
        return lab.probe(tenants=TENANTS)


def _tenant(rest: Rest, name: str) -> None:
    try:
        rest.post("/tenants", {"name": name, "labels": {"demo": "yes"}})
    except Problem as problem:
        if problem.status != 409:
            raise
