"""The command line: one file a command, each of which parses, calls the library and prints.

Exit codes: 0 done, 1 the user can mend it (one line says how), 2 a fault of ours, 130 interrupted (with the command
that resumes, where there is one).
"""

from __future__ import annotations

import errno
import io
import os
import sys
from importlib import import_module

import typer

from rewardkit.cli._output import fail, resume_command
from rewardkit.errors import RewardKitError

_COMMANDS = {
    "quickstart": "rewardkit.cli.quickstart:quickstart",
    "synth": "rewardkit.cli.synth:synth",
    "train": "rewardkit.cli.train:train",
    "eval": "rewardkit.cli.eval:evaluate",
    "calibrate": "rewardkit.cli.calibrate:calibrate",
    "score": "rewardkit.cli.score:score",
    "search": "rewardkit.cli.search:search",
    "serve": "rewardkit.cli.serve:serve",
    "export": "rewardkit.cli.export:export",
    "show": "rewardkit.cli.show:show",
    "labels": "rewardkit.cli.labels:labels",
    "audit": "rewardkit.cli.audit:audit",
    "select": "rewardkit.cli.select:select",
    "recipes": "rewardkit.cli.recipes:recipes",
    "doctor": "rewardkit.cli.doctor:doctor",
}
"""From a command to ``module:function``. The modules are light: the libraries load when a command runs."""


def build_app() -> typer.Typer:
    """The Typer application with every command."""
    app = typer.Typer(
        name="rewardkit",
        help="Label reasoning steps, train reward models on them, serve them, use them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    for name, target in _COMMANDS.items():
        module, _, function = target.partition(":")
        command = getattr(import_module(module), function)
        # Its line in the list of commands is the docstring up to a colon; click would cut it in mid-word.
        about = " ".join((command.__doc__ or "").partition(":")[0].split())
        app.command(name, short_help=about.removesuffix("."))(command)
    return app


def main() -> None:
    """Entry point of the console script: run a command and turn what goes wrong into a line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is shown as its escape
            stream.reconfigure(errors="backslashreplace")
    try:
        code = build_app()(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except RewardKitError as error:
        code = fail(str(error))
    except Exception as error:
        code = _usage_or_fault(error)
    if code == 130:  # Typer may have caught the interrupt itself
        _tell_interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def _tell_interrupted() -> None:
    print("\ninterrupted", file=sys.stderr)
    resume = resume_command()
    if resume:
        print(f"go on with: {resume}", file=sys.stderr)


def _usage_or_fault(error: Exception) -> int:
    """1 for a misused option (click says how to use it) or a disk that is full or closed, 2 for a fault of ours."""
    disk = _disk(error)
    if disk:
        return fail(disk)
    show = getattr(error, "show", None)
    if callable(show) and hasattr(error, "exit_code"):
        show()
        return 1
    import traceback

    traceback.print_exc()
    return fail("this is a fault of RewardKit; please report it with the lines above", code=2)


_FULL = "make room or choose another place"
_DENIED = "give the user who runs this the right to it, or choose another place"
_DISK = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _DENIED),
    **dict.fromkeys((errno.EROFS, errno.ENOTDIR, errno.EISDIR), "choose another place"),
}


def _disk(error: Exception) -> str:
    """What is the matter with the disk, where an error says that something is; else nothing."""
    if isinstance(error, OSError) and error.errno in _DISK:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{os.strerror(error.errno)}; {_DISK[error.errno]}, and run the same command again"
    # SQLite's, which keeps the state of runs; its module is not loaded for the sake of an error that did not come.
    if type(error).__module__ == "sqlite3" and any(word in str(error) for word in ("full", "readonly", "disk I/O")):
        return f"the state of the run cannot be written ({error}); make room, and run the same command again"
    return ""


def _root(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        from rewardkit import __version__

        print(__version__)
        raise typer.Exit
    from rewardkit.models.cpu import keep_freed_memory  # here, since it loads what `--help` need not wait for

    keep_freed_memory()
