"""Files of documents, as people keep them for Kubernetes: YAML or JSON, several in one file, lists among them.

It decides what is one document and where in its file it stands, so that a fault has a file and a line. It refuses to
know what documents mean, but for which of them are in a tenant.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml

Json = dict[str, Any]

OF_TENANTS = frozenset({"NetworkPolicy", "EgressNetworkPolicy", "EgressFirewall"})
_STRING, _MERGE, _TIMESTAMP = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "merge", "timestamp"))


class Found(NamedTuple):
    """A document and where it stands."""

    file: str
    line: int
    document: Any

    @property
    def place(self) -> str:
        return f"{self.file}, line {self.line}"

    def fault(self, problem: str) -> click.ClickException:
        return click.ClickException(f"{self.place}: {problem}")


def read(files: Iterable[str], tenant: str | None = None) -> list[Json]:
    """All documents of some files (`-` is standard input). Those without a namespace get `tenant`."""
    return [found.document for found in located(files, tenant)]


def located(files: Iterable[str], tenant: str | None = None) -> list[Found]:
    """The documents of some files, each with its place."""
    return [found for file in files for found in _of_text(_called(file), _text(file), tenant)]


def of_text(name: str, text: str, tenant: str | None = None) -> list[Json]:
    """The documents of one text, which is called `name` where something is wrong with it."""
    return [found.document for found in _of_text(name, text, tenant)]


def _of_text(name: str, text: str, tenant: str | None) -> list[Found]:
    documents = [found._replace(document=_in_tenant(found, tenant)) for found in _unpacked(_parsed(name, text))]
    if not documents:
        raise click.ClickException(f"{name} holds no document; write one as Kubernetes has it.")
    return documents


def _called(file: str) -> str:
    return "standard input" if file == "-" else file


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as fault:
        reason = (fault.strerror or "unknown").lower()
        raise click.ClickException(f"{file} cannot be read ({reason}); name a file, or - for standard input.") from None
    except UnicodeDecodeError as fault:
        raise click.ClickException(f"{_called(file)} is not UTF-8 text (at byte {fault.start}); convert it.") from None


def _parsed(name: str, text: str) -> Iterator[Found]:
    """The documents of a text, without empty ones."""
    if text.lstrip()[:1] == "{":
        # Most JSON is YAML, too, but not all: not with tabs, or characters beyond 16 bits.
        try:
            yield Found(name, 1, json.loads(text, object_pairs_hook=_once))
            return
        except _Twice as fault:
            raise click.ClickException(f"{name}: key '{fault}' stands twice in one object; leave one out.") from None
        except ValueError:
            pass
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            found = Found(name, node.start_mark.line + 1, loader.construct_document(node))
            if found.document is not None:
                yield _plain(found)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise click.ClickException(f"{name}{where}: {fault.problem or fault.context}.") from None
    except yaml.YAMLError as fault:
        raise click.ClickException(f"{name} is not YAML: {' '.join(str(fault).split())}.") from None


def _plain(found: Found) -> Found:
    try:
        json.dumps(found.document)
    except (TypeError, ValueError, RecursionError):
        raise found.fault("it holds what JSON has no word for; write plain text, numbers and lists.") from None
    return found


def _unpacked(found: Iterable[Found]) -> Iterator[Found]:
    """Kubernetes' `List`, and `NetworkPolicyList` and its like, whose items may leave out what they are."""
    for one in found:
        if not isinstance(one.document, dict):
            raise one.fault("this document is not a mapping; begin it with apiVersion, kind and metadata.")
        kind = one.document.get("kind")
        if not isinstance(kind, str) or not kind.endswith("List"):
            yield one
            continue
        items = one.document.get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise one.fault(f"a {kind} has items, a list of documents; add it.")
        typed = {"apiVersion": one.document.get("apiVersion"), "kind": kind.removesuffix("List")}
        yield from (one._replace(document={**(typed if typed["kind"] else {}), **item}) for item in items)


def _in_tenant(found: Found, tenant: str | None) -> Json:
    document: Json = found.document
    metadata = document.get("metadata")
    if document.get("kind") not in OF_TENANTS or not isinstance(metadata, dict) or metadata.get("namespace"):
        return document
    if tenant is None:
        what = f"{document['kind']} {metadata.get('name', '')}".rstrip()
        raise found.fault(f"{what} has no metadata.namespace; name its tenant there, or with --tenant.")
    return {**document, "metadata": {**metadata, "namespace": tenant}}


class _Twice(Exception):  # noqa: N818 - it names the key
    pass


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found: Json = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    """YAML that is JSON in other clothes: keys are strings and each stands once, and a date is a string.

    Of two keys that are alike YAML would take the last, and a policy's first rules would be lost unnoticed.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _STRING:
                if isinstance(key, yaml.ScalarNode) and key.value:
                    raise _fault(f"key '{key.value}' is not a string; put it in quotes", key)
                raise _fault("a key is not a string; write one", key)
            if key.value in seen:
                raise _fault(f"key '{key.value}' stands there twice; leave one out", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _fault(said: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, said, node.start_mark)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
