"""PURE: what OpenTofu and AWS complain about, as errors a person can use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from productive_k3s_infra.errors import Locked, Pk3sError, ProviderFailed

_LONGEST = 600


@dataclass(frozen=True)
class Diagnostic:
    """One complaint."""

    summary: str
    detail: str = ""
    address: str = ""

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Diagnostic:
        """Return the complaint of an event of OpenTofu's JSON output."""
        found = event.get("diagnostic") or {}
        said = str(event.get("@message", "")).removeprefix("Error: ")
        return cls(str(found.get("summary") or said), str(found.get("detail", "")), str(found.get("address", "")))

    @property
    def text(self) -> str:
        """All of it in one line."""
        return " ".join(f"{self.summary}: {self.detail}".split()) if self.detail else " ".join(self.summary.split())


@dataclass(frozen=True)
class Meaning:
    """A cause: how it is recognised, its code, and what a person is told."""

    kind: type[Pk3sError]
    pattern: str
    code: str
    what: str
    remedy: str


# The first that matches is the cause. The patterns are words of OpenTofu 1.10, Terraform 1.11 and the AWS API.
_CAUSES = (
    Meaning(
        Locked,
        r"Error acquiring the state lock|state blob is already locked|ConditionalCheckFailedException",
        "tofu.state-locked",
        "another run is working on this state",
        "wait until it has finished; if no run is left: tofu force-unlock with the ID shown above",
    ),
    Meaning(
        ProviderFailed,
        r"Saved plan is stale|Saved plan does not match",
        "tofu.plan-stale",
        "the state has changed since the plan was made, so nothing was done",
        "run it again: it makes a new plan and asks",
    ),
    Meaning(
        ProviderFailed,
        r"Backend (initialization required|configuration changed|configuration block has changed)|migrate-state",
        "tofu.backend-changed",
        "the state is not where the file says",
        "move it: run tofu init -migrate-state in the folder shown above; then run this again",
    ),
    Meaning(
        ProviderFailed,
        r"Unsupported (Terraform|OpenTofu) Core version|state snapshot was created by (Terraform|OpenTofu) v",
        "tofu.too-old",
        "the state or the module needs a newer OpenTofu",
        "install a newer OpenTofu, or set its path: TOFU_BIN=PATH",
    ),
    Meaning(
        ProviderFailed,
        r"Failed to (query available|install) provider|could not (connect to|query provider registry)"
        r"|Missing required provider",
        "tofu.no-provider",
        "the AWS provider cannot be downloaded",
        "let this computer reach registry.opentofu.org, or set up a filesystem_mirror in ~/.tofurc",
    ),
    Meaning(
        ProviderFailed,
        r"No valid credential sources|failed to refresh cached credentials|no EC2 IMDS role|ExpiredToken"
        r"|InvalidClientTokenId|AuthFailure|SignatureDoesNotMatch|failed to get shared config profile|SSO session",
        "aws.no-credentials",
        "AWS does not accept the credentials",
        "log in as you do for the aws command (aws sso login, AWS_PROFILE, AWS_ACCESS_KEY_ID), or name a profile: "
        "spec.provider.profile",
    ),
    Meaning(
        ProviderFailed,
        r"UnauthorizedOperation|AccessDenied|is not authorized to perform",
        "aws.not-allowed",
        "these credentials do not have the permissions for this",
        "give them the permissions that `pk3s explain aws` lists",
    ),
    Meaning(
        ProviderFailed,
        r"aws\.network:|InvalidVpcID|InvalidSubnet(ID)?\.|no matching EC2 (VPC|Subnet)|aws\.no-subnet:",
        "aws.network",
        "the network does not exist",
        "name a VPC and a subnet of it, both in this region; or neither, where the region has its default VPC",
    ),
    Meaning(
        ProviderFailed,
        r"InvalidKeyPair\.|InvalidKey\.|no matching EC2 Key Pair|aws\.key-pair:",
        "aws.key-pair",
        "the key pair cannot be used, or is not in this region",
        "correct spec.provider.keyPair, or leave it out: then one is created from your public key (RSA or ED25519)",
    ),
    Meaning(
        ProviderFailed,
        r"aws\.no-image:|InvalidAMIID",
        "aws.no-image",
        "the region does not have the image",
        "name an image of this region as spec.provider.imageId, or use another region",
    ),
    Meaning(
        ProviderFailed,
        r"(Vcpu|Instance|Address|SecurityGroup|VolumeStorage)\w*LimitExceeded|InsufficientInstanceCapacity|MaxSpotInstance",
        "aws.quota",
        "AWS does not provide more of this",
        "use another instance type or subnet, or ask AWS for a higher quota (Service Quotas, EC2); then run it again",
    ),
    Meaning(
        ProviderFailed,
        r"Unsupported\b.*(instance type|Availability Zone)|InvalidParameterValue.*instance type"
        r"|not supported in your requested|architecture .* does not match",
        "aws.instance-type",
        "the instance type does not work with this subnet or image",
        "use another machine.type, or architecture: arm64 with Graviton types",
    ),
    Meaning(
        ProviderFailed,
        r"InvalidIPAddress\.InUse|Address .* is in use|does not fall within the subnet",
        "aws.address",
        "the private address cannot be used",
        "use a free address of the subnet, or leave the node's address out",
    ),
    Meaning(
        ProviderFailed,
        r"no such host|connection refused|i/o timeout|could not resolve|dial tcp",
        "aws.unreachable",
        "AWS does not answer",
        "check whether this computer can reach the region's endpoints (proxy, AWS_ENDPOINT_URL), then run it again",
    ),
    Meaning(
        ProviderFailed,
        r"Interrupt|interrupted|operation canceled",
        "tofu.interrupted",
        "it was interrupted",
        "run it again: it continues from what exists",
    ),
)


def explain(wrong: tuple[Diagnostic, ...], verb: str, where: str) -> Pk3sError:
    """Return the error for what OpenTofu said; what is not known stays in its own words."""
    # Being interrupted is a consequence; what went wrong before it is the cause.
    text = " | ".join(one.text for one in wrong)
    for known in _CAUSES:
        first = next((one for one in wrong if re.search(known.pattern, one.text)), None)
        if first is not None:
            return known.kind(
                known.what,
                where=first.address or where,
                evidence=first.text[:_LONGEST],
                remedy=known.remedy,
                code=known.code,
            )
    return ProviderFailed(
        f"tofu {verb} failed",
        where=where,
        evidence=text[:_LONGEST] or "it printed nothing",
        remedy="fix what it reports, then run it again: it continues from what exists",
        code="tofu.failed",
    )
