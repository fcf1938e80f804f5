"""How names, labels, CIDRs and domain names are written in documents: Kubernetes' rules, and what is read of each."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from controller.calc.documents.fields import Path, refuse, shown, text
from controller.model import Block, DomainName

_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_WORD = re.compile("[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_WORD_RULE = 'use at most 63 letters, digits, "-", "_" and ".", beginning and ending with a letter or digit'
_PORT_NAME = re.compile("(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")
_CIDR = re.compile(r"[0-9a-fA-F:.]+/\d{1,3}")
_DOMAIN_LABEL = "[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:\*\.)?(?:{_DOMAIN_LABEL}\.)+{_DOMAIN_LABEL}")

LONGEST_PORT_NAME = 15
LONGEST_NAME = 253
LONGEST_TENANT = 63


def policy_name(value: Any, path: Path) -> str:
    """A DNS name (RFC 1123), as Kubernetes has it."""
    name = text(value, path)
    if len(name) > LONGEST_NAME or not _SUBDOMAIN.fullmatch(name):
        rule = 'lower-case letters, digits, "-" and ".", beginning and ending with a letter or digit'
        refuse(path, f"{shown(name)} is not a policy name", f"use at most {LONGEST_NAME} {rule}")
    return name


def tenant_name(value: Any, path: Path) -> str:
    name = text(value, path)
    if len(name) > LONGEST_TENANT or not _DNS_LABEL.fullmatch(name):
        rule = 'lower-case letters, digits and "-", beginning and ending with a letter or digit'
        refuse(path, f"{shown(name)} is not a tenant name", f"use at most {LONGEST_TENANT} {rule}")
    return name


def label_key(value: Any, path: Path) -> str:
    key = text(value, path)
    prefix, slash, word = key.rpartition("/")
    if slash and (len(prefix) > LONGEST_NAME or not _SUBDOMAIN.fullmatch(prefix)):
        refuse(path, f"{shown(key)} has a prefix that is not a DNS name", "write it like example.org/name")
    if not _WORD.fullmatch(word):
        refuse(path, f"{shown(key)} is not a label name", _WORD_RULE)
    return key


def label_value(value: Any, path: Path) -> str:
    label = text(value, path)
    if label and not _WORD.fullmatch(label):
        refuse(path, f"{shown(label)} is not a label value", _WORD_RULE)
    return label


def port_name(value: Any, path: Path) -> str:
    name = text(value, path)
    if name.isdigit():
        refuse(path, f"{shown(name)} is not a port name", "for the number write it without quotes")
    if len(name) > LONGEST_PORT_NAME or not _PORT_NAME.fullmatch(name):
        rule = 'lower-case letters, digits and single "-" between them, with at least one letter'
        refuse(path, f"{shown(name)} is not a port name", f"use at most {LONGEST_PORT_NAME} {rule}")
    return name


def block(value: Any, path: Path) -> Block:
    """A CIDR without exceptions. Bits after its prefix count for nothing, as in Kubernetes."""
    cidr = text(value, path, "a CIDR")
    try:
        if not _CIDR.fullmatch(cidr):
            raise ValueError
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        refuse(path, f"{shown(cidr)} is not a CIDR", "write it like 10.0.0.0/8 or fd00::/8")
    if isinstance(network, ipaddress.IPv6Network) and (inner := network.network_address.ipv4_mapped):
        bits = max(network.prefixlen - 96, 0)
        refuse(path, f"{shown(cidr)} is IPv4 written as IPv6", f"write it like {inner}/{bits}")
    return Block(network.version, int(network.network_address), network.prefixlen)


def domain_name(value: Any, path: Path) -> DomainName:
    name = text(value, path).lower().removesuffix(".")
    if len(name) > LONGEST_NAME or not _DOMAIN.fullmatch(name):
        remedy = "write it like www.example.org, or *.example.org for all below it"
        refuse(path, f"{shown(value)} is not a DNS name", remedy)
    return DomainName(name)
