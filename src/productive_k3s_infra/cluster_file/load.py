"""From the cluster file to a ClusterSpec. All mistakes are found in one go, each with its line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from productive_k3s_infra.cluster_file import document, model
from productive_k3s_infra.cluster_file.file_rules import Folder, check_files, is_directory_source
from productive_k3s_infra.cluster_file.flag_rules import check_flags, newer_note, typed
from productive_k3s_infra.cluster_file.mistake import Found, Mistake, found
from productive_k3s_infra.cluster_file.network_rules import check_networks
from productive_k3s_infra.cluster_file.provider_rules import check_provider, remarks
from productive_k3s_infra.cluster_file.registries import apart, check_registries, plain
from productive_k3s_infra.cluster_file.rules import check_nodes, expand
from productive_k3s_infra.cluster_file.shape import validate
from productive_k3s_infra.cluster_file.tree import Tree, mistake_at, read_tree
from productive_k3s_infra.errors import ClusterFileInvalid

_PROVIDER: TypeAdapter[model.Provider] = TypeAdapter(model.Provider)


def load_cluster_file(path: Path, environment: Mapping[str, str]) -> model.ClusterSpec:
    """Read and check a cluster file; `environment` gives the values of `${NAME}`.

    Raises ClusterFileInvalid, and nothing else, whatever stands in the file; its `mistakes` are in the file's order.
    Names of files come out absolute: `~` is HOME of the environment, the rest is relative to the cluster file.
    """
    file = str(path)
    text = _read(path, file)
    tree, unreadable = read_tree(text, environment, file=file)
    if tree is None:
        raise _invalid(file, unreadable)
    folder = Folder.of(path, environment)
    written, shape = validate(tree)
    held = (
        *shape,
        *check_provider(tree),
        *check_nodes(tree),
        *check_flags(tree),
        *check_networks(tree),
        *check_registries(tree),
        *check_files(tree, folder),
    )
    mistakes = (*unreadable, *(mistake_at(tree, item, file) for item in held))
    if mistakes or written is None:
        raise _invalid(file, mistakes)
    warnings = tuple(str(mistake_at(tree, item, file)) for item in _warnings(tree))
    return _spec(written, folder, warnings)


def _read(path: Path, file: str) -> str:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        remedy = "name the file with -f, or write one with pk3s init"
        raise _invalid(
            file, (Mistake(file, 1, 1, f"cannot be read: {reason}", remedy=remedy, code="file.unreadable"),)
        ) from error
    try:
        return content.decode("utf-8")  # the parser passes over a byte order mark
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
        mistake = Mistake(file, line, column, "the file is not UTF-8", remedy="save it as UTF-8", code="file.encoding")
        raise _invalid(file, (mistake,)) from error


def _invalid(file: str, mistakes: tuple[Mistake, ...]) -> ClusterFileInvalid:
    ordered = tuple(sorted(dict.fromkeys(mistakes), key=lambda item: (item.line, item.column, item.what)))
    number = "a mistake" if len(ordered) == 1 else f"{len(ordered)} mistakes"
    remedy = "mend what is listed; docs/cluster-file.md describes every key"
    return ClusterFileInvalid(f"{number} in the cluster file", mistakes=ordered, where=file, remedy=remedy)


def _warnings(tree: Tree) -> Iterator[Found]:
    note = newer_note(tree)
    if note:
        yield found(("spec", "k3s", "version"), "file.newer-version", note)
    yield from remarks(tree)


def _spec(written: document.ClusterDocument, folder: Folder, warnings: tuple[str, ...]) -> model.ClusterSpec:
    spec = written.spec
    return model.ClusterSpec(
        name=written.metadata.name,
        provider=_provider(spec.provider),
        ssh=_ssh(spec.ssh, folder),
        k3s=_k3s(spec.k3s, folder),
        hosts_file=spec.hosts_file,
        nodes=tuple(node for item in spec.nodes for node in _nodes(item, folder)),
        warnings=warnings,
    )


def _provider(written: document.Provider) -> model.Provider:
    # Which key belongs to which kind is a rule of `provider_rules`; what was not written keeps the model's default.
    said = {name: value for name in written.model_fields_set if (value := getattr(written, name)) is not None}
    plain = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in said.items()}
    provider: model.Provider = _PROVIDER.validate_python(plain)
    return provider


def _k3s(written: document.K3s, folder: Folder) -> model.K3s:
    source = written.artifacts.source
    if is_directory_source(source):
        source = str(folder.find(source))
    mirrors, secrets = (None, {}) if written.registries is None else apart(plain(written.registries))
    return model.K3s(
        version=written.version,
        artifacts=model.Artifacts(source=source, delivery=written.artifacts.delivery),
        datastore=written.datastore,
        registration_address=written.registration_address,
        api_address=written.api_address,
        tls_san=tuple(written.tls_san),
        proxy=None if written.proxy is None else model.Proxy.model_validate(written.proxy.model_dump()),
        registries=mirrors,
        registry_secrets=secrets,
        server=typed(written.server),
        agent=typed(written.agent),
    )


def _nodes(written: document.Node, folder: Folder) -> Iterator[model.Node]:
    for name in expand(written.name, written.count):
        yield model.Node(
            name=name,
            role=written.role,
            address=written.address,
            public_address=written.public_address,
            machine=model.Machine(**written.machine.model_dump()),
            host_key=tuple(written.host_key),
            labels=dict(written.labels),
            taints=tuple(written.taints),
            ssh=_ssh(written.ssh, folder),
        )


def _ssh(written: document.Ssh, folder: Folder) -> model.Ssh:
    jump = written.jump
    return model.Ssh(
        user=written.user,
        port=written.port,
        key=_key(written.key, folder),
        jump=None
        if jump is None
        else model.Jump(
            address=jump.address,
            user=jump.user,
            port=jump.port,
            key=_key(jump.key, folder),
            host_key=tuple(jump.host_key),
        ),
        address=written.address if isinstance(written, document.NodeSsh) else None,
        via=written.via if isinstance(written, document.ClusterSsh) else None,
    )


def _key(name: str | None, folder: Folder) -> str | None:
    return None if name is None else str(folder.find(name))
