"""The command line, `scarnet`: one module for each group of commands, whose functions become commands here.

Every module imports what its commands need only when one of them runs. Modules are not named as the commands they
hold: `scarnet.cli.segment` is the function.

Exit codes: 0 done, 1 our failure, 2 wrong usage, 3 the input cannot be used. An error is one line; `--debug` shows more.
"""

import errno
import functools
import logging
import sys
from collections.abc import Callable

import typer

import scarnet
from scarnet.cli.archive import pacs_app
from scarnet.cli.browser import browser
from scarnet.cli.cohorts import cohort
from scarnet.cli.comparisons import compare, study
from scarnet.cli.evaluation import benchmark, evaluate, evaluate_methods
from scarnet.cli.models import models_app
from scarnet.cli.patient import measure, segment
from scarnet.cli.samples import demo, phantom
from scarnet.cli.studies import series_app
from scarnet.cli.training import cross_validate, train
from scarnet.errors import Cancelled, ScarNetError, UsageError
from scarnet.files import no_room
from scarnet.temporary import remove_stale

app = typer.Typer(
    name="scarnet",
    help="Myocardial scar on late gadolinium enhancement (LGE) cardiac MRI.\n\n" + scarnet.RESEARCH_USE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS = (
    segment,
    measure,
    demo,
    phantom,
    train,
    evaluate,
    cross_validate,
    cohort,
    benchmark,
    evaluate_methods,
    compare,
    study,
)
for _command in COMMANDS:
    app.command()(_command)
app.command("app")(browser)
app.add_typer(models_app, name="models")
app.add_typer(series_app, name="series")
app.add_typer(pacs_app, name="pacs")


#: Commands that keep what is done, and go on with it.
RESUMED = ("cohort", "compare", "cross_validate", "study", "train")


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, which says in one line that Ctrl+C has ended it; typer alone would end without a word."""

    @functools.wraps(command)
    def run(*arguments, **options) -> None:
        try:
            command(*arguments, **options)
        except (KeyboardInterrupt, SystemExit) as error:
            # Lightning ends a process that is interrupted.
            if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
                raise
            how = "what is done is kept: the same command goes on" if command.__name__ in RESUMED else "it was not done"
            raise Cancelled(f"stopped; {how}.") from None

    return run


for _group in (app, models_app, series_app, pacs_app):
    for _registered in _group.registered_commands:
        _registered.callback = _stoppable(_registered.callback)


def _as_ours(error: Exception) -> ScarNetError | None:
    """What the system refuses, in words that say what to do; None for what is a failure of ours."""
    if full := no_room(error):
        return UsageError(f"Nothing more can be written ({full.strerror}); free space or choose another --output.")
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return UsageError(
            f"{error.filename or 'A file'} cannot be opened ({error.strerror}); change its permissions, or choose another --output."
        )
    return None


#: Options for which no text means something.
_MAY_BE_EMPTY = ("--licence", "--citation", "--remarks")


def _refuse_empty(arguments: list[str]) -> None:
    """An empty path would be the current folder: it is what a script's unset variable leaves."""
    for before, argument in zip(["scarnet", *arguments], arguments, strict=False):
        name, equals, text = argument.partition("=") if argument.startswith("--") else (before, "", argument)
        if not text and (equals or not argument) and name not in _MAY_BE_EMPTY:
            raise UsageError(f"What follows '{name}' is empty; give a name, or . for the current folder.")


def main() -> None:
    """Entry point: turns our errors into one line and an exit code."""
    remove_stale()  # what a run that was killed left of its images
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        _refuse_empty(arguments)
        sys.exit(app(arguments, standalone_mode=True))
    except Exception as error:
        if debug:
            raise
        known = error if isinstance(error, ScarNetError) else _as_ours(error)
        if known is None:
            logging.getLogger(__name__).debug("failure", exc_info=True)
            text = " ".join(str(error).split())
            known = ScarNetError(
                f"internal failure ({type(error).__name__}: {text}); run again with --debug and report it."
            )
        typer.echo(f"scarnet: {known}", err=True)
        sys.exit(known.exit_code)
