"""Filters of the questions that the API asks: which of them are set, and what they mean in SQL."""

from collections.abc import Mapping
from typing import Any


def chosen(filters: Mapping[str, Any], known: Mapping[str, str]) -> tuple[list[str], dict[str, Any]]:
    """Conditions and parameters of the filters that are set; those that are None are left out.

    Args:
        known: name of a filter → its condition, with a parameter of the filter's name.

    Raises:
        ValueError: there is no such filter.
    """
    wanted = {name: value for name, value in filters.items() if value is not None}
    if unknown := wanted.keys() - known.keys():
        raise ValueError(f"no such filter: {', '.join(sorted(unknown))}")
    return [known[name] for name in wanted], wanted
