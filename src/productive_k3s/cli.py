"""Flags by hand, or a document on standard input: two ways to say the same request."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import replace
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from productive_k3s import __version__
from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import ContractError, bad_input
from productive_k3s.contract.redaction import redact
from productive_k3s.contract.request import Join, Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host
from productive_k3s.facts.release import resolve
from productive_k3s.k3s.flags import table
from productive_k3s.k3s.release import DEFAULT_VERSION, RELEASES

Verb = Callable[[Host, argparse.Namespace], Awaitable[Result]]
_DOCUMENT_LIMIT_BYTES = 4 << 20


def _mistake(code: str, what: str, evidence: str, remedy: str) -> ContractError:
    # What was typed may hold a secret that K3s' flags take (`--config datastore-endpoint=...`).
    return ContractError(bad_input(f"request.{code}", what, redact(evidence), redact(remedy)))


def parser() -> argparse.ArgumentParser:
    """Return the program's command line."""
    top = argparse.ArgumentParser(prog="productive-k3s", description="Installs and validates K3s on this host.")
    top.add_argument("--version", action="version", version=f"productive-k3s {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in (
        ("single-node", "one server that is the whole cluster"),
        ("server", "a server of a cluster"),
        ("agent", "an agent that joins a server"),
    ):
        _install_flags(_verb(verbs, name, text, _install), name)
    stage = _verb(verbs, "stage", "keep artefacts from standard input for a later run", _stage)
    stage.add_argument("--sha256", metavar="HEX", help="one file, which is all of standard input")
    stage.add_argument("--to", metavar="NAME", help="with --sha256: the asset's file name")
    stage.add_argument(
        "--file", metavar="SHA256:SIZE:NAME", action="append", default=[], help="again: the files, one after the other"
    )
    uninstall = _verb(verbs, "uninstall", "uninstall K3s from this host", _uninstall)
    uninstall.add_argument(
        "--cluster", metavar="HASH", help="the cluster that is meant: 8 to 64 digits of its CA's hash, or `unknown`"
    )
    uninstall.add_argument("--yes", action="store_true", help="agree to lose a server's datastore")
    uninstall.add_argument("--force", action="store_true", help="even if other nodes belong to the cluster, or may")
    uninstall.add_argument("--plan", action="store_true", help="print what would be removed; remove nothing")
    key = _verb(verbs, "host-key", "give this host an SSH host key of its own", _host_key)
    how = key.add_mutually_exclusive_group(required=True)
    how.add_argument("--prepare", action="store_true", help="create it and print its public half; it is not used yet")
    how.add_argument("--rotate", action="store_true", help="use it from now on; open connections stay")
    _reading_verbs(verbs)
    return top


def _verb(verbs: Any, name: str, text: str, function: Verb) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    found.add_argument("--json", action="store_true", help="NDJSON on standard output: hello, events, result")
    found.set_defaults(function=function)
    return found


def _install_flags(flags: argparse.ArgumentParser, name: str) -> None:
    flags.add_argument("--request", metavar="-", help="read the whole request as JSON from standard input")
    flags.add_argument("--plan", action="store_true", help="print the changes that a run would make; write nothing")
    flags.add_argument("--exit-code", action="store_true", help="with --plan: exit with 3 if there are changes")
    flags.add_argument("--version", metavar="V", dest="k3s_version", help=f"of K3s (default {DEFAULT_VERSION})")
    flags.add_argument(
        "--artifacts", metavar="WHERE", help=f"a directory <version>/..., or a URL shaped like {RELEASES} (the default)"
    )
    flags.add_argument("--node-name", metavar="NAME", help="default: the hostname")
    flags.add_argument("--node-ip", metavar="ADDRESS", help="default: the address beside the default route")
    flags.add_argument("--label", metavar="KEY=VALUE", action="append", default=[], help="read when the node joins")
    flags.add_argument("--taint", metavar="KEY=VALUE:EFFECT", action="append", default=[])
    flags.add_argument(
        "--config", metavar="FLAG=VALUE", action="append", default=[], help="a flag of K3s; again: a list; YAML values"
    )
    if name != "agent":
        flags.add_argument("--tls-san", metavar="NAME", action="append", default=[], help="a name of the API address")
        flags.add_argument("--datastore", choices=("etcd", "sqlite"), default="etcd")
        flags.add_argument("--new-cluster", action="store_true", help="found a new cluster although one is recorded")
        flags.add_argument("--tokens", action="store_true", help="finally print what `token` prints; it is secret")
    if name != "single-node":
        flags.add_argument("--server", metavar="URL", help="https://ADDRESS:6443 of a server")
        flags.add_argument("--token-file", metavar="FILE", help="holds the token in its secure form (K10...)")


def _reading_verbs(verbs: Any) -> None:
    _verb(verbs, "facts", "what is true on this host; writes nothing", _facts)
    _verb(verbs, "token", "the tokens of this server's cluster; they are secrets", _token)
    _verb(verbs, "kubeconfig", "this server's admin kubeconfig; it is a secret", _kubeconfig)
    logs = _verb(verbs, "logs", "the latest log lines of K3s' units, without secrets", _logs)
    logs.add_argument("--lines", type=int, default=1000, metavar="N", help="of each unit, at most")
    logs.add_argument(
        "--since", type=int, metavar="TIME", help="start at this Unix time; a negative number: seconds ago"
    )
    validate = _verb(verbs, "validate", "check the host, or the whole cluster from here", _validate)
    validate.add_argument("--scope", choices=("host", "cluster"), default="host")
    validate.add_argument("--full", action="store_true", help="run a pod on every node")
    validate.add_argument("--request", metavar="-", help="what is expected, as JSON from standard input")
    validate.add_argument("--note", metavar="STATE", help="for drivers: a full one has passed for it ('': has not)")
    node = _verb(verbs, "node", "act on a node, from a server host", _node)
    node.add_argument("action", choices=("cordon", "uncordon", "drain", "remove", "label", "taint"))
    node.add_argument("name")
    node.add_argument("labels", nargs="*", metavar="KEY=VALUE|KEY-|KEY=VALUE:EFFECT|KEY:EFFECT-")
    node.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="of drain")
    node.add_argument(
        "--by-apply",
        action="store_true",
        help="for drivers: mark a cordon as made by an apply; uncordon lifts only such a cordon, never a person's",
    )
    probe = _verb(verbs, "probe", "listen on ports, or connect to them", _probe)
    probe.add_argument("--listen", metavar="PORTS", help="as tcp/6443,udp/8472")
    probe.add_argument(
        "--connect",
        nargs=2,
        metavar=("ADDRESS", "PORTS"),
        action="append",
        default=[],
        help="again: more hosts at once",
    )
    probe.add_argument("--seconds", type=float, default=10.0, help="to listen, or at most to try them all")


def read_document(argument: Optional[str]) -> Optional[Mapping[str, Any]]:
    """Return the JSON document on standard input if it was announced."""
    if argument is None:
        return None
    if argument != "-":
        raise _mistake("source", "a request comes on standard input only", argument, "add --request -")
    text = sys.stdin.buffer.read(_DOCUMENT_LIMIT_BYTES)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _mistake("not-json", "the request is not JSON", str(error), "write one JSON document") from error
    if not isinstance(document, dict):
        raise _mistake("not-json", "the request is not a JSON object", type(document).__name__, "write one JSON object")
    return document


async def _install(host: Host, flags: argparse.Namespace) -> Result:
    from productive_k3s.verbs import install

    document = read_document(flags.request)
    request = await request_by_hand(host, flags) if document is None else decode(Request, document)
    if request.role != ("agent" if flags.verb == "agent" else "server"):
        raise _mistake("mode", f"the request is for a {request.mode}", f"verb {flags.verb}", "use the same for both")
    result = await install.run(host, request, plan=flags.plan)
    if not getattr(flags, "tokens", False) or result.outcome not in ("done", "unchanged"):
        return result
    return replace(result, data=(await _token(host, flags)).data)


async def request_by_hand(host: Host, flags: argparse.Namespace) -> Request:
    """Return the request that the flags mean; checksums come from the release's own file."""
    release = await resolve(host, os.uname().machine, flags.k3s_version, flags.artifacts)
    server = flags.verb != "agent"
    return Request(
        mode=flags.verb,
        version=release.version,
        binary=release.binary,
        images=release.images,
        node_name=flags.node_name,
        node_ip=flags.node_ip,
        datastore=flags.datastore if server else "etcd",
        tls_san=tuple(flags.tls_san) if server else (),
        config=_config(flags.config),
        labels=dict(_pair("--label", text) for text in flags.label),
        taints=tuple(flags.taint),
        join=await _join(host, flags),
        new_cluster=flags.new_cluster if server else False,
    )


async def _join(host: Host, flags: argparse.Namespace) -> Optional[Join]:
    url, path = getattr(flags, "server", None), getattr(flags, "token_file", None)
    if url is None:
        if path is not None:
            raise _mistake("no-server", "a token needs a server", path, "add --server URL")
        return None
    if path is None:
        return Join(url)
    text = await host.system.read(path)
    if text is None:
        raise _mistake("token-file", "the token file does not exist", path, "write the token into it, mode 0600")
    return Join(url, Secret(text.decode(errors="replace").strip()))


def _pair(flag: str, text: str) -> Tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise _mistake("flag", f"{flag} needs KEY=VALUE", text, f"write {flag} {text or 'KEY'}=VALUE")
    return key, value


def _config(texts: Sequence[str]) -> Dict[str, Any]:
    """Return K3s flags: `disable=traefik` twice is a list, and so is `disable=[traefik, servicelb]`."""
    found: Dict[str, List[Any]] = {}
    values: Dict[str, Any] = {}
    for text in texts:
        key, written = _pair("--config", text)
        value = _config_value(key, written)
        found.setdefault(key, []).extend(value if isinstance(value, list) else [value])
        values[key] = found[key] if len(found[key]) > 1 or isinstance(value, list) else value
    return values


def _config_value(key: str, written: str) -> Any:
    """Return a YAML value; a number given for a flag that is text stays as it was typed (0644 would become 420)."""
    import yaml

    try:
        value = yaml.load(written, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _mistake("flag", f"--config {key} needs a YAML value", "", "quote the value") from error
    flag = table().find(key)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return written.strip() if is_number and flag is not None and flag.type == "string" else value


async def _stage(host: Host, flags: argparse.Namespace) -> Result:
    from productive_k3s.effects.stage import Incoming
    from productive_k3s.verbs import stage

    by_hand = (flags.sha256, flags.to)
    if any(by_hand) != all(by_hand) or any(by_hand) == bool(flags.file):
        remedy = "use --sha256 HEX --to NAME, or --file SHA256:SIZE:NAME for each"
        raise _mistake("flag", "stage keeps one file or several", "", remedy)
    if not flags.file:
        return await stage.run(host, (Incoming(*by_hand),))
    return await stage.run(host, [Incoming(*_incoming(text)) for text in flags.file])


def _incoming(text: str) -> Tuple[str, str, int]:
    sha256, _, rest = text.partition(":")
    size, _, name = rest.partition(":")
    if not re.fullmatch("[0-9]+", size):
        raise _mistake("flag", "--file needs SHA256:SIZE:NAME", text, "write the size in bytes")
    return sha256, name, int(size)


async def _uninstall(host: Host, flags: argparse.Namespace) -> Result:
    from productive_k3s.verbs import uninstall

    cluster = flags.cluster.lower() if flags.cluster is not None else None
    return await uninstall.run(host, cluster=cluster, yes=flags.yes, force=flags.force, plan=flags.plan)


async def _host_key(host: Host, flags: argparse.Namespace) -> Result:
    from productive_k3s.verbs import host_key

    return await host_key.run(host, rotate=flags.rotate)


async def _facts(host: Host, _: argparse.Namespace) -> Result:
    from productive_k3s.verbs import facts

    return await facts.run(host)


async def _token(host: Host, _: argparse.Namespace) -> Result:
    from productive_k3s.verbs import token

    return await token.run(host)


async def _kubeconfig(host: Host, _: argparse.Namespace) -> Result:
    from productive_k3s.verbs import kubeconfig

    return await kubeconfig.run(host)


async def _logs(host: Host, flags: argparse.Namespace) -> Result:
    from productive_k3s.verbs import logs

    return await logs.run(host, flags.lines, flags.since)


async def _validate(host: Host, flags: argparse.Namespace) -> Result:
    from productive_k3s.verbs import validate

    if flags.note is not None:
        return await validate.note(host, flags.note)
    return await validate.run(host, flags.scope, flags.full, read_document(flags.request))


async def _node(host: Host, flags: argparse.Namespace) -> Result:
    from productive_k3s.verbs import node, taint

    if flags.by_apply and flags.action not in ("cordon", "uncordon", "drain"):
        raise _mistake("flag", "--by-apply is for cordon, uncordon and drain", flags.action, "leave it out")
    if flags.action == "taint":
        return await taint.run(host, flags.name, flags.labels)
    labels: Dict[str, Optional[str]] = {}
    for word in flags.labels:
        if word.endswith("-") and "=" not in word:
            labels[word[:-1]] = None
        else:
            key, value = _pair("a label", word)
            labels[key] = value
    return await node.run(host, flags.action, flags.name, labels, flags.timeout, by_apply=flags.by_apply)


async def _probe(host: Host, flags: argparse.Namespace) -> Result:
    from productive_k3s.verbs import probe

    if (flags.listen is None) == (not flags.connect):
        raise _mistake("flag", "probe listens or connects", "", "use --listen PORTS, or --connect ADDRESS PORTS")
    if flags.listen is not None:
        return await probe.listen(host, flags.listen.split(","), flags.seconds)
    return await probe.connect(host, [(address, ports.split(",")) for address, ports in flags.connect], flags.seconds)
