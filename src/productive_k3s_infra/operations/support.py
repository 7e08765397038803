"""`pk3s support`: one file for whoever shall help, without secrets. It is made whatever is broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from productive_k3s.contract.codec import encode
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.fleet.telling import COLLECT, told
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.operations.observe import observe
from productive_k3s_infra.operations.plan import preflight
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of, survey_of
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.providers.protocol import Survey
from productive_k3s_infra.support.bundle import SUFFIX, Collection, require_archive, write_bundle
from productive_k3s_infra.support.files import add_files
from productive_k3s_infra.support.hosts import add_hosts
from productive_k3s_infra.support.texts import secrets_of
from productive_k3s_infra.workspace.directory import open_workspace


@dataclass(frozen=True)
class Supported:
    """The bundle: its path, the names in it with what they are, and what is missing in it, with the reason."""

    path: Path
    files: Mapping[str, str]
    missing: tuple[str, ...]


async def make_support(session: Session, environment: Mapping[str, str], output: Path | None) -> Supported:
    """Collect what says how the cluster is, and write it as one file that only this user can read.

    A host that does not answer, a provider or a release that cannot be asked is noted in MANIFEST. Changes nothing.
    """
    path = require_archive(output) if output is not None else _in_workspace(session)
    text = session.workspace.cluster_file.read_text(encoding="utf-8")
    found = Collection(secrets_of(text, environment))
    add_files(session.workspace, text, found)
    try:
        survey = await survey_of(session)
    except Pk3sError as error:
        found.lack("all hosts, because the provider does not answer", error)
    else:
        inventory = inventory_of(session, survey)
        async with fleet_of(session, inventory) as fleet:
            await collect(session, survey, inventory, fleet, found)
    write_bundle(path, session.spec.name, found)
    return Supported(path, dict(sorted(found.about.items())), tuple(found.missing))


def _in_workspace(session: Session) -> Path:
    open_workspace(session.workspace.cluster_file, session.spec.name)
    return session.workspace.path / f"support{SUFFIX}"


async def collect(session: Session, survey: Survey, inventory: Inventory, fleet: Fleet, found: Collection) -> None:
    """Add plan, preflight, and of every host that answers its facts and logs."""
    try:
        seen = await observe(session, survey, inventory, fleet)
        plan = plan_stages(seen.situation)
        found.add_document("plan.json", encode(plan), "the plan")
        found.add_document("preflight.json", preflight(session, seen, plan).document(), "the results of preflight")
        observed = seen.observed
    except Pk3sError as error:
        found.lack("plan and preflight", error)
        observed = await gather(inventory, fleet, session.interaction)
    with told(session.interaction, "all hosts", COLLECT):
        await add_hosts(inventory, observed, fleet, found)
