"""A poller in a process of its own that kills itself at a step; run by test_producers_s3_crash."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

from s3_world import BUCKET_STEPS, Fate, World

from producers import s3_intake, tabular
from producers.s3 import Bucket


class Killer(Fate):
    """Ends the process at the first boundary of a name."""

    def tick(self, name: str) -> None:
        if name == os.environ["WORLD_STEP"]:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Serve the requested run until the end comes."""
    url, access_key, secret_key = os.environ["WORLD_S3"].split()
    kafka, topic_prefix, bucket, store, prefix = os.environ["WORLD"].split()
    s3 = SimpleNamespace(url=url, access_key=access_key, secret_key=secret_key)
    world = World(s3, kafka, topic_prefix, bucket, Path(store), prefix)
    fate = Killer()
    tabular.ROWS_AT_ONCE = 5  # type: ignore[misc]
    s3_intake.Bucket = lambda *given: fate.wrap(Bucket(*given), BUCKET_STEPS)  # type: ignore[assignment, misc]
    world.poller(fate).poll()


if __name__ == "__main__":
    main()
