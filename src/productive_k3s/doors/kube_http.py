"""The real door to the Kubernetes API: JSON over one kept connection, with the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple
from urllib.parse import quote, urlencode

from productive_k3s.contract.facts import ClusterFacts, NodeFact
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.kube_objects import FIELD_MANAGER, by_name, node_fact, node_patch
from productive_k3s.doors.kubeconfig import Access, read_access, tls_context

_PAGE = 500
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_MERGE = "application/merge-patch+json"
# Server-side apply takes YAML, and JSON is YAML.
_APPLY = "application/apply-patch+yaml"
_NOT_FOUND = 404
_TOO_MANY = 429


class HttpKube:
    """One cluster, spoken to with a kubeconfig. Nothing is read or opened before the first call."""

    def __init__(self, kubeconfig: str, timeout: float = 10.0) -> None:
        self._path = kubeconfig
        self._timeout = timeout
        self._access: Optional[Access] = None
        self._connection: Optional[http.client.HTTPSConnection] = None

    def __del__(self) -> None:
        """Close with the last use of it: verbs drop a door, and a wait opens a new one for every look."""
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def cluster(self) -> ClusterFacts:
        """See Kube."""
        try:
            version = self._json("GET", "/version").get("gitVersion", "")
            nodes = self._list("/api/v1/nodes")
            leases = by_name(self._optional_list(_LEASES))
        except ContractError as error:
            return ClusterFacts(reachable=False, evidence=error.failure.evidence or error.failure.what)
        facts = [node_fact(node, leases.get(node.get("metadata", {}).get("name", ""))) for node in nodes]
        return ClusterFacts(True, "", str(version), tuple(facts))

    async def readiness(self) -> str:
        """See Kube."""
        try:
            status, body = self._send("GET", "/readyz", None, "")
        except ContractError as error:
            return error.failure.evidence or error.failure.what
        text = " ".join(body.decode(errors="replace").split())
        return "" if status == http.HTTPStatus.OK and text == "ok" else f"HTTP {status}: {_shortened(text)}"

    async def node(self, name: str) -> Optional[NodeFact]:
        """See Kube."""
        found = await self.get(f"/api/v1/nodes/{quote(name)}")
        if not found:
            return None
        try:
            lease: Mapping[str, Any] = await self.get(f"{_LEASES}/{quote(name)}")
        except ContractError as error:
            if error.failure.code != "kube.refused":
                raise
            lease = {}
        return node_fact(found, lease)

    async def label_node(self, name: str, labels: Mapping[str, Optional[str]]) -> None:
        """See Kube."""
        query = urlencode({"fieldManager": FIELD_MANAGER})
        self._json("PATCH", f"/api/v1/nodes/{quote(name)}?{query}", node_patch(labels), _MERGE)

    async def patch_node(self, name: str, patch: Mapping[str, Any]) -> bool:
        """See Kube."""
        path = f"/api/v1/nodes/{quote(name)}?{urlencode({'fieldManager': FIELD_MANAGER})}"
        status, body = self._send("PATCH", path, patch, _MERGE)
        if status == http.HTTPStatus.CONFLICT:
            return False
        if status >= http.HTTPStatus.MULTIPLE_CHOICES:
            raise _refused("PATCH", path, status, body)
        return True

    async def delete_node(self, name: str) -> None:
        """See Kube."""
        await self.delete(f"/api/v1/nodes/{quote(name)}")

    async def get(self, path: str) -> Mapping[str, Any]:
        """See Kube."""
        return self._json("GET", path, missing_is_empty=True)

    async def apply(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """See Kube."""
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        return self._json("PATCH", f"{path}?{query}", document, _APPLY)

    async def delete(self, path: str) -> None:
        """See Kube. What is gone already is no error."""
        self._json("DELETE", path, missing_is_empty=True)

    async def evict(self, namespace: str, pod: str) -> str:
        """See Kube. A pod that is gone needs no eviction."""
        document = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/eviction"
        status, body = self._send("POST", path, document, "application/json")
        if status < 300 or status == _NOT_FOUND:
            return ""
        if status == _TOO_MANY:
            return _message(body)
        raise _refused("POST", path, status, body)

    async def log(self, namespace: str, pod: str, *, lines: int) -> str:
        """See Kube."""
        try:
            path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log?tailLines={lines}"
            status, body = self._send("GET", path, None, "")
        except ContractError:
            return ""
        return body.decode(errors="replace") if status == http.HTTPStatus.OK else ""

    async def pods(self, namespace: Optional[str] = None, node: Optional[str] = None) -> Tuple[Mapping[str, Any], ...]:
        """See Kube."""
        path = f"/api/v1/namespaces/{quote(namespace)}/pods" if namespace else "/api/v1/pods"
        return self._list(path, {"fieldSelector": f"spec.nodeName={node}"} if node else {})

    def _optional_list(self, path: str) -> Tuple[Mapping[str, Any], ...]:
        try:
            return self._list(path)
        except ContractError as error:
            if error.failure.code == "kube.refused":
                return ()
            raise

    def _list(self, path: str, selector: Optional[Mapping[str, str]] = None) -> Tuple[Mapping[str, Any], ...]:
        found: List[Mapping[str, Any]] = []
        query: Dict[str, str] = {"limit": str(_PAGE), **(selector or {})}
        while True:
            page = self._json("GET", f"{path}?{urlencode(query)}", missing_is_empty=True)
            found.extend(page.get("items") or ())
            token = page.get("metadata", {}).get("continue")
            if not token:
                return tuple(found)
            query["continue"] = token

    def _json(
        self,
        method: str,
        path: str,
        document: Optional[Mapping[str, Any]] = None,
        content_type: str = "",
        *,
        missing_is_empty: bool = False,
    ) -> Mapping[str, Any]:
        status, body = self._send(method, path, document, content_type)
        if status == _NOT_FOUND and missing_is_empty:
            return {}
        if status >= 300:
            raise _refused(method, path, status, body)
        try:
            found = json.loads(body or b"{}")
        except ValueError as error:
            raise _refused(method, path, status, body) from error
        if not isinstance(found, dict):
            raise _refused(method, path, status, body)
        return found

    def _send(
        self, method: str, path: str, document: Optional[Mapping[str, Any]], content_type: str
    ) -> Tuple[int, bytes]:
        body = json.dumps(document).encode() if document is not None else None
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        if body is not None:
            headers["Content-Type"] = content_type

        def exchange() -> Tuple[int, bytes]:
            connection = self._connected()
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

        return self._with_causes(exchange, may_repeat=method == "GET" and self._connection is not None)

    def _connected(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            if self._access is None:
                self._access = read_access(self._path)
            try:
                context = tls_context(self._access)
            except (ssl.SSLError, ValueError) as error:
                raise _certificate(self._path, error) from error
            self._connection = http.client.HTTPSConnection(
                self._access.host, self._access.port, timeout=self._timeout, context=context
            )
        return self._connection

    def _with_causes(self, exchange: Callable[[], Tuple[int, bytes]], *, may_repeat: bool) -> Tuple[int, bytes]:
        try:
            return exchange()
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise _certificate(self._where(), error) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A server may close a connection that was idle; that says nothing about the API.
            if may_repeat and isinstance(error, (http.client.HTTPException, ConnectionError)):
                return self._with_causes(exchange, may_repeat=False)
            raise _unreachable(self._where(), error) from error

    def _where(self) -> str:
        return f"https://{self._access.host}:{self._access.port}" if self._access is not None else self._path


def _unreachable(where: str, error: Exception) -> ContractError:
    # The standard library's timeouts have no words of their own worth showing.
    cause = "no answer in time" if isinstance(error, TimeoutError) or "timed out" in str(error) else str(error)
    return ContractError(
        Failure(
            "kube.unreachable",
            "the Kubernetes API does not answer",
            f"{where}: {cause or type(error).__name__}",
            "see systemctl status k3s, and journalctl -u k3s, on a server",
        )
    )


def _certificate(where: str, error: Exception) -> ContractError:
    cause = getattr(error, "verify_message", "") or str(error)
    return ContractError(
        Failure(
            "kube.certificate",
            "the certificate of the Kubernetes API cannot be verified",
            f"{where}: {cause}",
            "the kubeconfig belongs to another cluster, or K3s has to renew its certificates (k3s certificate check)",
        )
    )


def _refused(method: str, path: str, status: int, body: bytes) -> ContractError:
    where = f"{method} {path.partition('?')[0]}: HTTP {status}: {_message(body)}"
    if status >= 500 or status == _TOO_MANY:
        what = "the Kubernetes API cannot answer at the moment"
        return ContractError(Failure("kube.unavailable", what, where, "wait, and check its log (journalctl -u k3s)"))
    return ContractError(
        Failure("kube.refused", "the Kubernetes API refuses the request", where, "see the evidence for the reason")
    )


def _message(body: bytes) -> str:
    """PURE: return the message of a Status, else the text itself, in one line."""
    text = body.decode(errors="replace")
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("message"):
        causes = (document.get("details") or {}).get("causes") or ()
        text = "; ".join([str(document["message"]), *(str(item.get("message", "")) for item in causes)])
    return _shortened(" ".join(text.split()))


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:297]}..."
