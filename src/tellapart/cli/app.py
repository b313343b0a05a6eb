"""The commands in one application, and what an error becomes on the terminal."""

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import tellapart
from tellapart.cli import (
    check,
    demo,
    deploy,
    evaluate,
    export,
    fetch,
    label,
    loadtest,
    predict,
    serve,
    split,
    studio,
    train,
)
from tellapart.cli.terminal import complain
from tellapart.errors import TellapartError

app = typer.Typer(
    name="tellapart",
    help="Tells images apart: a folder of pictures sorted by class in, an honest classifier out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo.demo, train.train, evaluate.evaluate, predict.predict, export.export, serve.serve):
    app.command()(command)
app.command()(loadtest.loadtest)
app.command()(check.check)
app.command()(split.split)
app.command()(studio.studio)
app.add_typer(deploy.app, name="deploy")
app.add_typer(fetch.app, name="fetch")
app.add_typer(label.app, name="label")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tellapart {tellapart.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the options that come before a command."""


_WrongUsage: Any = typer.BadParameter.__bases__[0]
"""click's UsageError, which lies in typer or beside it, depending on typer's version."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    _print_any_name()
    try:
        status = app(args=arguments, standalone_mode=False)
    except typer.Exit as exc:
        return exc.exit_code
    except _WrongUsage as exc:
        exc.show()
        return int(exc.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return 130
    except TellapartError as exc:
        complain(str(exc))
        return 1
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:
        complain(_explain(exc))
        return 1
    return status if isinstance(status, int) else 0


def _print_any_name() -> None:
    """Let file names of any bytes come in and go out, whatever the terminal or pipe can show."""
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _explain(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; free some space and run the same command again"
    return f"{(error.strerror or str(error)).lower()}{where}"
