"""A worker whose JSON parser ends the process at one row, as a fault in native code would."""

import os
from typing import Any

import orjson

from sunledger.cli import main

DEADLY = b"deadly-row"
_loads = orjson.loads


def _deadly_loads(data: Any) -> Any:
    if isinstance(data, bytes) and DEADLY in data:
        os._exit(70)
    return _loads(data)


orjson.loads = _deadly_loads
main()
