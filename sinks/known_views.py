"""Two views from one text: what was known at a moment, and all that is known.

ClickHouse plans a view with parameters twice wherever it is used, once for its columns and once for its rows,
so that a nest of them costs twice as much with every level. Everyday questions therefore go to views without
parameters, which are made from the same text: what they answer cannot differ from what the others answer for
now.
"""

import re
from typing import Final

_AT: Final = re.escape("{at:DateTime64(3, 'UTC')}")
_MAKES: Final = re.compile(r"^CREATE OR REPLACE VIEW \{database\}\.\w+_as_known$", re.MULTILINE)
_PRESENT: Final = (
    (re.compile(rf"_as_known\(at = {_AT}\)"), ""),  # a view that is read
    (re.compile(r"_as_known$", re.MULTILINE), ""),  # the view that is made
    (re.compile(rf"\b(?:known_at|stored_at) <= {_AT}"), "true"),
    (re.compile(r"[.]? As known at the moment `at`'"), "'"),  # its comment
)


def with_present(statement: str) -> list[str]:
    """The statement, and after one that makes a view `…_as_known` the statement of its view of the present.

    Applied files are not applied again: a change of this rule needs new files for the views it should reach.

    Raises:
        ValueError: something in the view depends on the moment in a way that has no present.
    """
    if not _MAKES.search(statement):
        return [statement]
    present = statement
    for pattern, text in _PRESENT:
        present = pattern.sub(text, present)
    if "{at" in present or "_as_known" in present:
        raise ValueError(f"no view of the present can be made from this one: {present}")
    return [statement, present]
