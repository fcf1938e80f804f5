"""The sentence on top of each page, and how numbers and ages read. Pure: facts and the time are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from web.pace import Pace

Item = Mapping[str, Any]
NAMES_IN_A_SENTENCE = 3
COUNTABLE = 1_000_000


class Lead(NamedTuple):
    """`lead` says how it is, `under` what follows from it or what to do, `mark` the state of it all as one sign."""

    lead: str
    under: str = ""
    mark: str = "wrong"


def overview(hosts: Sequence[Item], counts: Mapping[str, int], pace: Pace, now: datetime) -> Lead:
    """What the person on call wants to know first: the worst thing there is, else that all is well."""
    if not hosts:
        return Lead("No hosts yet.", "Warren is running; give it a machine to connect.", "unknown")
    total = many(len(hosts), "host")
    if silent := [host for host in hosts if host["state"] == "silent"]:
        return _silent(silent, total, now)
    if degraded := [host for host in hosts if host["state"] == "degraded"]:
        return Lead(f"{names(degraded)} {'needs' if len(degraded) == 1 else 'need'} a look.", complaint(degraded[0]))
    if down := counts.get("down", 0):
        return Lead(
            f"{total}, {many(down, 'endpoint')} down.",
            "Its port is missing on its host's bridge."
            if down == 1
            else "Their ports are missing on their hosts' bridges.",
        )
    if pace.waiting_for:
        return Lead(f"{total}; the last change is applying on {len(pace.waiting_for)}.", mark="changing")
    if pace.state == "pending" and any(host["state"] == "up" for host in hosts):
        return Lead(
            f"{total}; the last change waits for a controller.",
            f"None has computed revision {pace.revision} yet. Look whether `warren controller` runs.",
            "changing",
        )
    waiting = [host for host in hosts if host["state"] in ("new", "enrolled")]
    if len(waiting) == len(hosts):
        todo = "Start `warren agent` on each with the token that was shown when it was created."
        return Lead(f"{total}, none heard yet.", todo, "unknown")
    live = f"; last change live after {duration(pace.milliseconds)}" if pace.milliseconds is not None else ""
    if waiting:
        return Lead(f"{total}, {names(waiting)} not heard yet{live}.", "The others are in step.", "ok")
    return Lead(f"{total}, {'all ' if len(hosts) > 1 else ''}in step{live}.", mark="ok")


def own_overview(counts: Mapping[str, int]) -> Lead:
    """The same for somebody who sees some tenants only."""
    total = f"{many(counts['endpoints'], 'endpoint')} in {many(counts['networks'], 'network')}"
    if down := counts["down"]:
        lost = "Its port is" if down == 1 else "Their ports are"
        return Lead(f"{total}, {thousands(down)} down.", f"{lost} missing on the host; Warren repairs what it can.")
    if not counts["endpoints"]:
        return Lead(f"{total}.", "An endpoint appears here when a container is attached.", "unknown")
    return Lead(f"{total}; none is down.", mark="ok")


def _silent(silent: Sequence[Item], total: str, now: datetime) -> Lead:
    longest = min(silent, key=lambda host: host["seen_at"])
    lost = sum(host["endpoints"] for host in silent)
    since = f"for {age(longest['seen_at'], now)}"
    said = f"{names(silent)} silent {since}" if len(silent) == 1 else f"{names(silent)} silent, the longest {since}"
    whose, machines = (
        ("Its agent does", "the machine is") if len(silent) == 1 else ("Their agents do", "the machines are")
    )
    return Lead(
        f"{said}: {many(lost, 'endpoint') + ' out of sight' if lost else 'no endpoint there'}.",
        f"{whose} not report: look whether {machines} up and `warren agent` runs there. {total} in all.",
    )


def complaint(host: Item) -> str:
    """Why a host is degraded, and what to do."""
    if host["error"]:
        return f"{host['name']}'s bridge refused a change: {host['error']}"
    problems = host["agent"].get("problems") or []
    if problems:
        return f"{host['name']} says: {problems[0]}"
    return (
        f"{host['name']}'s bridge has no controller. It carries on with the flows it has; "
        "changes wait. Look whether `warren controller` runs and can be reached from there."
    )


def hosts(items: Sequence[Item]) -> str:
    states = {state: sum(item["state"] == state for item in items) for state in ("up", "degraded", "silent")}
    if not items:
        return "A host is a Linux machine with Open vSwitch and Warren's agent."
    if states["up"] == len(items):
        return "All of them report, are connected and have no problem."
    said = [f"{count} {state}" for state, count in states.items() if count]
    return f"{', '.join(said)}." if said else "None has an agent that reports yet."


def host_states(items: Sequence[Item]) -> list[tuple[str, int, str]]:
    """How many hosts are in each state, as (mark, count, word); only states that there are."""
    applying = sum(item["state"] == "up" and item["wanted_revision"] > item["confirmed_revision"] for item in items)
    count = {state: sum(item["state"] == state for item in items) for state in ("up", "degraded", "silent", "new")}
    waiting = count["new"] + sum(item["state"] == "enrolled" for item in items)
    said = (
        ("ok", count["up"] - applying, "in step"),
        ("changing", applying, "applying"),
        ("wrong", count["degraded"], "degraded"),
        ("wrong", count["silent"], "silent"),
        ("unknown", waiting, "not heard yet"),
    )
    return [one for one in said if one[1]]


def host_mark(item: Item) -> tuple[str, str]:
    """A host's state as a mark and a word."""
    match item["state"]:
        case "up":
            behind = item["wanted_revision"] > item["confirmed_revision"]
            return ("changing", "applying") if behind else ("ok", "in step")
        case "degraded" | "silent":
            return "wrong", str(item["state"])
    return "unknown", str(item["state"])


def size(octets: float) -> str:
    for unit in ("B", "kB", "MB"):
        if octets < 1000:
            return f"{octets:.{int(octets < 10 and unit != 'B')}f} {unit}"
        octets /= 1000
    return f"{octets:.1f} GB"


def rate(octets: float) -> str:
    """Bytes a second, as bits."""
    bits = octets * 8
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits < 1000:
            return f"{bits:.{0 if bits >= 10 or unit == 'bit/s' else 1}f} {unit}"
        bits /= 1000
    return f"{bits:.1f} Gbit/s"


def host(item: Item, now: datetime) -> str:
    match item["state"]:
        case "new":
            return "Not heard yet. Start `warren agent` there with its token; `warren host token` makes another."
        case "enrolled":
            return "Enrolled, but its agent has not reported yet."
        case "silent":
            lost = f"; {many(item['endpoints'], 'endpoint')} out of sight" if item["endpoints"] else ""
            return f"Silent for {age(item['seen_at'], now)}{lost}. Look whether it is up and `warren agent` runs there."
        case "degraded":
            return f"{complaint(item)}"
    if item["wanted_revision"] > item["confirmed_revision"]:
        return f"Revision {item['wanted_revision']} is on its way to its bridge."
    return f"In step: its bridge has everything that {many(item['endpoints'], 'endpoint')} there need."


def endpoint(item: Item) -> str:
    where = f"on {item['host']}, in network {item['network']}"
    if item["out_of_sight"]:
        return f"{item['host']} is silent; when it was last heard, this was {item['state']} {where}."
    match item["state"]:
        case "up":
            return f"Up {where}."
        case "down":
            return f"Down: {item['host']}'s agent does not find its port {item['port_name']}; it repairs what it can."
    return f"Wanted {where}; {item['host']}'s agent has not said yet that its port is there."


def tenant(item: Item, down: int) -> str:
    lost = f", {thousands(down)} of them down" if down else ""
    return f"{many(item['networks'], 'network')}, {many(item['endpoints'], 'endpoint')}{lost}."


def network(item: Item) -> str:
    reach = (
        "Reachable from its own zone only; its addresses may exist elsewhere, too."
        if item["private"]
        else "Kept apart from the rest of its tenant."
        if item["isolated"]
        else f"Its endpoints reach all of {item['tenant']}'s."
    )
    return f"{many(item['endpoints'], 'endpoint')}. {reach}"


def policy(item: Item, rules: Sequence[Item]) -> str:
    whom = f"About {item['subject']}"
    unused = sum(not rule["packets"] for rule in rules)
    if not rules:
        return f"{whom}. It has no rules: it denies what nothing else accepts."
    if unused == len(rules):
        which = "Its rule" if len(rules) == 1 else f"None of its {many(len(rules), 'rule')}"
        return f"{whom}. {which} has matched {'no' if len(rules) == 1 else 'a'} packet yet."
    return f"{whom}. {many(len(rules), 'rule')}" + (
        f", {unused} of which never matched." if unused else ", all in use."
    )


def change(progress: Item) -> Lead:
    """How far a change has come."""
    hosts = progress["hosts"]
    number = progress["revision"]
    failed = [host for host in hosts if host["state"] == "failed"]
    if failed:
        said = "; ".join(f"{host['host']}: {host['error']}" for host in failed[:NAMES_IN_A_SENTENCE])
        return Lead(
            f"Change {number} was refused by {many(len(failed), 'host')}.", f"{said}. Undo it, or repair the host."
        )
    if progress["state"] == "applied":
        if behind := progress.get("unaware"):
            said = f"{names([{'name': name} for name in behind])} may still answer with older ones."
            return Lead(f"Change {number} is live, except for DNS names.", said, "changing")
        where = f"live on {many(len(hosts), 'host')}" if hosts else "live; no host had to change"
        return Lead(f"Change {number} is {where}.", mark="ok")
    away = [host["host"] for host in hosts if host["state"] == "disconnected"]
    done = sum(host["state"] == "applied" for host in hosts)
    under = f"{', '.join(away[:NAMES_IN_A_SENTENCE])} not connected: it is applied when they are back." if away else ""
    if not hosts:
        return Lead(f"Change {number} waits for a controller.", "Look whether `warren controller` runs.", "changing")
    return Lead(f"Change {number} is applying, {done} of {many(len(hosts), 'host')} done.", under, "changing")


def changed(entry: Item) -> list[str]:
    """What an entry of the audit log changed, in words; nothing where no field that is kept there did."""
    fields = {*(entry["before"] or {}), *(entry["after"] or {})} - {"version"}
    if not fields and (entry["noun"], entry["op"]) == ("user", "update"):
        return ["password"]  # of which nothing is kept
    return [name.replace("_", " ") for name in sorted(fields)]


def found(query: str, counts: Mapping[str, int]) -> str:
    if not query:
        return "Type a name, an address, a MAC or a VNI."
    one = {"policies": "policy"}
    said = [
        f"{thousands(count)} {noun if count != 1 else one.get(noun, noun.removesuffix('s'))}"
        for noun, count in counts.items()
        if count
    ]
    return f"{', '.join(said)}." if said else "Nothing has this name, address, MAC or VNI."


def names(items: Sequence[Item]) -> str:
    """`h1, h2 and 5 more`."""
    shown = [str(item["name"]) for item in items[:NAMES_IN_A_SENTENCE]]
    more = len(items) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def many(count: int, noun: str, plural: str = "s") -> str:
    return f"{thousands(count)} {noun}{'' if count == 1 else plural}"


def thousands(number: int) -> str:
    """`12 345`, with a narrow space that does not break."""
    return f"{number:,}".replace(",", "\u202f")


def free(subnets: Sequence[Item]) -> str:
    """Addresses left in the tightest subnet: the one that will run out first."""
    left = min((subnet["size"] - subnet["used"] for subnet in subnets), default=0)
    return thousands(left) if left < COUNTABLE else "plenty"


def room(subnet: Item) -> str:
    """How much of a subnet is taken; of more than can be counted only how many are."""
    if subnet["size"] > COUNTABLE:
        return f"{many(subnet['used'], 'address', 'es')} used"
    return f"{thousands(subnet['used'])} of {thousands(subnet['size'])} addresses used"


def duration(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{max(1, round(milliseconds))} ms"
    return f"{milliseconds / 1000:.1f} s"


def age(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "ever"
    seconds = max(0, int((now - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def ago(moment: datetime, now: datetime) -> str:
    return f"{age(moment, now)} ago"


def prose(text: str) -> Markup:
    """A sentence with its `commands` set as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )
