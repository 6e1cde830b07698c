"""What happens to a run: each strike a method, in an order and at moments that the seed decides."""

import random
import signal
import time
from collections.abc import Callable

from tests.faults.harness.plant import LONGEST_S, Plant

OUTAGE_S = LONGEST_S + 1.5


class Strikes:
    """The strikes of one plant. Every one leaves everything running, or about to be."""

    def __init__(self, plant: Plant, dice: random.Random) -> None:
        self._plant = plant
        self._dice = dice

    def all(self) -> list[Callable[[], None]]:
        """Every strike once."""
        return [
            self.kill_worker,
            self.stop_worker,
            self.pause_worker,
            self.join_and_leave,
            self.kill_api,
            self.stop_api,
            self.pause_api,
            self.kill_verifier,
            self.kill_producers,
            self.stop_producers,
            self.pause_producers,
            self.kill_kafka,
            self.pause_kafka,
            self.cut_kafka,
            self.slow_kafka,
            self.kill_clickhouse,
            self.clickhouse_away,
            self.pause_clickhouse,
            self.kill_redis,
            self.pause_redis,
            self.kill_s3,
            self.cut_clickhouse,
            self.slow_clickhouse,
            self.cut_redis,
            self.cut_s3,
            self.add_partitions,
        ]

    def _worker(self) -> str:
        return self._dice.choice(["worker-1", "worker-2"])

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def kill_worker(self) -> None:
        """kill -9, at once started again."""
        self._plant.kill(self._worker())

    def stop_worker(self) -> None:
        """SIGTERM, started again when it has ended well."""
        self._plant.stop(self._worker())

    def pause_worker(self) -> None:
        """SIGSTOP for longer than the session: it wakes up as a zombie."""
        self._pause(self._worker())

    def _pause(self, name: str) -> None:
        child = self._plant.processes[name]
        child.send(signal.SIGSTOP)
        self._wait(OUTAGE_S)
        child.send(signal.SIGCONT)

    def join_and_leave(self) -> None:
        """A third worker joins, gets its share, and leaves."""
        self._plant.start("worker-3")
        self._plant.wait_ready("worker-3")
        self._plant.end("worker-3")
        del self._plant.processes["worker-3"]

    def kill_api(self) -> None:
        """kill -9 of the API, in the middle of requests."""
        self._plant.kill("api")

    def stop_api(self) -> None:
        """SIGTERM of the API: requests under way are answered, or sent again."""
        self._plant.stop("api")

    def pause_api(self) -> None:
        """SIGSTOP of the API, with requests in hand."""
        self._pause("api")

    def kill_verifier(self) -> None:
        """kill -9 of the verifier: it starts from nothing, and must find nothing."""
        self._plant.kill("verifier")

    def kill_producers(self) -> None:
        """kill -9 of poller, relay and brakes, in the middle of a file."""
        self._plant.kill("producers")

    def pause_producers(self) -> None:
        """SIGSTOP for a while: a file waits in the middle."""
        self._pause("producers")

    def stop_producers(self) -> None:
        """SIGTERM: the file under way is given back, and taken up again."""
        self._plant.stop("producers")

    def kill_kafka(self) -> None:
        """kill -9 of the broker, started again over the same data."""
        self._plant.stack.kill("kafka")
        self._wait(self._dice.uniform(0, 1))
        self._plant.stack.start("kafka")

    def pause_kafka(self) -> None:
        """SIGSTOP of the broker for longer than the session."""
        self._freeze("kafka", OUTAGE_S)

    def _freeze(self, part: str, seconds: float) -> None:
        self._plant.stack.pause(part)
        self._wait(seconds)
        self._plant.stack.resume(part)

    def cut_kafka(self) -> None:
        """Every connection to the broker breaks, new ones are refused for a while."""
        self._cut("kafka", self._dice.uniform(0.1, 3))

    def slow_kafka(self) -> None:
        """Every piece of every conversation with the broker takes its time."""
        self._slow("kafka")

    def kill_clickhouse(self) -> None:
        """kill -9 of the store, started again over the same data."""
        self._plant.stack.kill("clickhouse")
        self._plant.stack.start("clickhouse")

    def clickhouse_away(self) -> None:
        """The store is away for longer than every poll and session time-out."""
        self._plant.stack.kill("clickhouse")
        self._wait(OUTAGE_S)
        self._plant.stack.start("clickhouse")

    def pause_clickhouse(self) -> None:
        """SIGSTOP of the store: connections stay, answers do not come; what it had in hand it does later."""
        self._freeze("clickhouse", OUTAGE_S)

    def kill_redis(self) -> None:
        """kill -9 of Valkey: token states are gone and rebuilt."""
        self._plant.stack.kill("redis")
        self._plant.stack.start("redis")

    def pause_redis(self) -> None:
        """SIGSTOP of Valkey: questions about tokens stay without an answer."""
        self._freeze("redis", self._dice.uniform(1, 4))

    def kill_s3(self) -> None:
        """kill -9 of the S3 server."""
        self._plant.stack.kill("s3")
        self._plant.stack.start("s3")

    def cut_clickhouse(self) -> None:
        """Every connection to the store breaks, new ones are refused for a while."""
        self._cut("clickhouse", self._dice.uniform(0.1, 3))

    def slow_clickhouse(self) -> None:
        """Every piece of every conversation with the store takes its time."""
        self._slow("clickhouse")

    def _slow(self, part: str) -> None:
        self._plant.proxies[part].slow(0.3)
        self._wait(self._dice.uniform(2, 5))
        self._plant.proxies[part].heal()

    def cut_redis(self) -> None:
        """The same for Valkey."""
        self._cut("redis", self._dice.uniform(0.1, 3))

    def cut_s3(self) -> None:
        """The same for the S3 server, in the middle of a file or of its move."""
        self._cut("s3", self._dice.uniform(0.1, 2))

    def _cut(self, part: str, seconds: float) -> None:
        self._plant.proxies[part].cut()
        self._wait(seconds)
        self._plant.proxies[part].heal()

    def add_partitions(self) -> None:
        """A topic gets one partition more while everything runs: workers end and come back knowing it."""
        self._plant.add_partition(self._dice.choice(["payments", "reads"]))
