"""The command `sunledger`."""

import sys

import typer

from sunledger import logs
from sunledger.settings import ApiSettings, MigrateSettings, SettingsFaults, WorkerSettings, load

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def migrate() -> None:
    """Bring database, topics and tables to the newest form."""
    from sunledger import processes  # noqa: PLC0415 - heavy imports only for the command that needs them

    settings = load(MigrateSettings)
    logs.configure(settings.log_level, settings.log_format)
    for name in processes.migrate(settings):
        typer.echo(f"applied {name}")


@app.command()
def api() -> None:
    """Run the HTTP API."""
    from sunledger import processes  # noqa: PLC0415

    settings = load(ApiSettings)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(processes.run_api(settings))


@app.command()
def worker() -> None:
    """Run a stream worker."""
    from sunledger import processes  # noqa: PLC0415

    settings = load(WorkerSettings)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(processes.run_worker(settings))


def main() -> None:
    """Entry point: faults of settings end with a clear message and code 2."""
    try:
        app()
    except SettingsFaults as exc:
        typer.echo(str(exc), err=True)
        sys.exit(2)
