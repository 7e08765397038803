"""Kubeconfigs as K3s writes them: embedded certificates (k3s.yaml), or paths of files (agent/kubelet.kubeconfig)."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import ssl
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional
from urllib.parse import urlsplit

import yaml

from productive_k3s.contract.failure import ContractError, Failure, system_failure

_DEFAULT_PORT = 6443


@dataclass(frozen=True)
class Access:
    """Where an API answers and what is shown to it; the key stays in memory."""

    host: str
    port: int
    ca: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Access({self.host}:{self.port})"


def _bad(path: str, cause: str) -> ContractError:
    return ContractError(
        Failure(
            "kube.kubeconfig", "the kubeconfig cannot be used", f"{path}: {cause}", "check that K3s has been started"
        )
    )


def read_access(path: str) -> Access:
    """Read a kubeconfig's current context."""
    try:
        with open(path, encoding="utf-8") as file:
            document = yaml.load(file, Loader=yaml.SafeLoader)
        context = _named(document, "contexts", "context", document.get("current-context"))
        cluster = _named(document, "clusters", "cluster", context["cluster"])
        user = _named(document, "users", "user", context["user"])
        server = urlsplit(str(cluster["server"]))
        if server.scheme != "https" or not server.hostname:
            raise _bad(path, f"server {cluster['server']} is not an https URL")
        return Access(
            host=server.hostname,
            port=server.port or _DEFAULT_PORT,
            ca=_content(cluster, "certificate-authority", path),
            certificate=_content(user, "client-certificate", path),
            key=_content(user, "client-key", path),
        )
    except PermissionError as error:
        raise ContractError(system_failure(error)) from error
    except OSError as error:
        raise _bad(error.filename or path, error.strerror or str(error)) from error
    except yaml.YAMLError as error:
        raise _bad(path, "it is not YAML") from error
    except (KeyError, TypeError, AttributeError, StopIteration, ValueError) as error:
        raise _bad(path, f"missing or malformed: {error}") from error


def _named(document: Mapping[str, Any], kinds: str, kind: str, name: Any) -> Mapping[str, Any]:
    for item in document[kinds]:
        if item["name"] == name:
            found: Mapping[str, Any] = item[kind]
            return found
    raise KeyError(f"{kind} {name}")


def _content(section: Mapping[str, Any], key: str, path: str) -> bytes:
    embedded = section.get(f"{key}-data")
    if embedded:
        try:
            return base64.b64decode(embedded, validate=True)
        except binascii.Error as error:
            raise _bad(path, f"{key}-data is not base64") from error
    # Paths in a kubeconfig are relative to it.
    with open(os.path.join(os.path.dirname(path), section[key]), "rb") as file:
        return file.read()


def tls_context(access: Access) -> ssl.SSLContext:
    """Return a context that trusts this cluster alone and shows the client certificate.

    Not by create_default_context: since Python 3.13 that refuses CAs without key identifiers, which K3s' CAs need not
    have.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=access.ca.decode())
    with _unnamed_file(access.certificate.rstrip() + b"\n" + access.key) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _unnamed_file(data: bytes) -> Iterator[str]:
    """Give a path to bytes that never reach a disk: OpenSSL reads certificates from files only."""
    descriptor = os.memfd_create("productive-k3s", os.MFD_CLOEXEC)
    try:
        view: Optional[memoryview] = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
