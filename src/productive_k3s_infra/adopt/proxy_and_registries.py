"""PURE: proxy and registries of a cluster that somebody else made, as its cluster file says them.

A password is not known here: a variable stands for it, and a remark names that variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from productive_k3s.facts.masking import MASK
from productive_k3s.k3s import flags, paths, unit_file
from productive_k3s.k3s.header import schema_of
from productive_k3s_infra.adopt.running_cluster import RunningCluster, RunningHost

_PROXIES = {"HTTP_PROXY": "http", "HTTPS_PROXY": "https"}


@dataclass(frozen=True)
class Around:
    """Keys of `spec.k3s`, remarks, and the variables that stand for secrets, each with a value that fits its place."""

    keys: Mapping[str, Any]
    remarks: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


def around(cluster: RunningCluster) -> Around:
    """Return what the file says of proxy and registries: what all hosts agree on."""
    parts = (_proxy(cluster), _registries(cluster))
    return Around(
        {key: value for part in parts for key, value in part.keys.items()},
        tuple(remark for part in parts for remark in part.remarks),
        {name: value for part in parts for name, value in part.variables.items()},
    )


def _variables(host: RunningHost) -> dict[str, str]:
    """Return what the unit's own environment file sets, flags of K3s aside; names of proxies in capitals."""
    units = host.facts.k3s.units[:1]
    files = [
        item for unit in units for item in unit.environment_files if item.path == paths.environment_file(unit.name)
    ]
    found = unit_file.environment(files[0].text or "") if files else {}
    return {_capital(name): value for name, value in found.items() if name not in flags.VARIABLES}


def _capital(name: str) -> str:
    return name.upper() if name.lower().endswith("_proxy") else name


def _proxy(cluster: RunningCluster) -> Around:
    names = (*_PROXIES, "NO_PROXY")
    first, *others = [{name: _variables(host).get(name, "") for name in names} for host in cluster.hosts]
    remarks = [remark for host in cluster.hosts for remark in _other_variables(host, names)]
    if any(said != first for said in others):
        remarks.append(
            "the hosts have different proxies, and a cluster file has one for all: this file has none, and "
            "the next apply would remove them, with a restart; set the same proxy on all hosts first"
        )
        return Around({}, tuple(remarks))
    urls = {name: first[name] for name in _PROXIES if first[name]}
    if not urls:
        return Around({}, tuple(remarks))
    # What is masked is compared as what is not known.
    hidden = {name: url for name, url in urls.items() if MASK in url}
    proxy: dict[str, Any] = {_PROXIES[name]: f"${{{name}}}" if name in hidden else url for name, url in urls.items()}
    direct = [entry.strip() for entry in first["NO_PROXY"].split(",") if entry.strip()]
    remarks.extend(f"the proxy has a password: set {name} to {urls[name]} when you run pk3s" for name in hidden)
    return Around({"proxy": proxy | ({"noProxy": direct} if direct else {})}, tuple(remarks), hidden)


def _other_variables(host: RunningHost, said: tuple[str, ...]) -> Iterator[str]:
    others = sorted(set(_variables(host)) - set(said))
    if others:
        unit = host.facts.k3s.units[0].name
        yield (
            f"{host.node_name}: {paths.environment_file(unit)} sets {', '.join(others)}, which a cluster file "
            "cannot set: the next apply would remove them, with a restart; to "
            f"keep them, move them to /etc/default/{unit}"
        )


def _registries(cluster: RunningCluster) -> Around:
    files = [host.facts.k3s.registries for host in cluster.hosts]
    texts = {file.text if file is not None else None for file in files}
    there = [host.node_name for host in cluster.hosts if host.facts.k3s.registries is not None]
    if not there:
        return Around({}, ())
    text = next(iter(texts)) if len(texts) == 1 else None
    ours = any(schema_of((file.text or "").partition("\n")[0]) for file in files if file is not None)
    document = yaml.safe_load(text) if text is not None else None
    if not isinstance(document, dict) or (MASK in (text or "") and not ours):
        why = "it is not the same on all hosts" if len(texts) > 1 else "it holds secrets"
        return Around({}, (f"{paths.REGISTRIES} ({', '.join(there)}) is not in this file and is left alone: {why}",))
    variables: dict[str, str] = {}
    said = _with_variables(document, (), variables)
    remarks = tuple(f"set {name} when you run pk3s: it is a secret of {paths.REGISTRIES}" for name in variables)
    return Around({"registries": said}, remarks, variables)


def _with_variables(value: Any, path: tuple[str, ...], variables: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _with_variables(item, (*path, str(key)), variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_variables(item, path, variables) for item in value]
    if not isinstance(value, str) or MASK not in value:
        return value
    name = "REGISTRY_" + re.sub(r"[^A-Z0-9]+", "_", "_".join(path[1:]).upper()).strip("_")
    variables[name] = "secret"
    return f"${{{name}}}"
