"""The provider `aws` with a real OpenTofu (and Terraform, where it is installed) on an account that moto plays.

No machine stands behind the instances: what pk3s does on hosts is left to tests/live/test_aws.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from moto_bed import Cloud, cloud
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.providers.aws.provider import AwsProvider
from productive_k3s_infra.providers.aws.tofu import Tofu
from productive_k3s_infra.workspace.directory import Workspace
from tofu_bed import TofuBed, make_bed

pytestmark = pytest.mark.soak
FILE = """
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {{name: edge}}
spec:
  provider:
    kind: aws
    region: eu-central-1
    allowedCidrs: {{ssh: [203.0.113.7/32], api: ["203.0.113.0/24"]{http}}}
    elasticIp: true
    state:
      backend: s3
      config:
        {{bucket: states, key: edge.tfstate, region: eu-central-1, use_lockfile: "true", use_path_style: "true",
          skip_requesting_account_id: "true"}}
  ssh: {{key: {key}}}
  k3s: {{version: v1.34.4+k3s1}}
  nodes:
    - {{name: server-1, role: server}}
"""


@dataclass(frozen=True)
class Account:
    """An account, and people with a checkout each."""

    folder: Path
    cloud: Cloud
    environment: dict[str, str]

    def person(self, name: str, http: str = "") -> AwsProvider:
        """Return the provider of somebody's checkout."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        file = folder / "cluster.yaml"
        file.write_text(FILE.format(http=http, key=self.folder / "key"))
        spec = load_cluster_file(file, {})
        workspace = Workspace(file, spec.name)
        return AwsProvider(spec, workspace, tofu=Tofu(workspace.path / "tofu", self.environment))


@pytest.fixture(params=["tofu", "terraform"])
def account(
    request: pytest.FixtureRequest, tofu: TofuBed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    bed = tofu
    if request.param == "terraform":
        program = shutil.which("terraform")
        if program is None:
            pytest.skip("the second binary is not installed, so nobody uses it here")
        bed = make_bed(Path(program), tmp_path)
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"), check=True)
    with cloud() as made:
        made.add_image("2026-01-01")
        made.bucket("states")
        environment = {**os.environ, **bed.environment(tmp_path / "home"), **made.environment}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Account(tmp_path, made, environment)


def silent(_address: str, _what: str) -> None: ...


async def make(provider: AwsProvider) -> None:
    """Apply what is planned; nobody is there to be met."""
    await provider.survey()
    look = provider._look
    assert look is not None
    provider._ground.apply(look, silent)


async def test_a_state_that_is_shared(account: Account) -> None:
    await make(account.person("first"))
    assert len(account.cloud.left()["addresses"]) == 1
    other = account.person("other")
    survey = await other.survey()
    assert survey.resources == ()
    location = survey.machines[0].location
    assert location is not None
    assert location.public_address == account.cloud.client.describe_addresses()["Addresses"][0]["PublicIp"]

    # What is open changes in place, and no machine is touched.
    opened = account.person("other", ", http: [0.0.0.0/0]")
    assert [str(one) for one in (await opened.survey()).resources] == ["update aws_security_group.nodes"]
    await make(opened)
    assert (await account.person("first", ", http: [0.0.0.0/0]").survey()).resources == ()

    # A machine that somebody has stopped is started, and nothing else.
    instance = account.cloud.instances()[0]["InstanceId"]
    account.cloud.client.stop_instances(InstanceIds=[instance])
    first = account.person("first", ", http: [0.0.0.0/0]")
    survey = await first.survey()
    assert [one.state for one in survey.machines] == ["stopped"]
    assert [one.what for one in survey.resources] == ["start it"]
    look = first._look
    assert look is not None
    first._ground.apply(look, silent)
    assert account.cloud.instances()[0]["State"]["Name"] == "running"
    assert account.cloud.instances()[0]["InstanceId"] == instance

    # One at a time, and who is in the way is said.
    account.cloud.lock("states", "edge.tfstate.tflock")
    with pytest.raises(Pk3sError) as caught:
        await account.person("first").survey()
    assert (caught.value.code, caught.value.exit_code) == ("tofu.state-locked", 7)
    account.cloud.unlock("states", "edge.tfstate.tflock")

    await account.person("other").destroy_all(silent)
    assert account.cloud.left() == {}
