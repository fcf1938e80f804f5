"""DNS messages as bytes, checked against an independent library; strangers' bytes do no harm."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_agent.dns import cache, wire
from ovs_agent.dns.wire import Malformed


def asked(name: str = "www.example.org", kind: str = "A", **more: object) -> bytes:
    return dns.message.make_query(name, kind, **more).to_wire()  # type: ignore[arg-type]


def replied(
    question: bytes, id: int, *records: tuple[str, int, str, str], section: str = "answer", rcode: int = 0
) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(question), recursion_available=True)
    message.id = id
    message.set_rcode(dns.rcode.Rcode(rcode))
    for owner, ttl, kind, value in records:
        getattr(message, section).append(dns.rrset.from_text(owner, ttl, "IN", kind, value))
    return message.to_wire()


def test_a_query_is_understood() -> None:
    query = wire.parse_query(asked("WeB1.Web", "AAAA", use_edns=0, payload=4096, want_dnssec=True))
    assert query.labels == (b"web1", b"web") and query.type == wire.AAAA and query.cls == wire.IN
    assert query.edns is not None and query.edns.size == 4096 and query.edns.wants_signatures
    assert not query.edns.has_options and query.question.startswith(b"\x04WeB1")
    assert query.room(True) == wire.UDP_SIZE and query.room(False) == 0xFFFF
    assert wire.parse_query(asked()).room(True) == 512


@pytest.mark.parametrize(
    "harm",
    [
        lambda m: m[:11],
        lambda m: m[:-1],
        lambda m: m[:4] + b"\0\2" + m[6:],
        lambda m: m[:6] + b"\0\1" + m[8:],
        lambda m: m[:12] + b"\xc0\x0c" + m[14:],
        lambda m: m[:12] + b"\x7f" + m[13:],
        lambda m: bytes((*m[:2], m[2] | 0x80, *m[3:])),
        lambda m: m[:10] + b"\0\1" + m[12:],
    ],
)
def test_what_is_no_query_is_malformed(harm: object) -> None:
    with pytest.raises(Malformed):
        wire.parse_query(harm(asked()))  # type: ignore[operator]


@given(st.binary(max_size=80))
def test_strangers_bytes_are_refused_or_understood_and_never_answered_when_they_are_an_answer(data: bytes) -> None:
    try:
        query = wire.parse_query(data)
    except Malformed:
        refused = wire.refusal(data, wire.FORMERR)
        assert (refused is None) == (len(data) < 12 or bool(data[2] & 0x80))
        return
    assert dns.message.from_wire(wire.reply(query, 0xFFFF, wire.NXDOMAIN), one_rr_per_rrset=True).flags & dns.flags.QR


@given(st.integers(0, 300), st.integers(0, 255))
def test_a_broken_reply_is_malformed_or_read_and_nothing_else(at: int, byte: int) -> None:
    question = asked(use_edns=0)
    query = wire.parse_query(question)
    message = bytearray(replied(question, 7, ("www.example.org.", 60, "A", "192.0.2.1")))
    message[at % len(message)] = byte
    try:
        reply = wire.parse_reply(bytes(message), 7, query)
    except Malformed:
        return
    cache.render(reply, query, 0xFFFF, 3)


def test_a_reply_says_what_it_is_in_the_spelling_that_was_asked() -> None:
    query = wire.parse_query(asked("WeB1", use_edns=0))
    record = wire.record(wire.A, 1, bytes((10, 0, 0, 9)))
    message = dns.message.from_wire(wire.reply(query, 512, wire.NOERROR, record, (1, 0, 0), wire.AA))
    assert message.id == query.id and message.flags & dns.flags.AA and message.flags & dns.flags.RA
    assert message.question[0].name.to_text() == "WeB1."
    assert [str(rrset) for rrset in message.answer] == ["WeB1. 1 IN A 10.0.0.9"]
    assert message.edns == 0 and message.payload == wire.UDP_SIZE


def test_what_does_not_fit_is_cut_off_whole_and_asked_for_again() -> None:
    query = wire.parse_query(asked())
    record = wire.record(wire.A, 1, bytes(4))
    long = dns.message.from_wire(wire.reply(query, 512, 0, record * 40, (40, 0, 0)))
    assert long.flags & dns.flags.TC and not long.answer
    assert len(dns.message.from_wire(wire.reply(query, 0xFFFF, 0, record * 40, (40, 0, 0))).answer[0]) == 1, "all alike"


def test_what_is_passed_on_holds_the_question_and_nothing_of_the_askers() -> None:
    option = dns.edns.GenericOption(10, b"cookiee!")
    query = wire.parse_query(asked(use_edns=0, payload=4096, options=[option]))
    assert query.edns is not None and query.edns.has_options
    message = dns.message.from_wire(wire.question_for(query, 99))
    assert message.id == 99 and message.flags & dns.flags.RD and message.payload == wire.UDP_SIZE
    assert not message.options and message.question[0].name.to_text() == "www.example.org."


def test_a_reply_is_taken_apart_and_given_to_others() -> None:
    question = asked(use_edns=0)
    query = wire.parse_query(question)
    records = (("www.example.org.", 300, "CNAME", "a.example.net."), ("a.example.net.", 60, "A", "192.0.2.1"))
    reply = wire.parse_reply(replied(question, 7, *records), 7, query)
    assert reply.lifetime == 60 and reply.counts == (2, 0, 0)
    plain = wire.parse_query(asked("WWW.Example.ORG"))
    message = dns.message.from_wire(cache.render(reply, plain, 512, 50))
    assert [str(rrset) for rrset in message.answer] == [
        "WWW.Example.ORG. 250 IN CNAME a.example.net.",
        "a.example.net. 10 IN A 192.0.2.1",
    ]
    assert message.edns == -1, "who does not speak EDNS hears none"
    assert not message.flags & dns.flags.AA


def test_only_the_answer_to_what_was_asked_counts() -> None:
    question = asked()
    query = wire.parse_query(question)
    with pytest.raises(Malformed):
        wire.parse_reply(replied(question, 8), 7, query)
    with pytest.raises(Malformed):
        wire.parse_reply(replied(asked("ww2.example.org"), 7), 7, query)
    with pytest.raises(Malformed):
        wire.parse_reply(question[:2] + replied(question, 7)[2:-3], 7, query)


SOA = "ns.example.org. root.example.org. 1 7200 900 1209600"


@pytest.mark.parametrize(
    ("records", "section", "rcode", "lifetime"),
    [
        ([("example.org.", 900, "SOA", f"{SOA} 30")], "authority", wire.NXDOMAIN, 30),
        ([("example.org.", 20, "SOA", f"{SOA} 30")], "authority", wire.NOERROR, 20),
        ([("example.org.", 90000, "SOA", f"{SOA} 90000")], "authority", wire.NXDOMAIN, wire.MOST_KEPT_NEGATIVE),
        ([], "answer", wire.NXDOMAIN, 0),
        ([], "answer", wire.SERVFAIL, 0),
        ([("www.example.org.", 90000, "A", "192.0.2.1")], "answer", wire.NOERROR, wire.MOST_KEPT),
        ([("www.example.org.", 0, "A", "192.0.2.1")], "answer", wire.NOERROR, 0),
    ],
)
def test_how_long_a_reply_is_kept(
    records: list[tuple[str, int, str, str]], section: str, rcode: int, lifetime: int
) -> None:
    question = asked()
    reply = wire.parse_reply(
        replied(question, 7, *records, section=section, rcode=rcode), 7, wire.parse_query(question)
    )
    assert reply.lifetime == lifetime


def test_the_cache_forgets_in_time_and_when_there_are_too_many() -> None:
    kept = cache.Cache(most=2)
    queries = [wire.parse_query(asked(f"w{number}.example.org")) for number in range(3)]
    for number, query in enumerate(queries):
        question = asked(f"w{number}.example.org")
        reply = wire.parse_reply(replied(question, 7, (f"w{number}.example.org.", 60, "A", "192.0.2.1")), 7, query)
        kept.keep(cache.key(query), reply, 100.0)
    assert len(kept) == 2 and kept.find(cache.key(queries[0]), 100.0) is None
    found = kept.find(cache.key(wire.parse_query(asked("W2.Example.Org"))), 159.9)
    assert found is not None and found[1] == 59
    assert kept.find(cache.key(queries[2]), 160.0) is None and len(kept) == 1


def test_one_key_is_one_answer() -> None:
    keys = {
        cache.key(wire.parse_query(asked(**more))) for more in ({}, {"use_edns": 0}, {"use_edns": 0, "payload": 600})
    }  # type: ignore[arg-type]
    assert len(keys) == 1
    assert cache.key(wire.parse_query(asked(want_dnssec=True))) not in keys


def test_only_letters_of_names_are_alike() -> None:
    """The type HTTPS is 65, which is an A in ASCII: who asks for type 97 must not answer for it to others."""
    https, other = (wire.parse_query(asked(kind=kind)) for kind in ("TYPE65", "TYPE97"))
    assert cache.key(https) != cache.key(other)
    with pytest.raises(Malformed):
        wire.parse_reply(replied(asked(kind="TYPE97"), 7), 7, https)
    assert wire.parse_reply(replied(asked("WWW.example.org", "TYPE65"), 7), 7, https).rcode == wire.NOERROR


def test_what_is_kept_is_small() -> None:
    """Whoever owns a domain chooses the size of the answers: ten thousand of 64 KiB were more than a host can spare."""
    kept, question = cache.Cache(), asked()
    query = wire.parse_query(question)
    for count in (16, 300):
        records = [("www.example.org.", 60, "A", f"192.0.{n // 256}.{n % 256}") for n in range(count)]
        kept.keep(cache.key(query), wire.parse_reply(replied(question, 7, *records), 7, query), 100.0)
        found = kept.find(cache.key(query), 100.0)
        assert (found is not None and found[0].counts[0] == count) == (count == 16)
