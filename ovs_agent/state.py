"""What the agent remembers on disk: its token, the last wanted document and names, and releases that the API has yet
to take.

It decides names and formats of files, and that each is written whole or not at all. It refuses to know when anything
is remembered, and why.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple


class Identity(NamedTuple):
    """Who this host is to the API. `enrolled_with` tells a used enrolment token from a new one without keeping it."""

    host: str
    token: str
    enrolled_with: str


class Release(NamedTuple):
    """A container's interface that is gone here and that the API does not know to be gone."""

    container_id: str
    ifname: str


class State:
    """The agent's state directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._releases = folder / "releases"
        self._releases.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)

    def identity(self) -> Identity | None:
        saved = read_json(self.folder / "token.json")
        return None if saved is None else Identity(**saved)

    def save_identity(self, identity: Identity) -> None:
        write_json(self.folder / "token.json", identity._asdict())

    def ca_file(self) -> Path:
        """The authority that signed the API's certificate, where it was fetched."""
        return self.folder / "ca.pem"

    def save_ca(self, pem: str) -> None:
        _write(self.ca_file(), pem, force=True)

    def certificate_files(self) -> tuple[Path, Path, Path]:
        """Key, certificate and authority for the switch."""
        return self.folder / "switch.key", self.folder / "switch.pem", self.folder / "switch-ca.pem"

    def certificate_ends(self) -> datetime | None:
        """When to ask for a new certificate."""
        saved = read_json(self.folder / "switch.json")
        return None if saved is None else datetime.fromisoformat(saved["renew_at"])

    def save_certificate(self, key: str, certificate: str, authority: str, renew_at: str) -> None:
        for path, text in zip(self.certificate_files(), (key, certificate, authority), strict=True):
            _write(path, text, force=True)
        write_json(self.folder / "switch.json", {"renew_at": renew_at})

    def wanted(self) -> dict[str, Any] | None:
        return read_json(self.folder / "wanted.json")

    def save_wanted(self, document: dict[str, Any]) -> None:
        """Often, and a power cut that tears it costs nothing but a question to the API: not forced to the disk."""
        write_json(self.folder / "wanted.json", document, force=False)

    def names(self) -> dict[str, Any] | None:
        return read_json(self.folder / "names.json")

    def save_names(self, document: dict[str, Any]) -> None:
        write_json(self.folder / "names.json", document, force=False)

    def releases(self) -> list[Release]:
        saved = [read_json(path) for path in sorted(self._releases.glob("*.json"))]
        return [Release(**one) for one in saved if one is not None]

    def has_release(self, release: Release) -> bool:
        return self._release(release).exists()

    def add_release(self, release: Release) -> None:
        write_json(self._release(release), release._asdict())

    def remove_release(self, release: Release) -> None:
        self._release(release).unlink(missing_ok=True)

    def _release(self, release: Release) -> Path:
        name = hashlib.sha256("/".join(release).encode()).hexdigest()[:32]
        return self._releases / f"{name}.json"


def fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any] | None:
    """None when there is nothing, or nothing that can be read: both mean to ask the API again."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: dict[str, Any], force: bool = True) -> None:
    _write(path, json.dumps(content), force)


def _write(path: Path, text: str, force: bool) -> None:
    """Whoever reads finds the old content or the new; with `force` also after a power cut. Only root may read."""
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
        if force:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)
