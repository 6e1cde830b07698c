"""What must become of payments that come one after the other: written from the design, not from the code."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

Content = tuple[Decimal, str]
"""PAYMENT_AMOUNT and STATUS: all that ever differs between two rows of one ID."""


@dataclass
class Payment:
    """One ID.

    Attributes:
        versions: contents in the order of their arrival.
        counting: those that count: the first until a rule or a person decides.
        known: how many versions the latest decision knew.
    """

    meter_id: str
    versions: list[Content] = field(default_factory=list)
    counting: list[Content] = field(default_factory=list)
    known: int = 1

    @property
    def open(self) -> bool:
        """Somebody has to decide."""
        return self.known < len(self.versions)

    def decide(self, counting: list[Content]) -> None:
        """A person's decision about every version there is."""
        self.counting, self.known = counting, len(self.versions)


class Model:
    """Payments of an organisation whose dataset has the default conflict rule."""

    def __init__(self) -> None:
        self.payments: dict[str, Payment] = {}
        self.outcomes = Counter[str]()

    @property
    def conflicts(self) -> dict[str, Payment]:
        """IDs with several versions."""
        return {name: found for name, found in self.payments.items() if len(found.versions) > 1}

    def receive(self, name: str, amount: Decimal, status: str, meter_id: str) -> None:
        """One row, after all those before."""
        content = (amount, status)
        if name not in self.payments:
            self.payments[name] = Payment(meter_id, [content], [content])
            self.outcomes["accepted"] += 1
            return
        found = self.payments[name]
        if content in found.versions:
            self.outcomes["duplicate"] += 1
            return
        self.outcomes["conflict"] += 1
        self._further(found, content)

    def came_as(self, name: str, order: list[Content]) -> None:
        """The versions of an ID came in this order, whatever the order of the files.

        Raises:
            AssertionError: these are not its versions.
        """
        before = self.payments[name]
        assert sorted(order) == sorted(before.versions), (name, order, before.versions)
        first = order[0]
        found = self.payments[name] = Payment(before.meter_id, [first], [first])
        for content in order[1:]:
            self._further(found, content)

    def _further(self, found: Payment, content: Content) -> None:
        was_open = found.open
        found.versions.append(content)
        # a change of STATUS alone decides for itself, but not over the head of somebody who has yet to look
        if not was_open and found.counting[0][0] == content[0]:
            found.decide([content])

    def amounts(self) -> list[tuple[str, Decimal]]:
        """ID and amount of everything that counts as a version, in order."""
        return sorted((name, amount) for name, p in self.payments.items() for amount, _ in p.counting)

    def totals(self, uncounted: str) -> dict[str, tuple[int, Decimal]]:
        """Counted payments and their sum by meter; a STATUS of `uncounted` does not count."""
        found: dict[str, tuple[int, Decimal]] = {}
        for payment in self.payments.values():
            for amount, status in payment.counting:
                if status != uncounted:
                    count, total = found.get(payment.meter_id, (0, Decimal(0)))
                    found[payment.meter_id] = (count + 1, total + amount)
        return found
