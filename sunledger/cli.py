"""The command `sunledger`."""

import sys
from json import dumps
from pathlib import Path
from typing import Annotated, Literal

import typer

from producers.errors import BrokerRefuses, BrokerUnavailable, PartitionsRefused, TopicMisconfigured
from producers.template_names import TemplateFormat, TemplateProfile
from sunledger import logs
from sunledger.embedded.layout import default_data_dir
from sunledger.settings import (
    ApiSettings,
    MigrateSettings,
    PartitionsSettings,
    ProducersSettings,
    SettingsFaults,
    VerifierSettings,
    WorkerSettings,
    load,
)

# Each command imports what it needs: the lightest must not wait for the heaviest.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

DataDir = Annotated[
    Path,
    typer.Option(
        "--data",
        help="Folder of the installation.",
        default_factory=default_data_dir,
        show_default="SUNLEDGER_DATA, else .sunledger here",
    ),
]


@app.command()
def up(
    data: DataDir,
    detach: Annotated[bool, typer.Option(help="Return when everything answers.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=8, help="Number of workers.")] = 1,
) -> None:
    """Start an installation on this machine: all real parts, no Docker."""
    from sunledger.embedded import supervisor  # noqa: PLC0415
    from sunledger.installation import processes  # noqa: PLC0415

    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        typer.echo(f"the folder {data} cannot be made: {exc.strerror}", err=True)
        raise typer.Exit(1) from None
    code = supervisor.up(data, processes(data, workers), detach)
    if code == 0 and detach:
        typer.echo(f"everything answers; the addresses are in {data / 'endpoints.json'}")
    raise typer.Exit(code)


@app.command()
def down(data: DataDir) -> None:
    """Stop the installation."""
    from sunledger.embedded import supervisor  # noqa: PLC0415

    raise typer.Exit(supervisor.down(data))


@app.command()
def status(data: DataDir) -> None:
    """Say what runs, what does not and why, and where metrics are. Exit code 0 when all are ready, else 1."""
    from sunledger.embedded import supervisor  # noqa: PLC0415
    from sunledger.embedded.files import read_json  # noqa: PLC0415

    parts = supervisor.status(data)
    ops = (read_json(data / "endpoints.json") or {}).get("ops", {})
    if not parts:
        typer.echo(f"nothing ever ran in {data}", err=True)
    for part in parts:
        detail = f"   {part.reason.strip().splitlines()[-1]}" if part.reason else ""
        cause = f", last: {part.last_exit}" if part.last_exit else ""
        restarts = f"   {part.restarts} restarts{cause}" if part.restarts else ""
        where = f"   {ops[part.name]}" if part.pid and part.name in ops else ""
        typer.echo(f"{part.name:<12} {part.state:<9} pid {part.pid or '-'!s:<8}{where}{restarts}{detail}")
    raise typer.Exit(0 if parts and all(part.state == "ready" for part in parts) else 1)


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="End after the sample, also on a terminal.")] = False,
    json: Annotated[bool, typer.Option(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run a sample with every kind of trouble in it through a throw-away installation."""
    from sunledger.demo.command import DemoFailed  # noqa: PLC0415
    from sunledger.demo.command import demo as run_demo  # noqa: PLC0415
    from sunledger.demo.run import DemoStuck  # noqa: PLC0415

    logs.configure("error", "console")
    try:
        raise typer.Exit(run_demo(once=once, as_json=json))
    except (DemoFailed, DemoStuck) as exc:
        typer.echo(f"the demo failed: {exc}", err=True)
        raise typer.Exit(1) from None


@app.command()
def query(sql: Annotated[str, typer.Argument(help="A statement.")], data: DataDir) -> None:
    """Ask the installation's ClickHouse and print the result as a table."""
    from sunledger.query import QueryFailed, is_for_people, run_query  # noqa: PLC0415

    try:
        answer = run_query(data, sql)
    except QueryFailed as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(1) from None
    typer.echo(answer, nl=False)
    if not answer and is_for_people(sql):
        typer.echo("0 rows", err=True)


@app.command()
def why(
    what: Annotated[str, typer.Argument(metavar="ID|FILE:LINE", help="An ID, or a file and a line in it.")],
    data: DataDir,
    server: Annotated[
        str | None, typer.Option(help="Address of another API; its admin comes from the environment.")
    ] = None,
    json: Annotated[bool, typer.Option(help="Print the API's answer as JSON and nothing else.")] = False,
) -> None:
    """Say what became of a row, and why. Exit code 1 when nothing is known of it."""
    from sunledger.why import WhyFailed, ask, connect, is_known, story  # noqa: PLC0415

    try:
        answer = ask(connect(data, server), what)
    except WhyFailed as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(1) from None
    typer.echo(dumps(answer, indent=2) if json else story(what, answer), nl=json)
    raise typer.Exit(0 if is_known(answer) else 1)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A payments file, CSV or xlsx.")],
    profile: Annotated[
        Literal["s3", "sheet", "upload"] | None,
        typer.Option(help="Which fields are required.", show_default="s3, and upload for a server"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    corrected: Annotated[Path | None, typer.Option(help="Write a corrected copy here.")] = None,
    errors: Annotated[Path | None, typer.Option(help="Write every error here, as CSV.")] = None,
    default_currency: Annotated[
        str | None, typer.Option(help="ISO 4217 code for rows of uploads without a currency.")
    ] = None,
    required: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="A field that is required besides; repeatable.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(help="Let this API judge beside its ledger; its admin comes from the environment."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="With --server: name of the dataset.")] = None,
    organization: Annotated[
        str | None, typer.Option(help="With --server: id of the organisation, when no project says whose.")
    ] = None,
    project: Annotated[
        list[str] | None, typer.Option(help="With --server: id of a project of the dataset; repeatable.")
    ] = None,
    provider: Annotated[str, typer.Option(help="With --server: data provider of the dataset.")] = "User",
) -> None:
    """Say what would become of a payments file; nothing is sent for good.

    Exit code 0: every row passes; 1: some do not; 2: the file cannot be read, or not be checked as asked;
    3: the server refuses, or does not answer.
    """
    from sunledger import checking  # noqa: PLC0415

    wanted = checking.Wanted(
        file, profile, json, corrected, errors, default_currency, tuple(required or ()),
        server, dataset, organization, tuple(project or ()), provider,
    )  # fmt: skip
    try:
        raise typer.Exit(checking.run(wanted))
    except checking.CheckFailed as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(exc.exit_code) from None


@app.command()
def template(
    kind: Annotated[Literal["payments"], typer.Argument(help="What the file is to hold.")],
    profile: Annotated[
        TemplateProfile, typer.Option(help="Whose required fields and columns it has.")
    ] = "s3",
    format: Annotated[TemplateFormat, typer.Option(help="A workbook explains the columns.")] = "csv",
    output: Annotated[
        Path | None, typer.Option(help="Where to write it; a CSV is printed without.", show_default=False)
    ] = None,
) -> None:
    """Write a template: the header and one good row, in a workbook with notes on every column."""
    from producers.templates import payments_template  # noqa: PLC0415

    if output is None and format == "xlsx":
        raise typer.BadParameter("a workbook needs a file, name it with --output", param_hint="--format")
    data = {"payments": payments_template}[kind](profile, format)
    if output is None:
        typer.echo(data, nl=False)
        return
    try:
        output.write_bytes(data)
    except OSError as exc:
        typer.echo(f"{output} cannot be written: {exc.strerror}", err=True)
        raise typer.Exit(1) from None


@app.command()
def migrate() -> None:
    """Bring database, topics and tables to the newest form."""
    from sunledger import migrations  # noqa: PLC0415

    settings = load(MigrateSettings)
    logs.configure(settings.log_level, settings.log_format)
    for name in migrations.everything(settings):
        typer.echo(f"applied {name}")


@app.command()
def add_partitions(
    topic: Annotated[Literal["payments", "reads"], typer.Argument(help="A topic of rows.")],
    count: Annotated[int, typer.Argument(metavar="N", help="How many partitions it is to have.")],
) -> None:
    """Give a topic more partitions, with workers, producers and api stopped and nothing left to judge.

    Exit code 1 when that is not so, or the number is none that can be.
    """
    from producers import partitions  # noqa: PLC0415

    settings = load(PartitionsSettings)
    logs.configure(settings.log_level, settings.log_format)
    prefix, spec = settings.topic_prefix, partitions.GROWING[topic]
    try:
        before = partitions.add_partitions(
            settings.kafka_access(), prefix, f"{prefix}{settings.group}", spec, count
        )
    except (PartitionsRefused, BrokerUnavailable) as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{spec.full_name(prefix)} has {count} partitions now, it had {before}")


@app.command()
def api() -> None:
    """Run the HTTP API."""
    from sunledger.serving import run_api  # noqa: PLC0415

    settings = load(ApiSettings)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(run_api(settings))


@app.command()
def worker() -> None:
    """Run a stream worker."""
    from sunledger.working import run_worker  # noqa: PLC0415

    settings = load(WorkerSettings)
    logs.configure(settings.log_level, settings.log_format)
    run_worker(settings)


@app.command()
def producers() -> None:
    """Run the pollers, the outbox relay and the brakes."""
    from sunledger import producing  # noqa: PLC0415

    settings = load(ProducersSettings)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(producing.run_producers(settings))


@app.command()
def verifier() -> None:
    """Run the verifier: compares Kafka's offsets, the ledger and the tables all the time."""
    from sunledger.verifying import run_verifier  # noqa: PLC0415

    settings = load(VerifierSettings)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(run_verifier(settings))


def main() -> None:
    """Entry point: faults of settings, and of what an operator set up, end with a message and code 2."""
    try:
        app()
    except (SettingsFaults, BrokerRefuses, TopicMisconfigured) as exc:
        typer.echo(str(exc), err=True)
        sys.exit(2)
