"""A thread that sends until it is told to stop, and whose failure nobody can overlook."""

import threading
from collections.abc import Callable


class Sending:
    """Runs `step` again and again.

    Args:
        step: sends something; whatever it raises ends the thread and is raised by `check` and `finish`.
        pause: seconds before the next step.
    """

    def __init__(self, name: str, step: Callable[[], None], pause: Callable[[], float]) -> None:
        self._name = name
        self._step = step
        self._pause = pause
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, wait_s: float = 0.0) -> None:
        """No further step begins; waits so long for the one under way, whatever becomes of it."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def check(self) -> None:
        """It sends, or was told to stop.

        Raises:
            AssertionError: it failed; the failure is its cause.
        """
        if self._failure is not None:
            raise AssertionError(f"the thread {self._name} failed: {self._failure!r}") from self._failure

    def finish(self, limit_s: float) -> None:
        """Stop after the step under way.

        Raises:
            AssertionError: a step failed, or takes longer than `limit_s` seconds.
        """
        self.stop(limit_s)
        self.check()
        assert not self._thread.is_alive(), f"the thread {self._name} still waits"

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._pause()):
                self._step()
        except BaseException as error:  # noqa: BLE001 - told by check and finish
            self._failure = error
