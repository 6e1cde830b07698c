"""Why nothing can be done about a refused row now; the code is what bulk answers name it by.

Conflict 409
├── AlreadyReplayed     a record that replays it has an outcome
├── BeingReplayed       somebody, or the sweep, is at it
├── LineCounts          another record of the same line was accepted
├── IsDiscarded         an admin gave it up
├── NotDiscarded        there is nothing to restore
├── NeedsChanges        its reader could not read it: a whole row must be given
├── ReplayLimit         the same content came back too often
├── DoesNotFit          longer than a record may be
└── SealUnopenable      sealed under another secret
"""

from api.errors import Conflict


class CannotAct(Conflict):
    """What bulk requests skip a row for."""


class AlreadyReplayed(CannotAct):
    """A record that replays the row was judged; if it was refused again, it is a row of its own."""

    code = "already_replayed"
    default = "The row was replayed; what became of the replay is under `replays` of the row."


class BeingReplayed(CannotAct):
    """Somebody acts on the row, its replay is on the way, or an earlier attempt is not settled yet."""

    code = "being_replayed"
    default = "The row is being replayed or discarded; look again when its outcome is known."


class LineCounts(CannotAct):
    """A line that was delivered twice: accepted once, refused once. Under another ID it would count twice."""

    code = "line_counts"
    default = "The same line was delivered twice, and its other record counts; discard this one."


class IsDiscarded(CannotAct):
    """An admin gave the row up."""

    code = "discarded"
    default = "The row was discarded; restore it first."


class NotDiscarded(CannotAct):
    """Only a discarded row can be restored."""

    code = "not_discarded"
    default = "The row was not discarded."


class NeedsChanges(CannotAct):
    """Sent as it is, a row that its reader could not read would come back for ever."""

    code = "needs_changes"
    default = "The row could not be read; send all of its fields in `changes`."


class ReplayLimit(CannotAct):
    """The guard against loops."""

    code = "replay_limit"
    default = "The same content was refused again and again; send it with `changes`, or discard it."


class DoesNotFit(CannotAct):
    """The record would be longer than the broker takes."""

    code = "too_large"
    default = "The row is longer than a record may be; shorten it by `changes`, or discard it."


class SealUnopenable(CannotAct):
    """The original was sealed under another secret."""

    code = "seal_broken"
    default = "The original cannot be opened: it was sealed under another seal secret."
