"""The web application: which parts it has and in which order they are put together."""

from __future__ import annotations

from apiflask import APIFlask
from werkzeug.routing import IntegerConverter, Map

from db import engine
from db.authority import Authority
from web import openapi, packed, problems
from web.api import (
    agents,
    attachments,
    audit,
    certificates,
    dns,
    endpoints,
    engine_networks,
    events,
    explain,
    hosts,
    ipam,
    isolation,
    meta,
    names,
    networks,
    people,
    policies,
    pools,
    publications,
    revisions,
    rules,
    tenants,
    tokens,
    traffic,
)
from web.api.schemas.common import LARGEST
from web.auth import access, headers, oidc
from web.auth.identity import identify
from web.auth.rate import USUAL, Limits, Rates
from web.auth.told import Refusals
from web.history import History
from web.live import Live, Source
from web.modelled import Modelled
from web.pace import Stopwatch
from web.state import KEY, State
from web.ui import (  # noqa: F401 - their views are on the frame's blueprint
    addresses,
    bulk,
    changes,
    flows,
    frame,
    overview,
    pages,
    reachability,
    settings,
    sign_in,
    sign_in_oidc,
    switch,
    topology,
    trace,
)
from web.ui import audit as audit_pages  # noqa: F401
from web.ui import hosts as host_pages  # noqa: F401
from web.ui import policies as policy_pages  # noqa: F401
from web.ui import publications as publication_pages  # noqa: F401
from web.ui import records as record_pages  # noqa: F401
from web.viewers import Viewers

PREFIX = "/api/v1"
API = (
    *(
        tenants,
        isolation,
        policies,
        rules,
        names,
        explain,
        networks,
        pools,
        ipam,
        endpoints,
        publications,
        engine_networks,
        hosts,
        attachments,
        agents,
        certificates,
    ),
    *(dns, revisions, events, people, tokens, audit, meta, traffic),
)


class Number(IntegerConverter):
    """In a path. At one that no database can hold there is nothing."""

    def __init__(self, map: Map, **bounds: int) -> None:
        super().__init__(map, **{"max": LARGEST, **bounds})


def create_app(
    database_url: str,
    waiting_slots: int = 96,
    authority: Authority | None = None,
    shown: bool = False,
    sign_in_at: oidc.Settings | None = None,
    rates: Rates = USUAL,
) -> APIFlask:
    """`waiting_slots` bounds how many requests may wait for a change at once; each holds a thread. `authority` signs
    hosts' certificates, and the API's own if it is `shown`. `sign_in_at` is where people may log in, too."""
    app = APIFlask("web", json_errors=False, static_folder=None, docs_path=None, spec_path=None)  # type: ignore[arg-type]
    app.config["MAX_CONTENT_LENGTH"] = problems.MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config[certificates.AUTHORITY], app.config[certificates.SHOWN] = authority, shown
    opened = engine.create_engine(database_url)
    live = Live(lambda: Source(opened), waiting_slots)
    provider = oidc.Provider(sign_in_at) if sign_in_at else None
    watching = Stopwatch(opened, live), Refusals(), History(opened, live)
    app.extensions[KEY] = State(opened, live, *watching, provider, Modelled(opened), Viewers(live))

    app.url_map.converters["int"] = Number
    for module in API:
        app.register_blueprint(module.blueprint, url_prefix=PREFIX)
    app.register_blueprint(meta.health)
    app.register_blueprint(certificates.authority)
    frame.register(app)
    openapi.register(app)
    problems.register(app, frame.error_page)
    access.register(app, identify, Limits(rates))
    headers.register(app)
    packed.register(app)
    return app
