"""`pk3s init`: the options of a first cluster file, for each provider and for a cluster that is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.cli.options import DEFAULT_FILE, File, Format, Output, Progress, ProgressForm
from productive_k3s_infra.cli.running import finish, open_terminal, say, say_result, wait_for

if TYPE_CHECKING:
    from productive_k3s_infra.cluster_file.first_file import NewCluster

# What a cluster that is there says itself, by its hosts.
_SAID_BY_HOSTS = ("provider", "server", "agent", "agents", "region", "allow", "version", "channel")

Name = Annotated[str, typer.Option(metavar="NAME", help="The cluster's name.")]
Provider = Annotated[str | None, typer.Option(metavar="KIND", help="local (default), multipass, onprem or aws.")]
Servers = Annotated[
    list[str] | None, typer.Option(metavar="HOST", help="The server (onprem): an address, or user@host:port.")
]
Agents = Annotated[
    list[str] | None, typer.Option(metavar="HOST", help="An agent (onprem), in the same form. Can be repeated.")
]
AgentCount = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", min=0, help="How many agents, if pk3s creates the machines. Default: 2, aws 0."),
]
Region = Annotated[str, typer.Option(metavar="REGION", help="The region (aws).")]
Allowed = Annotated[
    list[str] | None,
    typer.Option(metavar="CIDR", help="A network that may reach the machines (aws). Can be repeated."),
]
FromHosts = Annotated[
    list[str] | None,
    typer.Option(metavar="ADDRESS", help="A host of a running cluster that has no file yet. Repeat it for each host."),
]
User = Annotated[
    str,
    typer.Option(
        metavar="USER",
        help="The SSH user (onprem, aws, --from-host). Default: from ~/.ssh/config, else root, aws ubuntu.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        min=1,
        max=65535,
        help="The SSH port (onprem, aws, --from-host). Default: from ~/.ssh/config, else 22.",
    ),
]
Key = Annotated[str, typer.Option(metavar="FILE", help="The private SSH key (onprem, aws, --from-host).")]
Jump = Annotated[str, typer.Option(metavar="USER@HOST:PORT", help="A jump host (onprem, aws, --from-host).")]
Artifacts = Annotated[str, typer.Option(metavar="WHERE", help="A mirror's URL or a directory that holds the release.")]
Version = Annotated[
    str, typer.Option(metavar="VERSION", help="An exact K3s version. Default: the newest one in the channel.")
]
Channel = Annotated[
    str, typer.Option(metavar="CHANNEL", help="The channel that is asked once for its newest version. Default: stable.")
]


def init(
    context: typer.Context,
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    name: Name = "edge",
    provider: Provider = None,
    server: Servers = None,
    agent: Agents = None,
    agents: AgentCount = None,
    region: Region = "",
    allow: Allowed = None,
    from_host: FromHosts = None,
    user: User = "",
    port: Port = None,
    key: Key = "",
    jump: Jump = "",
    artifacts: Artifacts = "",
    version: Version = "",
    channel: Channel = "",
) -> None:
    """Write a cluster file with an exact K3s version, or the file of a running cluster (--from-host).

    On a terminal, without options other than -f, it asks for what it needs.

    Examples: `pk3s init`, `pk3s init --provider onprem --server 10.0.0.11`, `pk3s init --from-host 10.0.0.11`.
    """
    from productive_k3s_infra.cluster_file.first_file import NewCluster

    wanted = NewCluster(
        name=name,
        provider=provider or "local",
        version=version,
        servers=tuple(server or ()),
        agents=tuple(agent or ()),
        agent_count=agents,
        user=user,
        port=port,
        key=key,
        jump=jump,
        artifacts=artifacts,
        region=region,
        allowed=tuple(allow or ()),
        channel=channel,
    )
    finish(lambda: _run(context, file, wanted, from_host or []))


def _run(context: typer.Context, file: Path, wanted: NewCluster, from_host: list[str]) -> int:
    """Ask somebody who is there and said nothing; look at a cluster that is there; else write what was said."""
    said = {name: value for name, value in context.params.items() if name != "file" and _is_said(context, name)}
    if not said and sys.stdin.isatty() and sys.stderr.isatty():
        return _ask(file)
    if from_host:
        return _adopt(file, wanted, from_host, {f"--{name}": said[name] for name in _SAID_BY_HOSTS if name in said})
    return _begin(file, wanted)


def _is_said(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name not in {"DEFAULT", "DEFAULT_MAP"}


def _ask(file: Path) -> int:
    from productive_k3s_infra.cli.answers import Answers
    from productive_k3s_infra.cli.first_questions import FirstQuestions
    from productive_k3s_infra.workspace.cluster_file import require_free, write_cluster_file

    require_free(file)
    person = FirstQuestions(Answers(sys.stdin.fileno()), file, os.environ)
    first = person.ask_for_a_file()
    if first is None:
        say(("Nothing was written.",))
        return ExitCode.REFUSED
    write_cluster_file(file, first.text)
    say((f"wrote {file}, K3s {first.version}",))
    if not first.names_hosts or not person.agrees("Connect to these hosts now and show the plan?", default=False):
        say((f"next: pk3s plan -f {file}",))
        return ExitCode.DONE
    return _try(file)


def _try(file: Path) -> int:
    """Show what `pk3s plan` says; the file stays, whatever that is."""
    from productive_k3s_infra.cli import show
    from productive_k3s_infra.cli.painting import say_painted
    from productive_k3s_infra.operations.plan import make_plan
    from productive_k3s_infra.operations.session import open_session

    terminal = open_terminal(assume_yes=False)
    planned = wait_for(make_plan(open_session(file, os.environ, terminal)), terminal)
    say_painted(show.planned_text(planned))
    return planned.exit_code


def _adopt(file: Path, wanted: NewCluster, addresses: list[str], beside: Mapping[str, object]) -> int:
    from productive_k3s_infra.answers.made import adopted_answer
    from productive_k3s_infra.cli.adopted import adopted_lines
    from productive_k3s_infra.cluster_file.first_file import require_only_hosts
    from productive_k3s_infra.hosts.named_hosts import Named
    from productive_k3s_infra.operations.from_host import ToAdopt, init_from_hosts

    require_only_hosts(beside)
    hosts = Named(addresses, wanted.user, wanted.port or 0, wanted.key, wanted.jump)
    there = ToAdopt(wanted.name, hosts, wanted.artifacts)
    person = open_terminal(assume_yes=False)
    adopted = wait_for(init_from_hosts(file, there, os.environ, person), person)
    return say_result(adopted_answer(adopted), adopted_lines(adopted))


def _begin(file: Path, wanted: NewCluster) -> int:
    from productive_k3s_infra.answers.made import init_answer
    from productive_k3s_infra.operations.init import init as write_first_file

    exact = write_first_file(file, wanted, os.environ)
    lines = (f"wrote {file}, K3s {exact}", f"next: pk3s plan -f {file}")
    return say_result(init_answer(file, exact), lines)
