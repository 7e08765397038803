"""From the cluster file to a ClusterSpec. All mistakes are found in one go, each with its line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from productive_k3s_infra.cluster_file import model
from productive_k3s_infra.cluster_file.file_rules import Folder, check_files, is_directory_source, read_content
from productive_k3s_infra.cluster_file.flag_rules import check_flags, typed, version_remarks
from productive_k3s_infra.cluster_file.mistake import Found, Mistake
from productive_k3s_infra.cluster_file.network_rules import check_networks
from productive_k3s_infra.cluster_file.provider_rules import check_provider, remarks
from productive_k3s_infra.cluster_file.registries import check_registries
from productive_k3s_infra.cluster_file.rules import check_nodes, expand
from productive_k3s_infra.cluster_file.shape import validate
from productive_k3s_infra.cluster_file.tree import Tree, mistake_at, read_tree
from productive_k3s_infra.errors import ClusterFileInvalid


def load_cluster_file(path: Path, environment: Mapping[str, str]) -> model.ClusterSpec:
    """Read and check a cluster file; `environment` gives the values of `${NAME}`.

    Raises ClusterFileInvalid, and nothing else, whatever stands in the file; its `mistakes` are in the file's order.
    Names of files come out absolute: `~` is HOME of the environment, the rest is relative to the cluster file.
    """
    return load_cluster_text(_read(path, str(path)), path, environment)


def load_cluster_text(text: str, path: Path, environment: Mapping[str, str]) -> model.ClusterSpec:
    """Check the text of a cluster file that lies at `path`, or is to lie there; see `load_cluster_file`."""
    file = str(path)
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
    remedy = "correct what is listed; pk3s explain cluster-file describes every key"
    return ClusterFileInvalid(f"{number} in the cluster file", mistakes=ordered, where=file, remedy=remedy)


def _warnings(tree: Tree) -> Iterator[Found]:
    yield from version_remarks(tree)
    yield from remarks(tree)


def _spec(written: model.ClusterDocument, folder: Folder, warnings: tuple[str, ...]) -> model.ClusterSpec:
    spec = written.spec
    parts = {name: getattr(spec, name) for name in type(spec).model_fields}
    parts["ssh"] = _ssh(spec.ssh, folder)
    parts["k3s"] = _k3s(spec.k3s, folder)
    parts["nodes"] = tuple(node for item in spec.nodes for node in _nodes(item, folder))
    named = {path for part in (parts["k3s"], *(node.k3s for node in parts["nodes"])) for path in part.files.values()}
    contents = {path: read_content(path, folder) for path in sorted(named)}
    texts = {path: content for path, content in contents.items() if isinstance(content, str)}
    return model.ClusterSpec(name=written.metadata.name, warnings=warnings, contents=texts, **parts)


def _k3s(written: model.K3s, folder: Folder) -> model.K3s:
    source = written.artifacts.source
    if is_directory_source(source):
        source = str(folder.find(source))
    return written.model_copy(
        update={
            "artifacts": written.artifacts.model_copy(update={"source": source}),
            "server": typed(written.server),
            "agent": typed(written.agent),
            "files": _files(written.files, folder),
        }
    )


def _nodes(written: model.Node, folder: Folder) -> Iterator[model.Node]:
    k3s = model.NodeK3s(files=_files(written.k3s.files, folder), **typed(written.k3s.flags))
    for name in expand(written.name, written.count):
        yield written.model_copy(
            update={"name": name, "count": None, "k3s": k3s, "ssh": _ssh(written.ssh, folder)},
        )


_SomeSsh = TypeVar("_SomeSsh", bound=model.Ssh)


def _ssh(written: _SomeSsh, folder: Folder) -> _SomeSsh:
    jump = written.jump
    if jump is not None:
        jump = jump.model_copy(update={"key": _found(jump.key, folder)})
    return written.model_copy(update={"key": _found(written.key, folder), "jump": jump})


def _found(name: str | None, folder: Folder) -> str | None:
    return None if name is None else str(folder.find(name))


def _files(written: Mapping[str, str], folder: Folder) -> dict[str, str]:
    return {name: str(folder.find(path)) for name, path in written.items()}
