"""The command `sunledger check`: what was asked for on the command line, done and printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sunledger.check import (
    Answer,
    CheckFailed,
    Progress,
    Question,
    ServerCheckFailed,
    check,
    context_of,
    print_json,
)
from sunledger.check_server import check_there
from sunledger.check_source import rereadable
from sunledger.check_story import progress_bar, tell
from sunledger.why import ServerFailed, WhyFailed, connect

__all__ = ["CheckFailed", "Wanted", "run"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The command line. `dataset`, `organization`, `projects` and `provider` go to a server."""

    file: Path
    profile: str | None
    json: bool
    corrected: Path | None
    errors: Path | None
    default_currency: str | None
    required: Sequence[str]
    server: str | None
    dataset: str | None
    organization: str | None
    projects: Sequence[str]
    provider: str


def run(wanted: Wanted) -> int:
    """Check, print, and return the exit code.

    Raises:
        CheckFailed: the check cannot be made as it was asked for.
        SettingsFaults: the environment lacks the admin of a server.
    """
    _check_fits(wanted)
    with rereadable(wanted.file) as file, progress_bar(file) as progress:
        if wanted.server is None:
            context = context_of(wanted.profile or "s3", wanted.default_currency, wanted.required)
            question = Question(file, context, wanted.corrected, wanted.errors, all_errors=wanted.json)
            answer = check(question, progress)
        else:
            answer = _there(wanted, file, wanted.server, progress)
    if wanted.json:
        print_json(answer)
    else:
        tell(answer.report)
    return answer.exit_code


def _check_fits(wanted: Wanted) -> None:
    """Refuse what would be ignored in silence."""
    stray: dict[str, object]
    if wanted.server is None:
        stray = {
            "--dataset": wanted.dataset,
            "--organization": wanted.organization,
            "--project": wanted.projects,
        }
        needs = "needs --server"
    else:
        stray = {"--corrected": wanted.corrected, "--errors": wanted.errors, "--required": wanted.required}
        needs = "does not go with --server: check the file here first"
        if wanted.profile not in (None, "upload"):
            raise CheckFailed(f"--profile {wanted.profile} does not go with --server: it takes uploads")
        if not wanted.dataset:
            raise CheckFailed("--server needs --dataset, the name of the dataset")
    outputs = [path.resolve() for path in (wanted.corrected, wanted.errors) if path is not None]
    if len(set(outputs)) < len(outputs):
        raise CheckFailed("--corrected and --errors name the same file")
    for option, value in stray.items():
        if value:
            raise CheckFailed(f"{option} {needs}")


def _there(wanted: Wanted, file: Path, server: str, progress: Progress) -> Answer:
    fields = {
        "dataset_name": wanted.dataset or "",
        "dataset_type": "electricity_payments",
        "data_provider": wanted.provider,
        "project_ids": list(wanted.projects),
        **({"organization_id": wanted.organization} if wanted.organization else {}),
        **({"default_currency": wanted.default_currency} if wanted.default_currency else {}),
    }
    try:
        return check_there(connect(Path(), server), file, fields, progress)
    except ServerFailed as error:
        raise ServerCheckFailed(str(error)) from None
    except WhyFailed as error:
        raise CheckFailed(str(error)) from None
