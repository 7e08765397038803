"""Ask K3s' channel server once which version a channel points at."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.parse
import urllib.request

from productive_k3s.k3s.release import DEFAULT_MINOR, DEFAULT_VERSION
from productive_k3s_infra.errors import BadInput, StepFailed

CHANNELS = "https://update.k3s.io/v1-release/channels"
_REDIRECTS = {301, 302, 303, 307, 308}


def resolve_channel(channel: str, *, base: str = "", timeout_seconds: float = 15.0) -> str:
    """Return the version a K3s channel points at now (k3s.io channel server: the redirect's last path element).

    Proxies come from the environment (HTTPS_PROXY, NO_PROXY), as with downloads. Raises StepFailed when the channel
    server cannot be asked, with the way around it, and BadInput when there is no such channel.
    """
    url = f"{base or CHANNELS}/{urllib.parse.quote(channel, safe='')}"
    host = urllib.parse.urlsplit(url).netloc
    try:
        with _opener().open(urllib.request.Request(url), timeout=timeout_seconds) as answer:  # noqa: S310 - HTTP only
            status, target = answer.status, answer.headers.get("Location", "")
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise StepFailed(
            f"the channel {channel} could not be resolved",
            where=host,
            evidence=str(getattr(error, "reason", "") or str(error) or type(error).__name__),
            remedy=f"give the version: --version {DEFAULT_VERSION}; set a proxy with HTTPS_PROXY",
            code="channel.unreachable",
        ) from error
    version = urllib.parse.unquote(target.rstrip("/").rpartition("/")[2])
    if status not in _REDIRECTS or not version.startswith("v"):
        raise BadInput(
            f"there is no channel {channel}",
            where=host,
            evidence=f"HTTP {status}",
            remedy=f"use stable, latest, or a minor version such as {DEFAULT_MINOR}",
            code="channel.unknown",
        )
    return version


def _opener() -> urllib.request.OpenerDirector:
    """Nothing here follows a redirect: it is the answer."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
    ):
        opener.add_handler(handler)
    return opener
