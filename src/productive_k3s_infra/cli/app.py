"""The command `pk3s`: arguments in, text or JSON out, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.cli.completion import answer_shells, completion
from productive_k3s_infra.cli.diagnostics import with_diagnostics
from productive_k3s_infra.cli.explain import explain
from productive_k3s_infra.cli.hosts import logs, ssh
from productive_k3s_infra.cli.init import init
from productive_k3s_infra.cli.kubeconfig import kubeconfig
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
    Progress,
    ProgressForm,
    Prune,
    Replace,
    Yes,
)
from productive_k3s_infra.cli.running import answering, begin, finish, open_terminal, say, say_result, wait_for
from productive_k3s_infra.cli.runs import runs
from productive_k3s_infra.cli.status import status
from productive_k3s_infra.cli.version import version

# A verb's own imports stand in it: what is not asked for is not loaded, and `--help` answers at once.
if TYPE_CHECKING:
    from productive_k3s_infra.cli.terminal import Terminal
    from productive_k3s_infra.operations.session import Session

T = TypeVar("T")

# More letters than any sentence has.
_WHOLE = 1000

Verb = TypeVar("Verb", bound=Callable[..., None])


class _Verbs(TyperGroup):
    """The verbs. `--prune` may stand without a value, which click's options cannot: it is the empty one then."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--prune=" if word == "--prune" else word for word in args])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Say the first sentence of each verb whole, on more than one line if it has to be: click would cut it off."""
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.get_short_help_str(_WHOLE)) for name, verb in verbs if verb is not None])

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        begin(args)
        with answering():
            return super().make_context(info_name, args, *more, **extra)

    def invoke(self, ctx: Any) -> Any:
        with answering():
            return super().invoke(ctx)


class _App(typer.Typer):
    def command(self, *names: Any, **settings: Any) -> Callable[[Verb], Verb]:
        """Register a verb, as typer does, with the options that all verbs have."""

        def register(verb: Verb) -> Verb:
            super(_App, self).command(*names, **settings)(with_diagnostics(verb))
            return verb

        return register


app = _App(
    name="pk3s",
    cls=_Verbs,
    help="Install a K3s cluster from one file, check that it works, and keep it as the file says.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain text, as of kubectl and git: drawn boxes cost as much time as all the rest
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
    say_version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Install a K3s cluster from one file, check that it works, and keep it as the file says."""


app.command()(init)


@app.command()
def plan(
    file: File = DEFAULT_FILE,
    *,
    output: PlanOutput = PlanFormat.text,
    progress: Progress = ProgressForm.text,
    full: Full = False,
    new_cluster: NewCluster = False,
    replace_nodes: Replace = None,
    prune: Prune = None,
    limit: Limit = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Save the plan to this file, for pk3s apply FILE."),
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 3 if there are changes.")] = False,
) -> None:
    """Show what apply would change on each host, why, and what that would interrupt. Changes nothing.

    Marks: + create, ~ change, ! restart (interrupts running workloads), v drain, - remove a node, x destroy.

    Examples: `pk3s plan`, `pk3s plan --exit-code -o json`, `pk3s plan --out edge.plan`.
    """
    from productive_k3s_infra.answers.made import plan_answer
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.plan import make_plan
    from productive_k3s_infra.plan.limit import named

    def run() -> int:
        terminal = open_terminal(assume_yes=False)
        work = make_plan(
            _session(file, terminal),
            new_cluster=new_cluster,
            replacing=tuple(replace_nodes or ()),
            limit=named(limit or ()),
            prune=prune,
            out=out,
        )
        planned = wait_for(work, terminal)
        code = planned.exit_code or (ExitCode.PENDING if exit_code and planned.plan.steps else 0)
        answer = plan_answer(planned, exit_code=code)
        if output is PlanFormat.markdown:
            from productive_k3s_infra.plan.markdown import markdown_lines

            return say_result(answer, markdown_lines(planned.plan, show.last_text(planned)))
        from productive_k3s_infra.cli.painting import say_painted

        return say_result(answer, lambda: say_painted(show.planned_text(planned, full=full)))

    finish(run)


@app.command()
def apply(
    plan: Annotated[
        Path | None,
        typer.Argument(metavar="PLAN", help="A plan saved with plan --out. Do exactly what it says, without asking."),
    ] = None,
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    full: Full = False,
    yes: Yes = False,
    new_cluster: NewCluster = False,
    replace_nodes: Replace = None,
    prune: Prune = None,
    limit: Limit = None,
    probe: Annotated[
        bool, typer.Option(help="Before K3s is installed, test the ports that the hosts need between them.")
    ] = True,
) -> None:
    """Create the machines, bring the cluster to what the file says, then validate it. Safe to run again.

    Examples: `pk3s apply`, `pk3s apply --yes -o json`, `pk3s apply --limit agent-1,agent-2`, `pk3s apply edge.plan`.
    """
    from productive_k3s_infra.answers.made import apply_answer
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.apply import apply as operation
    from productive_k3s_infra.operations.saved import open_saved
    from productive_k3s_infra.plan.limit import named
    from productive_k3s_infra.plan.saved import PlanOptions

    def run() -> int:
        terminal = open_terminal(assume_yes=yes, full=full)
        session = _session(file, terminal)
        given = PlanOptions(tuple(sorted(named(limit or ()))), tuple(replace_nodes or ()), prune, new_cluster)
        work = operation(
            session,
            probe=probe,
            new_cluster=new_cluster,
            replacing=given.replacing,
            prune=prune,
            limit=frozenset(given.limit),
            saved=open_saved(session, plan, given) if plan is not None else None,
        )
        applied = wait_for(work, terminal)
        return say_result(apply_answer(applied), show.applied_lines(applied, full=full))

    finish(run)


app.command()(status)


@app.command()
def validate(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    full: Full = False,
    quick: Annotated[bool, typer.Option("--quick", help="Skip the test pods on the nodes.")] = False,
) -> None:
    """Check hosts, nodes, API and certificates, and test pods on every node through a Service and DNS.

    Examples: `pk3s validate`, `pk3s validate --quick -o json`.
    """
    from productive_k3s_infra.answers.made import validate_answer
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.validate import validate as operation

    def run() -> int:
        terminal = open_terminal(assume_yes=False)
        report = wait_for(operation(_session(file, terminal), full=not quick), terminal)
        return say_result(validate_answer(report), show.report_lines(report, full=full))

    finish(run)


app.command()(kubeconfig)
app.command()(cordon)
app.command()(drain)
app.command()(uncordon)


@app.command()
def inventory(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", metavar="DIR", help="Where to write. Default: .pk3s/CLUSTER/ansible.")
    ] = None,
) -> None:
    """Write an inventory for the Ansible role, with host keys and what each host gets, but no secrets.

    Examples: `pk3s inventory`, `pk3s inventory --output-dir ansible`.
    """
    from productive_k3s_infra.answers.made import inventory_answer
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.inventory import write_inventory

    def run() -> int:
        terminal = open_terminal(assume_yes=False)
        written = wait_for(write_inventory(_session(file, terminal), output_dir), terminal)
        return say_result(inventory_answer(written), show.written_lines(written))

    finish(run)


@app.command()
def support(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.tar.gz", help="Where to write. Default: .pk3s/CLUSTER/support.tar.gz."),
    ] = None,
) -> None:
    """Collect facts, plan, journals and logs in one file that you can send to support. Secrets are left out.

    Examples: `pk3s support`, `pk3s support --out support.tar.gz`.
    """
    from productive_k3s_infra.answers.made import support_answer
    from productive_k3s_infra.cli.supported import supported_lines
    from productive_k3s_infra.operations.support import make_support

    def run() -> int:
        terminal = open_terminal(assume_yes=False)
        made = wait_for(make_support(_session(file, terminal), os.environ, out), terminal)
        return say_result(support_answer(made), supported_lines(made))

    finish(run)


@app.command()
def destroy(
    file: File = DEFAULT_FILE, *, output: Output = Format.text, progress: Progress = ProgressForm.text, yes: Yes = False
) -> None:
    """Destroy the machines that pk3s created, and uninstall K3s from hosts that it did not create.

    Examples: `pk3s destroy`, `pk3s destroy --yes -o json`.
    """
    from productive_k3s_infra.answers.made import destroy_answer
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.destroy import destroy as operation

    def run() -> int:
        terminal = open_terminal(assume_yes=yes)
        destroyed = wait_for(operation(_session(file, terminal)), terminal)
        return say_result(destroy_answer(destroyed), show.destroyed_lines(destroyed))

    finish(run)


def _session(file: Path, terminal: Terminal) -> Session:
    from productive_k3s_infra.operations.session import open_session

    return open_session(file, os.environ, terminal)


app.command()(runs)
app.command()(logs)
app.command()(ssh)
app.command()(explain)
app.command()(version)
app.command()(completion)


def main() -> None:
    """Run the command line, or answer a shell that asks what may follow."""
    answer_shells(os.environ)
    for stream in (sys.stdout, sys.stderr):
        # Words of cluster files and hosts are shown as they can be where the terminal has no letters for them.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app()
