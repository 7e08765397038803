"""The command `pk3s`: arguments in, text or JSON out, and an exit code."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.cli.init import init
from productive_k3s_infra.cli.nodes import cordon, drain, uncordon
from productive_k3s_infra.cli.options import (
    DEFAULT_FILE,
    File,
    Format,
    Full,
    Limit,
    NewCluster,
    Output,
    PlanFormat,
    PlanOutput,
    Prune,
    Replace,
    Yes,
)
from productive_k3s_infra.cli.running import finish, open_terminal, say, say_document, wait_for

# A verb's own imports stand in it: what is not asked for is not loaded, and `--help` answers at once.
if TYPE_CHECKING:
    from productive_k3s_infra.cli.terminal import Terminal
    from productive_k3s_infra.operations.session import Session

T = TypeVar("T")


class _Verbs(TyperGroup):
    """The verbs. `--prune` may stand without a value, which click's options cannot: it is the empty one then."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--prune=" if word == "--prune" else word for word in args])


app = typer.Typer(
    name="pk3s",
    cls=_Verbs,
    help="One cluster file in, a validated K3s cluster out; the same file keeps the cluster right afterwards.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from productive_k3s import __version__

        say((f"pk3s {__version__}",))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """One cluster file in, a validated K3s cluster out; the same file keeps the cluster right afterwards."""


app.command()(init)


@app.command()
def plan(
    file: File = DEFAULT_FILE,
    *,
    output: PlanOutput = PlanFormat.text,
    full: Full = False,
    new_cluster: NewCluster = False,
    replace_nodes: Replace = None,
    limit: Limit = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 if there are changes.")] = False,
) -> None:
    """Show what apply would do on which host, why, with what impact; change nothing.

    Marks: + create, ~ change, ! restart (it interrupts what runs), v drain, - remove a node, x destroy.
    """
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.plan import make_plan
    from productive_k3s_infra.plan.limit import named

    def run() -> int:
        terminal = open_terminal(assume_yes=False, quiet=output is PlanFormat.json)
        work = make_plan(
            _session(file, terminal),
            new_cluster=new_cluster,
            replacing=tuple(replace_nodes or ()),
            limit=named(limit or ()),
        )
        planned = wait_for(work, terminal)
        if output is PlanFormat.json:
            from productive_k3s.contract.codec import encode

            found = planned.plan
            report = planned.preflight.document()
            say_document({"limit": list(found.limit), "plan": encode(found), "preflight": report})
        elif output is PlanFormat.markdown:
            from productive_k3s_infra.plan.markdown import markdown_lines

            say(markdown_lines(planned.plan, show.last_text(planned)))
        else:
            from productive_k3s_infra.cli.painting import say_painted

            say_painted(show.planned_text(planned, full=full))
        return planned.exit_code or (ExitCode.PENDING if exit_code and planned.plan.steps else 0)

    finish(run)


@app.command()
def apply(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    full: Full = False,
    yes: Yes = False,
    new_cluster: NewCluster = False,
    replace_nodes: Replace = None,
    prune: Prune = None,
    limit: Limit = None,
    probe: Annotated[bool, typer.Option(help="Try the ports between the hosts before K3s is there.")] = True,
) -> None:
    """Make the cluster what the file says: machines, cluster; then validate. A second time changes nothing."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.apply import apply as operation
    from productive_k3s_infra.plan.limit import named

    def run() -> int:
        terminal = open_terminal(assume_yes=yes, quiet=output is Format.json, full=full)
        work = operation(
            _session(file, terminal),
            probe=probe,
            new_cluster=new_cluster,
            replacing=tuple(replace_nodes or ()),
            prune=prune,
            limit=named(limit or ()),
        )
        applied = wait_for(work, terminal)
        if output is Format.json:
            say_document(show.applied_document(applied))
        else:
            say(show.applied_lines(applied, full=full))
        return applied.exit_code

    finish(run)


@app.command()
def status(file: File = DEFAULT_FILE, *, output: Output = Format.text) -> None:
    """One line a host: machine, service, version, Ready."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.status import get_status

    def run() -> int:
        terminal = open_terminal(assume_yes=False, quiet=output is Format.json)
        found = wait_for(get_status(_session(file, terminal)), terminal)
        if output is Format.json:
            say_document({**asdict(found), "exit_code": found.exit_code, "verdict": found.verdict})
        else:
            say(show.status_lines(found))
        return found.exit_code

    finish(run)


@app.command()
def validate(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    full: Full = False,
    quick: Annotated[bool, typer.Option("--quick", help="Without the pods on every node.")] = False,
) -> None:
    """Check hosts, nodes, API and certificates; run a pod on every node, answering through a Service and DNS."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.validate import validate as operation

    def run() -> int:
        terminal = open_terminal(assume_yes=False, quiet=output is Format.json)
        report = wait_for(operation(_session(file, terminal), full=not quick), terminal)
        if output is Format.json:
            say_document(report.document())
        else:
            say(show.report_lines(report, full=full))
        return ExitCode.DONE if report.passed else ExitCode.INVALID

    finish(run)


@app.command()
def kubeconfig(file: File = DEFAULT_FILE) -> None:
    """Fetch the kubeconfig and print its path: export KUBECONFIG=$(pk3s kubeconfig)."""
    from productive_k3s_infra.operations.kubeconfig import get_kubeconfig

    def run() -> int:
        terminal = open_terminal(assume_yes=False)
        say((str(wait_for(get_kubeconfig(_session(file, terminal)), terminal)),))
        return 0

    finish(run)


app.command()(cordon)
app.command()(drain)
app.command()(uncordon)


@app.command()
def inventory(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", help="Where to write; default .pk3s/<cluster>/ansible.")
    ] = None,
) -> None:
    """Write an inventory for the Ansible role: hosts, host keys, and each host's whole request, without secrets."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.inventory import write_inventory

    def run() -> int:
        terminal = open_terminal(assume_yes=False, quiet=output is Format.json)
        written = wait_for(write_inventory(_session(file, terminal), output_dir), terminal)
        if output is Format.json:
            say_document(show.written_document(written))
        else:
            say(show.written_lines(written))
        return written.exit_code

    finish(run)


@app.command()
def support(
    file: File = DEFAULT_FILE,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.tar.gz", help="By default support.tar.gz in .pk3s/CLUSTER/."),
    ] = None,
) -> None:
    """Write one file for whoever shall help: facts, plan, journals, logs; without secrets, whatever is broken."""
    from productive_k3s_infra.cli.supported import supported_lines
    from productive_k3s_infra.operations.support import make_support

    def run() -> int:
        terminal = open_terminal(assume_yes=False)
        made = wait_for(make_support(_session(file, terminal), os.environ, output), terminal)
        say(supported_lines(made))
        return 0

    finish(run)


@app.command()
def destroy(file: File = DEFAULT_FILE, *, output: Output = Format.text, yes: Yes = False) -> None:
    """Destroy the machines that pk3s made; take K3s off hosts that it did not make."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.destroy import destroy as operation

    def run() -> int:
        terminal = open_terminal(assume_yes=yes, quiet=output is Format.json)
        destroyed = wait_for(operation(_session(file, terminal)), terminal)
        if output is Format.json:
            say_document(destroyed.document())
        else:
            say(show.destroyed_lines(destroyed))
        return destroyed.exit_code

    finish(run)


def _session(file: Path, terminal: Terminal) -> Session:
    from productive_k3s_infra.operations.session import open_session

    return open_session(file, os.environ, terminal)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # Words of cluster files and hosts are shown as they can be where the terminal has no letters for them.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app()
