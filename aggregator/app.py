"""The service: what the ledger says, as this aggregator sees it, for those whom the roster knows.

Nobody has to believe it: everything here can be read from the ledger. Routes are in `ledger_routes` and
`service_routes`; each says whom it is open to (`access`), and the table is in docs/api.md.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from .access import Gate, bodies
from .buckets import Buckets
from .checkup import Auditor, Probe
from .door import Door
from .guard import Guard
from .ledger_routes import add_ledger_routes
from .problems import answer_with_problems
from .service_routes import add_service_routes
from .work import Work


def create_app(
    work: Work,
    probe: Probe,
    auditor: Auditor,
    door: Door,
    *,
    accounts: Buckets,
    clients: Buckets,
    wall: Callable[[], float] = time.time,
) -> FastAPI:
    """The service: `work` goes on as long as it runs. `wall` tells the time of day in seconds since 1970.

    `accounts` and `clients` bound how often one account, and one network, may ask.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work.start()
        yield
        work.stop()

    # No /docs page: it would load scripts from elsewhere. The document is a route of its own, guarded too.
    app = FastAPI(
        title="Tallystick aggregator",
        version="1",
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,  # it would name whatever host the request did
        dependencies=[Depends(Gate(door, accounts, clients))],
    )
    answer_with_problems(app)
    add_service_routes(app, work, probe, door, wall)
    add_ledger_routes(app, work, auditor)
    app.add_middleware(Guard, bodies=bodies(app), clients=clients, over_tls=door.service.startswith("https:"))
    return app
