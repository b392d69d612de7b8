"""The command line, `scarnet`: one module for each group of commands, whose functions become commands here.

Every module imports what its commands need only when one of them runs. Modules are not named as the commands they
hold: `scarnet.cli.segment` is the function.

Exit codes: 0 done, 1 our failure, 2 wrong usage, 3 the input cannot be used. An error is one line; `--debug` shows more.
"""

import logging
import sys

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
from scarnet.errors import ScarNetError
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


def main() -> None:
    """Entry point: turns our errors into one line and an exit code."""
    remove_stale()  # what a run that was killed left of its images
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        sys.exit(app(arguments, standalone_mode=True))
    except ScarNetError as error:
        if debug:
            raise
        typer.echo(f"scarnet: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("scarnet: stopped; nothing was written.", err=True)
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        logging.getLogger(__name__).debug("failure", exc_info=True)
        typer.echo(
            f"scarnet: internal failure ({type(error).__name__}: {error}); run again with --debug and report it.",
            err=True,
        )
        sys.exit(1)
