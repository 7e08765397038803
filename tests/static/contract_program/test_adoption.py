"""K3s as its install script left it: taken as it is while it equals the request, and moved as a whole when it does not.

The script puts flags on the unit's command line and K3S_* variables into its environment file (k3s-io/k3s, install.sh).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from install_script import unit_text
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import Join, Request
from productive_k3s.contract.secret import value_digest
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import Assessment, assess
from static.contract_program.hosts import (
    TOKEN,
    after,
    agent,
    file,
    fresh,
    merged,
    on_k3s,
    server,
    token_fact,
    with_config,
)
from static.contract_program.left_by_others import OLD_PRE, URL, VARIABLES, configured, left_by_script
from static.contract_program.simulated import Machine


def wish(role: str, **wishes: object) -> Request:
    return (agent if role == "agent" else server)(binary=None, **wishes)


def assessed(request: Request, facts: Facts) -> Assessment:
    found = assess(request, facts)
    assert not found.vetoes
    return found


def names(request: Request, facts: Facts) -> list[str]:
    return [change.id.split("/")[-1] for change in assessed(request, facts).changes]


def run(request: Request, facts: Facts, most: int | None = None) -> Facts:
    for change in assessed(request, facts).changes[:most]:
        facts = after(request, facts, change)
    return facts


def config_of(facts: Facts) -> str:
    return next(item.text or "" for item in facts.k3s.config_files if item.path == paths.CONFIG)


def test_an_agent_whose_server_and_token_are_variables_is_left_alone() -> None:
    found = assessed(wish("agent", join=Join(URL)), left_by_script("agent", variables=VARIABLES))
    assert found.changes == ()
    assert "nothing is rewritten (in its environment file: server, token)" in "; ".join(found.notes)


def test_the_address_that_k3s_finds_by_itself_is_no_difference() -> None:
    """pk3s always says the address that the cluster file declares."""
    facts = left_by_script("agent", variables=VARIABLES)
    assert names(wish("agent", node_ip="10.0.0.11"), facts) == []
    assert "config.yaml" in names(wish("agent", node_ip="192.168.9.5"), facts)
    assert "config.yaml" in names(wish("agent", flannel_iface="eth1"), facts)


def test_a_server_with_flags_on_its_unit_is_left_alone() -> None:
    facts = left_by_script("server", "--cluster-init", "--disable=traefik", "--debug")
    found = assessed(wish("server", config={"debug": True, "disable": ["traefik"]}), facts)
    assert found.changes == ()
    assert "(on the unit: cluster-init, debug, disable)" in "; ".join(found.notes)


@pytest.mark.parametrize("killed_after", range(8))
def test_an_agent_that_changes_loses_neither_server_nor_token(killed_after: int) -> None:
    """All moves in one run, and a kill between any two changes makes no difference in the end."""
    asked = wish("agent", config={"debug": True})
    facts = left_by_script("agent", variables=VARIABLES)
    assert names(asked, facts) == [
        "agent.token",
        "config.yaml",
        "k3s-agent.service.env",
        "restart:k3s-agent",
        "wait:k3s-agent",
    ]
    done = run(asked, run(asked, facts, killed_after))
    assert names(asked, done) == []
    assert f"server: {URL}\ntoken-file: {paths.AGENT_TOKEN}\n" in config_of(done)
    assert [item.text for item in done.k3s.units[0].environment_files] == [""]
    assert done.k3s.running is not None
    assert done.k3s.running.digests == done.k3s.on_disk


@pytest.mark.parametrize(
    ("asked", "facts", "said"),
    [
        (
            wish("agent", config={"debug": True}),
            left_by_script("agent", variables=VARIABLES),
            "K3s differs from the request in debug; flags on the unit and in its environment move here",
        ),
        (
            wish("server"),
            left_by_script("server", "--cluster-init", "--disable=traefik"),
            "K3s differs from the request in disable; flags on the unit and in its environment move here",
        ),
        (
            wish("server", environment={"HTTP_PROXY": "http://p:1"}),
            left_by_script("server", "--cluster-init"),
            "flags on the unit and in its environment move here",
        ),
        (wish("server", config={"debug": True}), left_by_script("server"), "K3s differs from the request in debug"),
    ],
)
def test_the_first_plan_says_what_was_asked_for(asked: Request, facts: Facts, said: str) -> None:
    reasons = {change.target: change.reason for change in assessed(asked, facts).changes}
    assert reasons[paths.CONFIG] == said
    assert {reasons[path] for path in reasons if path.endswith(".token")} <= {
        "config.yaml refers to it; the token is unchanged",
        "config.yaml refers to it; the tokens are unchanged",
    }
    if asked.environment:
        assert reasons[paths.environment_file("k3s")] == "the environment differs (now: empty; requested: HTTP_PROXY)"
    assert not any("it is generated once" in reason for reason in reasons.values())


def test_a_proxy_that_goes_takes_nothing_else_with_it() -> None:
    facts = left_by_script("agent", variables=VARIABLES + "HTTP_PROXY=http://p:1\n")
    assert names(wish("agent", environment={"HTTP_PROXY": "http://p:1"}), facts) == []
    assert f"server: {URL}\n" in config_of(run(wish("agent"), facts))


def test_another_unit_text_is_left_alone_and_takes_no_flag_with_it() -> None:
    """Older releases of the script wrote one directive more: no restart for it, and with one its flags stay true."""
    flags = ("--server", URL, "--token", "of-the-cluster", "--debug")
    text = unit_text("agent", *flags).replace("ExecStart=", OLD_PRE + "ExecStart=")
    facts = left_by_script("agent", *flags, unit=text)
    found = assessed(wish("agent", config={"debug": True}), facts)
    assert found.changes == ()
    assert "the unit becomes the install script's (now it differs in ExecStartPre)" in "; ".join(found.notes)
    asked = wish("agent", config={"debug": True, "selinux": True})
    done = run(asked, facts)
    assert done.k3s.units[0].arguments == ("agent",)
    assert f"server: {URL}\n" in config_of(done)
    assert "debug: true\n" in config_of(done)
    assert names(asked, done) == []
    # A config.yaml of somebody else that says the rest is no reason to leave the server out.
    beside = merged(with_config(facts, "debug: true\nnode-ip: 10.0.0.11\n"))
    done = run(asked, beside)
    assert f"server: {URL}\n" in config_of(done)


def test_a_unit_that_runs_another_program_is_written() -> None:
    text = unit_text("agent").replace("/usr/local/bin/k3s", "/opt/bin/k3s")
    facts = left_by_script("agent", variables=VARIABLES, unit=text)
    assert "k3s-agent.service" in names(wish("agent"), facts)


def test_another_unit_is_rewritten_with_a_change_that_restarts_anyway() -> None:
    """Otherwise the next run, on a node that is ours then, would restart it once more."""
    text = unit_text("server").replace("ExecStart=", OLD_PRE + "ExecStart=")
    facts = configured(left_by_script("server", unit=text), "cluster-init: true\n")
    assert names(wish("server"), facts) == []
    asked = wish("server", config={"debug": True})
    assert {"config.yaml", "k3s.service", "restart:k3s"} <= set(names(asked, facts))
    assert names(asked, run(asked, facts)) == []


def test_cosmetic_moves_are_said_and_not_made() -> None:
    drop_in = file(f"{paths.CONFIG}.d/10-names.yaml", "tls-san: [a.example]\ndisable+: [servicelb]\n")
    facts = left_by_script("server", "--debug")
    facts = configured(facts, "cluster-init: true\ndisable: [traefik]\n", drop_in)
    asked = wish("server", tls_san=("a.example",), config={"debug": True, "disable": ["servicelb", "traefik"]})
    found = assessed(asked, facts)
    assert found.changes == ()
    cosmetic = [note for note in found.notes if note.startswith("cosmetic: ")]
    assert len(cosmetic) == 2
    assert f"debug move to {paths.CONFIG}" in cosmetic[0]
    assert "10-names.yaml already sets disable, tls-san as requested" in cosmetic[1]
    # Once our own file is written the drop-in only repeats it, and that is no difference either.
    changed = replace(asked, config={**asked.config, "debug": False})
    done = run(changed, facts)
    assert names(changed, done) == []
    assert not any(note.startswith("cosmetic") for note in assessed(changed, done).notes)


def test_the_default_data_directory_says_nothing() -> None:
    facts = left_by_script("agent", f"--data-dir={paths.DATA}", variables=VARIABLES)
    assert names(wish("agent"), facts) == []
    elsewhere = left_by_script("agent", "--data-dir=/data/k3s", variables=VARIABLES)
    assert "k3s.fixed-at-first-start" in {veto.code for veto in assess(wish("agent"), elsewhere).vetoes}


def test_a_secret_in_somebody_else_s_config_is_kept_or_a_veto() -> None:
    text = "cluster-init: true\netcd-s3-secret-key: hunter2\n"
    facts = configured(left_by_script("server"), text)
    assert names(wish("server"), facts) == []
    (veto,) = assess(wish("server", config={"debug": True}), facts).vetoes
    assert veto.code == "config.secret-elsewhere"
    assert veto.what.startswith(
        "etcd-s3-secret-key is a secret in a /etc/rancher/k3s/config.yaml that productive-k3s did not write"
    )
    # On the unit it is lost only if the unit is rewritten.
    on_unit = left_by_script("server", "--cluster-init", "--etcd-s3-secret-key=hunter2")
    assert names(wish("server"), on_unit) == []
    (veto,) = assess(wish("server", config={"debug": True}), on_unit).vetoes
    assert veto.code == "config.secret-elsewhere"


def test_a_proxy_s_password_is_compared_with_the_one_on_somebody_else_s_node() -> None:
    facts = left_by_script("agent", variables=VARIABLES + "HTTPS_PROXY=http://user:word@p:1\n")
    for asked, same in (("user:word@p:1", True), ("user:other@p:1", False), ("user:word@p:2", False)):
        assert (names(wish("agent", environment={"HTTPS_PROXY": f"http://{asked}"}), facts) == []) is same


def test_a_token_is_wanted_only_where_one_is_written() -> None:
    facts = left_by_script("agent", variables=VARIABLES)
    without = {"join": Join(URL)}
    assert assess(wish("agent", **without), facts).vetoes == ()
    (veto,) = assess(wish("agent", config={"debug": True}, **without), facts).vetoes
    assert veto.code == "k3s.no-token"
    kept = on_k3s(facts, tokens=(token_fact(paths.AGENT_TOKEN, TOKEN),))
    assert assess(wish("agent", config={"debug": True}, **without), kept).vetoes == ()


def test_variables_of_this_program_s_own_node_go() -> None:
    there = run(agent(), fresh())
    unit = replace(there.k3s.units[0], environment_files=(file(paths.environment_file("k3s-agent"), VARIABLES),))
    facts = merged(on_k3s(there, units=(unit,)))
    assert names(agent(), facts) == ["k3s-agent.service.env", "restart:k3s-agent", "wait:k3s-agent"]


def test_a_secret_that_would_be_lost_is_a_veto() -> None:
    facts = left_by_script(
        "server", variables="K3S_DATASTORE_ENDPOINT='postgres://u:hunter2@h'\n", datastore="external"
    )
    asked = wish("server", datastore="sqlite", config={"debug": True})
    (veto,) = assess(asked, facts).vetoes
    assert (veto.code, veto.exit_code) == ("config.secret-elsewhere", 4)
    assert "config.yaml.d" in veto.remedy
    # In a drop-in it stays, and is no obstacle.
    moved = with_config(left_by_script("server", datastore="external"), "", file(f"{paths.CONFIG}.d/s.yaml", "a: b\n"))
    assert assess(asked, moved).vetoes == ()


def test_a_datastore_is_never_converted() -> None:
    asked = wish("server", datastore="etcd", config={"debug": True})
    assert "cluster-init" not in config_of(run(asked, left_by_script("server", "--tls-san=a", datastore="sqlite")))
    assert "cluster-init: true" in config_of(run(asked, left_by_script("server", "--tls-san=a", datastore="etcd")))


def test_another_configuration_file_is_a_veto() -> None:
    facts = left_by_script("server", variables="K3S_CONFIG_FILE=/etc/k3s.yaml\n")
    (veto,) = assess(wish("server"), facts).vetoes
    assert veto.code == "environment.overridden"
    assert "K3S_CONFIG_FILE" in veto.evidence


def test_facts_count_variables_as_flags_and_show_no_secret() -> None:
    machine = Machine()
    unit = paths.unit_file("k3s-agent")
    machine.system.put({unit: unit_text("agent", "--node-name=from-the-unit")})
    machine.system.put(
        {
            paths.environment_file("k3s-agent"): f"K3S_TOKEN='{TOKEN}'\nK3S_URL='{URL}'\nK3S_NODE_NAME=x\nK3S_DEBUG=\n",
            "/etc/default/k3s-agent": "K3S_SELINUX=true\n",
        }
    )
    machine.units.set("k3s-agent", LoadState="loaded", FragmentPath=unit)
    found = machine.facts().k3s
    assert found.config == {"node-name": ["from-the-unit"], "server": [URL], "token": [value_digest(TOKEN)]}
    assert found.config_sources == {"node-name": "unit", "server": "environment", "token": "environment"}
    assert TOKEN not in repr(found)
