"""EC2 as moto plays it, on loopback: `Cloud`. What it makes are records; a lab machine stands behind an address.

Cloud
    environment                 what makes OpenTofu speak to it
    add_image(day)              an Ubuntu 24.04 of Canonical
    network(cidr)               a VPC with one subnet of it
    instances(), names(), groups(), key_pairs(), addresses()    what there is
    seed(instance_id)           the SSH host key in an instance's user data, as cloud-init would take it
    close()
"""

from __future__ import annotations

import base64
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

OnInstance = Callable[[Any], None]
REGION = "eu-central-1"
_ACCOUNT = "123456789012"
_CANONICAL = "099720109477"
_ALIVE = {"pending", "running", "stopping", "stopped"}


@dataclass(frozen=True)
class Cloud:
    """One server with one account."""

    server: Any
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Say to AWS' own libraries where it is, and who asks."""
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        return {**keys, "AWS_ENDPOINT_URL": self.url, "AWS_MAX_ATTEMPTS": "2"}

    @property
    def backend(self) -> Any:
        """What moto itself keeps."""
        from moto.ec2 import ec2_backends

        return ec2_backends[_ACCOUNT][REGION]

    @property
    def client(self) -> Any:
        """Boto3's client."""
        import boto3

        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client("ec2", region_name=REGION, endpoint_url=self.url, **keys)

    def bucket(self, name: str) -> None:
        """Make a bucket for states."""
        self._s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})

    def lock(self, bucket: str, key: str) -> None:
        """Lock a state as a run does that goes on somewhere else."""
        body = b'{"ID":"6a5c","Operation":"OperationTypePlan","Who":"somebody@elsewhere","Version":"1.10.6"}'
        self._s3.put_object(Bucket=bucket, Key=key, Body=body)

    def unlock(self, bucket: str, key: str) -> None:
        """Take the lock away."""
        self._s3.delete_object(Bucket=bucket, Key=key)

    @property
    def _s3(self) -> Any:
        import boto3

        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client("s3", region_name=REGION, endpoint_url=self.url, **keys)

    def add_image(self, day: str) -> str:
        """Put an image into the catalogue; `day` is as 2026-01-31."""
        name = f"ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-{day.replace('-', '')}"
        made = self.client.register_image(Name=name, Architecture="x86_64", RootDeviceName="/dev/sda1")["ImageId"]
        image = self.backend.amis[made]
        image.owner_id, image.creation_date, image.virtualization_type = _CANONICAL, datetime.fromisoformat(day), "hvm"
        return str(made)

    def network(self, cidr: str) -> tuple[str, str]:
        """Make a VPC and a subnet that is all of it."""
        vpc = self.client.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
        return vpc, self.client.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]

    def instances(self) -> list[dict[str, Any]]:
        """Return the instances that live."""
        found = self.client.describe_instances()["Reservations"]
        every = [instance for reservation in found for instance in reservation["Instances"]]
        return [instance for instance in every if instance["State"]["Name"] in _ALIVE]

    def names(self) -> list[str]:
        """Return the names of the instances that live."""
        tags = [{tag["Key"]: tag["Value"] for tag in one.get("Tags", ())} for one in self.instances()]
        return sorted(one.get("Name", "?") for one in tags)

    def left(self) -> dict[str, list[str]]:
        """Return everything that the module makes and that is there, the defaults of a VPC not."""
        groups = self.client.describe_security_groups()["SecurityGroups"]
        volumes = self.client.describe_volumes()["Volumes"]
        found = {
            "instances": [one["InstanceId"] for one in self.instances()],
            "groups": [one["GroupId"] for one in groups if one["GroupName"] != "default"],
            "key pairs": [one["KeyName"] for one in self.client.describe_key_pairs()["KeyPairs"]],
            "addresses": [one["AllocationId"] for one in self.client.describe_addresses()["Addresses"]],
            "volumes": [one["VolumeId"] for one in volumes],
        }
        return {what: ids for what, ids in found.items() if ids}

    def watch(self, *, on_launch: OnInstance, on_end: OnInstance) -> None:
        """Call these with each instance, before whoever launches or terminates it hears of it."""
        backend = self.backend
        run, terminate = backend.run_instances, backend.terminate_instances

        def launched(*words: Any, **more: Any) -> Any:
            made = run(*words, **more)
            for instance in made.instances:
                on_launch(instance)
            return made

        def ended(ids: list[str]) -> Any:
            for instance in backend.get_multi_instances_by_id(ids):
                on_end(instance)
            return terminate(ids)

        backend.run_instances, backend.terminate_instances = launched, ended

    def user_data(self, instance_id: str) -> str:
        """Return the user data as an instance reads it."""
        answer = self.client.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        return base64.b64decode(answer["UserData"]["Value"]).decode()

    def seed(self, instance_id: str) -> str:
        """Return the private host key of the user data."""
        return str(yaml.safe_load(self.user_data(instance_id))["ssh_keys"]["ed25519_private"])

    def close(self) -> None:
        """Stop the server; its account is forgotten."""
        self.server.stop()


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Give a server for the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # moto's own affairs
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        _keep_groups_of_interfaces()
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        made = Cloud(server, f"http://{host}:{port}")
        try:
            yield made
        finally:
            from moto.moto_api._internal import moto_api_backend

            moto_api_backend.reset()
            made.close()


def _keep_groups_of_interfaces() -> None:
    """Let an instance have the security groups of its first interface, as AWS does; moto forgets them."""
    from moto.ec2.models.instances import Instance

    if hasattr(Instance, "prepared"):
        return
    prepare = Instance.prep_nics

    def prepared(instance: Any, *words: Any, **more: Any) -> None:
        prepare(instance, *words, **more)
        instance.security_groups = instance.security_groups or list(instance.nics[0].group_set)

    Instance.prepared = True  # type: ignore[attr-defined]
    Instance.prep_nics = prepared  # type: ignore[method-assign]
