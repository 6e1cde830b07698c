"""A poller of a pull API in a process of its own that kills itself; run by test_producers_pull_crash."""

import os
import signal
from datetime import datetime
from pathlib import Path

from pull_world import PullWorld
from s3_world import Fate

from producers import pull_rows


class Killer(Fate):
    """Ends the process at the first boundary of a name, some time after others."""

    def __init__(self) -> None:
        super().__init__()
        self.left = int(os.environ["WORLD_TIMES"])

    def tick(self, name: str) -> None:
        self.left -= name == os.environ["WORLD_STEP"]
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Serve the requested run until the end comes."""
    kafka, topic_prefix, url, store, name, clock = os.environ["WORLD"].split()
    pull_rows.ROWS_AT_ONCE = 3  # type: ignore[misc]
    world = PullWorld(kafka, topic_prefix, url, Path(store), name)
    world.clock = datetime.fromisoformat(clock)
    world.poller(Killer()).poll()


if __name__ == "__main__":
    main()
