"""The application of `requests` behind hypercorn alone, on Trio: `python -m tests.bench.bare_hypercorn PORT`."""

from __future__ import annotations

import gc
import sys
from functools import partial
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from tests.bench.asgi_app import app

if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    gc.collect()
    gc.freeze()  # as te.run does
    trio.run(partial(serve, cast(Any, app), config))
