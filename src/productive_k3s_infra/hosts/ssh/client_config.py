"""PURE: what `ssh -G` says of a host. Every keyword is honoured, without effect on us, or refused by name.

`ssh -G` prints every keyword with its value, the defaults too. So what it says without any configuration is the
measure: a keyword that nobody set is of no interest, whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Values = Mapping[str, tuple[str, ...]]

# ssh_config(5). They change where a connection goes, what proves a host, or what is forbidden.
REFUSED = frozenset({"bindinterface", "knownhostscommand", "proxyusefdpass", "refuseconnection", "revokedhostkeys"})
HONOURED = frozenset(
    {
        *("addressfamily", "bindaddress", "casignaturealgorithms", "certificatefile", "ciphers", "connecttimeout"),
        *("globalknownhostsfile", "host", "hostkeyalgorithms", "hostkeyalias", "hostname", "identitiesonly"),
        *("identityagent", "identityfile", "kexalgorithms", "macs", "port", "proxycommand", "proxyjump"),
        *("pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes", "pubkeyauthentication", "requiredrsasize"),
        *("stricthostkeychecking", "user", "userknownhostsfile"),
    }
)
# Further ways to log in: without them a login may be refused, and then they are named.
NOT_TRIED = frozenset(
    {
        *("challengeresponseauthentication", "controlpath", "gssapiauthentication", "hostbasedauthentication"),
        *("kbdinteractiveauthentication", "passwordauthentication", "pkcs11provider", "preferredauthentications"),
        "securitykeyprovider",
    }
)
# What comes with a terminal, forwardings, names that `ssh -G` has resolved already, what makes OpenSSH as strict as we
# are in any case, and what makes it slower and faster.
WITHOUT_EFFECT = frozenset(
    {
        *("addkeystoagent", "batchmode", "canonicaldomains", "canonicalizefallbacklocal", "canonicalizehostname"),
        *("canonicalizemaxdots", "canonicalizepermittedcnames", "channeltimeout", "checkhostip", "clearallforwardings"),
        *("compression", "compressionlevel", "connectionattempts", "controlmaster", "controlpersist", "dynamicforward"),
        *("enableescapecommandline", "enablesshkeysign", "escapechar", "exitonforwardfailure", "fingerprinthash"),
        *("forkafterauthentication", "forwardagent", "forwardx11", "forwardx11timeout", "forwardx11trusted"),
        *("gatewayports", "gssapiclientidentity", "gssapidelegatecredentials", "gssapikexalgorithms"),
        *("gssapikeyexchange", "gssapirenewalforcesrekey", "gssapiserveridentity", "gssapitrustdns", "hashknownhosts"),
        *("hostbasedacceptedalgorithms", "hostbasedkeytypes", "ignoreunknown", "include", "ipqos"),
        *("kbdinteractivedevices", "localcommand", "localforward", "loglevel", "logverbose"),
        *(
            "nohostauthenticationforlocalhost",
            "numberofpasswordprompts",
            "obscurekeystroketiming",
            "permitlocalcommand",
        ),
        *("permitremoteopen", "rekeylimit", "remotecommand", "remoteforward", "requesttty", "sendenv"),
        *("serveralivecountmax", "serveraliveinterval", "sessiontype", "setenv", "stdinnull", "streamlocalbindmask"),
        *("streamlocalbindunlink", "syslogfacility", "tag", "tcpkeepalive", "tunnel", "tunneldevice", "updatehostkeys"),
        *("usekeychain", "verifyhostkeydns", "versionaddendum", "visualhostkey", "warnweakcrypto", "xauthlocation"),
    }
)
_KNOWN = REFUSED | HONOURED | NOT_TRIED | WITHOUT_EFFECT
_ALGORITHMS = (
    *("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms"),
    *("pubkeyacceptedalgorithms", "casignaturealgorithms"),
)
_JUMP = re.compile(r"(?:ssh://)?(?:(?P<user>.*)@)?(?P<host>\[[^\]]+\]|[^:\[\]]+|[0-9a-fA-F:.]+)(?::(?P<port>\d+))?/?")


@dataclass(frozen=True)
class Jump:
    """A host of ProxyJump; None: what the configuration says of it."""

    host: str
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class ClientConfig:
    """What the person's OpenSSH would do for one host. Paths and commands may hold tokens: see `tokens`.

    `known_hosts_files` are lines of one or several paths. `algorithms` are lists that somebody set, by keyword. `jumps`
    is the way in the order that it is gone. `asks` is false where nobody may be asked about an unknown host key.
    `not_tried` are further ways to log in.
    """

    hostname: str
    user: str
    port: int
    jumps: tuple[Jump, ...] = ()
    proxy_command: str | None = None
    identity_files: tuple[str, ...] = ()
    certificate_files: tuple[str, ...] = ()
    identity_agent: str = "SSH_AUTH_SOCK"
    identities_only: bool = False
    host_key_alias: str | None = None
    known_hosts_files: tuple[str, ...] = ()
    asks: bool = True
    address_family: str = "any"
    bind_address: str | None = None
    connect_seconds: float | None = None
    required_rsa_bits: int = 1024
    algorithms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    not_tried: tuple[str, ...] = ()

    def listed(self, keyword: str) -> tuple[str, ...]:
        """Return the algorithms that somebody set for a keyword; empty: nobody did."""
        return dict(self.algorithms).get(keyword, ())


class Unusable(Exception):
    """What cannot be honoured; `keywords` are they and their values, as `ssh -G` prints them."""

    def __init__(self, keywords: Sequence[str]) -> None:
        super().__init__(", ".join(keywords))
        self.keywords = tuple(keywords)


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """Return the values of each keyword, in lower case, in the order of the lines."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        if keyword:
            found[keyword.lower()] = (*found.get(keyword.lower(), ()), value.strip())
    return found


def configured(said: Values, unset: Values) -> ClientConfig:
    """Return the configuration; `unset` is what `ssh -G` says where no configuration is read.

    Raises Unusable with all keywords that cannot be honoured.
    """
    changed = {keyword: values for keyword, values in said.items() if values != unset.get(keyword)}
    unusable = [f"{keyword} {values[0]}" for keyword, values in changed.items() if _is_refused(keyword, values)]
    if unusable:
        raise Unusable(unusable)

    def one(keyword: str) -> str | None:
        value = (said.get(keyword) or ("",))[0]
        return None if value.lower() in {"", "none"} else value

    jumps = one("proxyjump")
    return ClientConfig(
        hostname=one("hostname") or "",
        user=one("user") or "",
        port=int(one("port") or 22),
        jumps=_jumps(jumps) if jumps else (),
        proxy_command=one("proxycommand") if not jumps else None,
        identity_files=tuple(path for path in said.get("identityfile", ()) if path.lower() != "none"),
        certificate_files=tuple(path for path in said.get("certificatefile", ()) if path.lower() != "none"),
        identity_agent=(said.get("identityagent") or ("SSH_AUTH_SOCK",))[0],
        identities_only=_is_on(one("identitiesonly")),
        host_key_alias=one("hostkeyalias"),
        known_hosts_files=tuple(filter(None, map(one, ("userknownhostsfile", "globalknownhostsfile")))),
        asks=(one("stricthostkeychecking") or "ask").lower() not in {"yes", "true"},
        address_family=one("addressfamily") or "any",
        bind_address=one("bindaddress"),
        connect_seconds=float(one("connecttimeout") or 0) or None,
        required_rsa_bits=int(one("requiredrsasize") or 1024),
        algorithms=tuple(
            (keyword, tuple(changed[keyword][0].split(","))) for keyword in _ALGORITHMS if keyword in changed
        ),
        not_tried=tuple(
            f"{keyword} {values[0]}"
            for keyword, values in changed.items()
            if keyword in NOT_TRIED and values[0].lower() not in {"no", "false", "none"}
        ),
    )


def _is_refused(keyword: str, values: tuple[str, ...]) -> bool:
    if keyword == "pubkeyauthentication":
        return not _is_on(values[0])
    return keyword in REFUSED or keyword not in _KNOWN


def _is_on(value: str | None) -> bool:
    return (value or "no").lower() not in {"no", "false"}


def _jumps(text: str) -> tuple[Jump, ...]:
    return tuple(_jump(part) for part in text.split(","))


def _jump(text: str) -> Jump:
    match = _JUMP.fullmatch(text.strip())
    if match is None:
        raise Unusable((f"proxyjump {text}",))
    port = match["port"]
    return Jump(match["host"].strip("[]"), match["user"], int(port) if port else None)
