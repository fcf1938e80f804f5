"""Whom one believes to be the API: an authority from a file, or one that is fetched and has a known fingerprint.

It refuses to ask people anything. A fingerprint is `sha256:` and 64 hex digits, as `warren web` logs it at its start.
"""

from __future__ import annotations

import re
import ssl
import warnings
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions as broken

from client.rest import Unreachable

PIN = re.compile(r"sha256:[0-9a-f]{64}")


class Distrusted(Unreachable):
    """The API is not the one that was meant, or cannot prove to be; trying again does not help."""


def fetch(api: str, pin: str) -> str:
    """The authority's certificate in PEM. What is fetched is believed by its fingerprint alone."""
    if not PIN.fullmatch(pin.lower()):
        raise Distrusted(f"'{pin}' is not a fingerprint; the log of `warren web` has it, like sha256:3f1c...")
    parts = urlsplit(api)
    if parts.scheme != "https":
        raise Distrusted(
            f"'{api}' is not HTTPS, so no certificate can be checked; write https:// or leave the pin out."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", broken.InsecureRequestWarning)
        try:
            pool = urllib3.PoolManager(cert_reqs="CERT_NONE", assert_hostname=False)
            answer = pool.request("GET", f"https://{parts.netloc}/ca.pem", retries=False, timeout=10.0, redirect=False)
        except broken.HTTPError as fault:
            raise Unreachable(f"The API at {api} is not reachable ({fault}).") from fault
    if answer.status == 404:
        raise Distrusted(f"The API at {api} has no authority of its own; name its file with --ca-file instead.")
    pem = answer.data.decode("ascii", "replace")
    try:
        found = pin_of(pem)
    except ValueError:
        raise Distrusted(f"What answers at {api} sent no certificate: is this the address of Warren's API?") from None
    if found != pin.lower():
        raise Distrusted(
            f"The authority of {api} has the fingerprint {found}, not {pin}: somebody may intercept the connection, or "
            "the authority was replaced. Compare with the log of `warren web`."
        )
    return pem


def pin_of(pem: str) -> str:
    """The fingerprint of the first certificate in `pem`. Raises ValueError."""
    begin = pem.index("-----BEGIN CERTIFICATE-----")
    end = pem.index("-----END CERTIFICATE-----", begin) + len("-----END CERTIFICATE-----")
    return "sha256:" + sha256(ssl.PEM_cert_to_DER_cert(pem[begin:end])).hexdigest()


def pin(ca: str) -> str:
    """The fingerprint of an authority given as PEM or as a file's name."""
    return pin_of(ca if ca.lstrip().startswith("-----BEGIN") else Path(ca).read_text())
