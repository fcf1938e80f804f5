"""DNS answers as they are on the wire, read into names and addresses. Whether one is believed is decided elsewhere."""

from __future__ import annotations

import ipaddress

from dns.flags import QR, TC
from dns.message import ChainingResult, QueryMessage, from_wire
from dns.name import Name
from dns.opcode import QUERY
from dns.rcode import NOERROR
from dns.rdataclass import IN
from dns.rdatatype import AAAA, A

from controller.calc.names import Chain


def read(message: bytes) -> Chain | None:
    """None unless it answers a question for A or AAAA with addresses.

    What was cut short says nothing: who asked asks again by TCP.
    """
    try:
        found = from_wire(message, ignore_trailing=True, raise_on_truncation=False)
        if not isinstance(found, QueryMessage) or not _answers(found):
            return None
        chain = found.resolve_chaining()
    except Exception:
        # Strangers' bytes, so whatever the library raises: it may be there twice in a process, with classes of its own.
        return None
    return _chain(found.question[0].name, chain)


def _answers(message: QueryMessage) -> bool:
    asked = message.question[0] if len(message.question) == 1 else None
    return (
        message.opcode() == QUERY
        and message.rcode() == NOERROR
        and message.flags & (QR | TC) == QR
        and asked is not None
        and asked.rdclass == IN
        and asked.rdtype in (A, AAAA)
    )


def _chain(question: Name, found: ChainingResult) -> Chain | None:
    if found.answer is None:
        return None
    aliases = tuple((rrset.ttl, _text(rrset[0].target)) for rrset in found.cnames)
    ips = (ipaddress.ip_address(record.address) for record in found.answer)
    return Chain(_text(question), aliases, tuple((found.answer.ttl, (ip.version, int(ip))) for ip in ips))


def _text(name: Name) -> str:
    """In lower case and without a final dot, as rules say names."""
    return name.to_text(omit_final_dot=True).lower()
