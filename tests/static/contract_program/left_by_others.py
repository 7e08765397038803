"""Members that somebody else made, as facts: by K3s' install script, by k3s-ansible, by hand."""

from __future__ import annotations

from dataclasses import replace

from install_script import unit_text
from productive_k3s.contract.facts import Facts, FileFact, Running
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import assess
from static.contract_program.hosts import (
    CA,
    VERSION,
    after,
    file,
    fresh,
    merged,
    on_k3s,
    server,
    unit_fact,
    with_config,
)

URL = "https://10.0.0.11:6443"
VARIABLES = f"K3S_TOKEN='of-the-cluster'\nK3S_URL='{URL}'\n"
OLD_PRE = "ExecStartPre=/bin/sh -xc '! systemctl is-enabled --quiet nm-cloud-setup.service'\n"


def left_by_script(role: str, *flags: str, variables: str = "", unit: str = "", **k3s: object) -> Facts:
    """A member that runs, and that only the install script touched."""
    name = "k3s-agent" if role == "agent" else "k3s"
    found = unit_fact(
        name,
        unit or unit_text(role, *flags),
        active_state="active",
        enabled=True,
        arguments=(role, *flags),
        environment_files=(file(paths.environment_file(name), variables, 0o600),),
    )
    facts = on_k3s(
        fresh(),
        **{
            "role": role,
            "binary": file(paths.BINARY, ""),
            "binary_version": VERSION,
            "links": {f"/usr/local/bin/{one}": "k3s" for one in paths.LINKS},
            "scripts": (file(paths.KILLALL, "#!/bin/sh\n"), file(paths.uninstall_script(name), "#!/bin/sh\n")),
            "units": (found,),
            "datastore": "etcd" if role == "server" else None,
            "ca_hash": CA,
            "has_node_password": True,
            "node_name": "node-1",
            **k3s,
        },
    )
    facts = merged(facts)
    facts = on_k3s(facts, running=Running("unchanged", facts.k3s.on_disk))
    if role == "agent":
        return facts
    made = server(binary=None)
    ready = after(made, facts, next(item for item in assess(made, fresh()).changes if item.id == "wait:k3s"))
    return replace(facts, cluster=ready.cluster)


def configured(facts: Facts, text: str, *drop_ins: FileFact) -> Facts:
    """The same member with files that it was started with."""
    facts = merged(with_config(facts, text, *drop_ins))
    return on_k3s(facts, running=Running("unchanged", facts.k3s.on_disk))
