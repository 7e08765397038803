"""The command `pk3s`: arguments in, text or JSON out, and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar

import typer
from typer.core import TyperGroup

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.errors import Pk3sError

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


class Format(str, Enum):
    """How results are printed."""

    text = "text"
    json = "json"


File = Annotated[Path, typer.Option("--file", "-f", help="The cluster file.", show_default=True)]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, or json with nothing left out.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to everything; nobody is asked.")]
NewCluster = Annotated[
    bool, typer.Option("--new-cluster", help="Found a cluster though cluster.lock records another one.")
]
Replace = Annotated[
    list[str] | None,
    typer.Option("--replace", metavar="NODE", help="Make this node's machine anew; again for more."),
]
Prune = Annotated[
    str | None,
    typer.Option(
        "--prune",
        metavar="[CLUSTER]",
        help="With --yes: let go what the file does not name any more; more than one only with the cluster's name.",
    ),
]
DEFAULT_FILE = Path("cluster.yaml")


def _say_version(wanted: bool) -> None:
    if wanted:
        from productive_k3s import __version__

        _print((f"pk3s {__version__}",))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """One cluster file in, a validated K3s cluster out; the same file keeps the cluster right afterwards."""


@app.command()
def init(
    file: File = DEFAULT_FILE,
    *,
    name: Annotated[str, typer.Option(help="The cluster's name.")] = "edge",
    provider: Annotated[str | None, typer.Option(help="local (default), multipass, onprem or aws.")] = None,
    server: Annotated[
        list[str] | None, typer.Option(help="The server (onprem): an address, or user@host:port.")
    ] = None,
    agent: Annotated[list[str] | None, typer.Option(help="An agent (onprem), likewise; again for more.")] = None,
    agents: Annotated[
        int | None, typer.Option(min=0, help="Number of agents where machines are made. Default: 2, aws 0.")
    ] = None,
    region: Annotated[str, typer.Option(help="The region (aws).")] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="A network from which machines may be reached (aws); again for more."),
    ] = None,
    from_host: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="A host of a cluster that runs, whoever made it; again for each."),
    ] = None,
    user: Annotated[
        str,
        typer.Option(help="The SSH user (onprem, aws, --from-host). Default: ~/.ssh/config's, else root, aws ubuntu."),
    ] = "",
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="The SSH port (onprem, aws, --from-host). Default: ~/.ssh/config's, else 22."
        ),
    ] = None,
    key: Annotated[str, typer.Option(help="The private SSH key (onprem, aws, --from-host).")] = "",
    jump: Annotated[
        str, typer.Option(metavar="USER@HOST:PORT", help="A host to go through (onprem, aws, --from-host).")
    ] = "",
    artifacts: Annotated[str, typer.Option(metavar="WHERE", help="A mirror or directory of the release.")] = "",
    version: Annotated[str, typer.Option(help="An exact K3s version; otherwise the channel is asked.")] = "",
    channel: Annotated[str, typer.Option(help="The channel that is asked once for its version. Default: stable.")] = "",
) -> None:
    """Write a first cluster file, with an exact version in it, or the file of a cluster that is there (--from-host)."""
    from productive_k3s_infra.cli.adopted import adopted_lines
    from productive_k3s_infra.operations import from_host as adopting
    from productive_k3s_infra.operations import init as operation

    servers, hosts, networks = tuple(server or ()), tuple(agent or ()), tuple(allow or ())

    def run() -> int:
        if from_host:
            others = {"--provider": provider, "--server": servers, "--agent": hosts, "--agents": agents}
            others |= {"--region": region, "--allow": networks, "--version": version, "--channel": channel}
            operation.require_only_hosts(others)
            there = adopting.ToAdopt(name, tuple(from_host), user, port or 0, key, jump, artifacts)
            terminal = _terminal(assume_yes=False)
            _print(adopted_lines(_wait(adopting.init_from_hosts(file, there, os.environ, terminal), terminal)))
            return 0
        wanted = operation.NewCluster(
            name=name,
            provider=provider or "local",
            version=version,
            servers=servers,
            agents=hosts,
            agent_count=agents,
            user=user,
            port=port,
            key=key,
            jump=jump,
            artifacts=artifacts,
            region=region,
            allowed=networks,
            channel=channel,
        )
        exact = operation.init(file, wanted, os.environ)
        _print((f"{file} written, K3s {exact}", f"next: pk3s plan -f {file}"))
        return 0

    _end(run)


@app.command()
def plan(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    new_cluster: NewCluster = False,
    replace_nodes: Replace = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 if there are changes.")] = False,
) -> None:
    """Show what apply would do on which host, why, with what impact; change nothing."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.plan import make_plan

    def run() -> int:
        terminal = _terminal(assume_yes=False, quiet=output is Format.json)
        planned = _wait(
            make_plan(_session(file, terminal), new_cluster=new_cluster, replacing=tuple(replace_nodes or ())), terminal
        )
        if output is Format.json:
            from productive_k3s.contract.codec import encode

            _document({"plan": encode(planned.plan), "preflight": planned.preflight.document()})
        else:
            _print(show.planned_lines(planned))
        return planned.exit_code or (ExitCode.PENDING if exit_code and planned.plan.steps else 0)

    _end(run)


@app.command()
def apply(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    yes: Yes = False,
    new_cluster: NewCluster = False,
    replace_nodes: Replace = None,
    prune: Prune = None,
    probe: Annotated[bool, typer.Option(help="Try the ports between the hosts before K3s is there.")] = True,
) -> None:
    """Make the cluster what the file says: machines, cluster; then validate. A second time changes nothing."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.apply import apply as operation

    def run() -> int:
        terminal = _terminal(assume_yes=yes, quiet=output is Format.json)
        work = operation(
            _session(file, terminal),
            probe=probe,
            new_cluster=new_cluster,
            replacing=tuple(replace_nodes or ()),
            prune=prune,
        )
        applied = _wait(work, terminal)
        if output is Format.json:
            _document(show.applied_document(applied))
        else:
            _print(show.applied_lines(applied))
        return applied.exit_code

    _end(run)


@app.command()
def status(file: File = DEFAULT_FILE, *, output: Output = Format.text) -> None:
    """One line a host: machine, service, version, Ready."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.status import get_status

    def run() -> int:
        terminal = _terminal(assume_yes=False, quiet=True)
        found = _wait(get_status(_session(file, terminal)), terminal)
        if output is Format.json:
            _document({**asdict(found), "exit_code": found.exit_code, "verdict": found.verdict})
        else:
            _print(show.status_lines(found))
        return found.exit_code

    _end(run)


@app.command()
def validate(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    quick: Annotated[bool, typer.Option("--quick", help="Without the pods on every node.")] = False,
) -> None:
    """Check hosts, nodes, API and certificates; run a pod on every node, answering through a Service and DNS."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.validate import validate as operation

    def run() -> int:
        terminal = _terminal(assume_yes=False, quiet=output is Format.json)
        report = _wait(operation(_session(file, terminal), full=not quick), terminal)
        if output is Format.json:
            _document(report.document())
        else:
            _print(show.report_lines(report))
        return ExitCode.DONE if report.passed else ExitCode.INVALID

    _end(run)


@app.command()
def kubeconfig(file: File = DEFAULT_FILE) -> None:
    """Fetch the kubeconfig and print its path: export KUBECONFIG=$(pk3s kubeconfig)."""
    from productive_k3s_infra.operations.kubeconfig import get_kubeconfig

    def run() -> int:
        terminal = _terminal(assume_yes=False, quiet=True)
        _print((str(_wait(get_kubeconfig(_session(file, terminal)), terminal)),))
        return 0

    _end(run)


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
        terminal = _terminal(assume_yes=False, quiet=output is Format.json)
        written = _wait(write_inventory(_session(file, terminal), output_dir), terminal)
        if output is Format.json:
            _document(show.written_document(written))
        else:
            _print(show.written_lines(written))
        return written.exit_code

    _end(run)


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
        terminal = _terminal(assume_yes=False, quiet=True)
        made = _wait(make_support(_session(file, terminal), os.environ, output), terminal)
        _print(supported_lines(made))
        return 0

    _end(run)


@app.command()
def destroy(file: File = DEFAULT_FILE, *, output: Output = Format.text, yes: Yes = False) -> None:
    """Destroy the machines that pk3s made; take K3s off hosts that it did not make."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.operations.destroy import destroy as operation

    def run() -> int:
        terminal = _terminal(assume_yes=yes, quiet=output is Format.json)
        destroyed = _wait(operation(_session(file, terminal)), terminal)
        if output is Format.json:
            _document(destroyed.document())
        else:
            _print(show.destroyed_lines(destroyed))
        return destroyed.exit_code

    _end(run)


def _session(file: Path, terminal: Terminal) -> Session:
    from productive_k3s_infra.operations.session import open_session

    return open_session(file, os.environ, terminal)


def _terminal(*, assume_yes: bool, quiet: bool = False) -> Terminal:
    from productive_k3s_infra.cli.terminal import Terminal

    return Terminal(assume_yes=assume_yes, quiet=quiet)


def _wait(work: Coroutine[Any, Any, T], terminal: Terminal) -> T:
    """Run an operation until it ends, or a signal says so."""
    from productive_k3s_infra.cli.stopping import run_until_stopped

    try:
        return run_until_stopped(work, terminal.stop_answers)
    finally:
        terminal.close()


def _end(run: Callable[[], int]) -> None:
    """Print an expected failure as text; anything else is a bug, and shows itself as one."""
    try:
        code = run()
    except Pk3sError as error:
        from productive_k3s_infra.cli.show import error_lines

        _write(sys.stderr, "".join(f"{line}\n" for line in error_lines(error)))
        code = error.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    raise typer.Exit(code)


def _print(lines: Iterable[str]) -> None:
    _write(sys.stdout, "".join(f"{line}\n" for line in lines))


def _document(document: object) -> None:
    _write(sys.stdout, json.dumps(document, indent=2, default=str) + "\n")


def _write(stream: TextIO, text: str) -> None:
    """Write, and go on where nobody reads any more (`| head`, a terminal that was closed): how the run ended counts."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        # Python flushes its streams once more when it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> None:
    """Run the command line."""
    app()
