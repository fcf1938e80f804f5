"""The REST API: one blueprint per noun below `/api/v1`."""

from web.api import contract as _contract  # before any blueprint: it reads their requests

__all__ = ["_contract"]
