"""Whose host K3s is taken off, what is said of what dies, and what refuses it. Its effects: contract/uninstaller."""

from __future__ import annotations

from dataclasses import replace

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import ClusterFacts, Facts, NodeFact
from productive_k3s.doors.host import run_to_end
from productive_k3s.doors.system import Completed
from productive_k3s.k3s import paths
from productive_k3s.k3s.token import ca_hash
from productive_k3s.plan import uninstall as plan
from productive_k3s.verbs import facts as facts_verb
from productive_k3s.verbs import uninstall
from productive_k3s_infra.rehearse.system import Command
from static.contract_program.hosts import CA, OTHER_CA, fresh, on_k3s, unit_fact
from static.contract_program.simulated import LiveMachine, Machine

CERTIFICATE = b"a CA of one certificate"
OWN = ca_hash(CERTIFICATE)


def nodes(*names: str) -> ClusterFacts:
    there = tuple(NodeFact(name, name, True, True, (), "v1", "", 0.0) for name in names)
    return ClusterFacts(True, "", "v1", there)


class Installed(LiveMachine):
    """A server with its datastore and its CA, and systemd as an uninstallation asks it."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.system.put(
            {
                f"{paths.DATA}/server/tls/server-ca.crt": CERTIFICATE,
                f"{paths.DATA}/server/db/etcd/member/wal": "data",
                f"{paths.DATA}/server/token": f"K10{OWN}::server:secret",
                "/etc/rancher/node/password": "secret",
            }
        )
        self.cluster = nodes(*(names or ("node-1",)))
        self.scripts: list[str] = []
        self.system.script_process(("systemctl", "stop"), self._stop)
        self.system.script_process(("systemctl", "show", "k3s"), lambda _: Completed(0, "ActiveState=inactive\n", ""))
        self.system.script_process(("sh", "-s"), self._script)

    def _stop(self, _: Command) -> Completed:
        self.stop()
        return Completed(0, "", "")

    def _script(self, command: Command) -> Completed:
        text = (command.stdin or b"").decode()
        self.scripts.append(text)
        for unit in ("k3s", "k3s-agent"):
            if f'unit="{unit}"\n' in text:
                self.system._entries.pop(paths.unit_file(unit), None)
        return Completed(0, "", "")

    def stop(self) -> None:
        """K3s does not run any more."""
        self.units.set("k3s", ActiveState="inactive", SubState="dead", MainPID="0")

    def lose_ca(self) -> None:
        """The certificates are gone; tokens may still name the cluster."""
        run_to_end(self.system.remove_tree(f"{paths.DATA}/server/tls"))

    def lose_all(self) -> None:
        """Nothing on the host names its cluster."""
        self.lose_ca()
        run_to_end(self.system.remove(f"{paths.DATA}/server/token"))

    def uninstall(self, *, cluster: str | None = None, yes: bool = False, force: bool = False, **how: bool) -> Result:
        return run_to_end(uninstall.run(self.host(), cluster=cluster, yes=yes, force=force, **how))

    @property
    def is_untouched(self) -> bool:
        there = run_to_end(self.system.read(f"{paths.DATA}/server/db/etcd/member/wal")) == b"data"
        return there and self.scripts == []


def codes(result: Result) -> list[str]:
    assert all(failure.exit_code == 4 for failure in result.failures)
    return [failure.code for failure in result.failures]


class TestWhoseHost:
    @pytest.mark.parametrize("named", [OTHER_CA, OTHER_CA[:8]])
    @pytest.mark.parametrize("stopped", [False, True])
    def test_a_host_of_another_cluster_is_never_touched(self, named: str, stopped: bool) -> None:
        """One wrong address is enough; no flag is about which cluster it is."""
        machine = Installed()
        if stopped:
            machine.stop()
        result = machine.uninstall(cluster=named, yes=True, force=True)
        assert (result.outcome, codes(result)) == ("refused", ["k3s.ca-mismatch"])
        assert machine.is_untouched

    @pytest.mark.parametrize("length", [8, 12, 64])
    def test_the_one_that_was_named_goes(self, length: int) -> None:
        machine = Installed()
        result = machine.uninstall(cluster=OWN[:length], yes=True)
        assert (result.outcome, [change.id for change in result.changes]) == (
            "done",
            ["stop:k3s", "killall:host", "files:host"],
        )
        assert run_to_end(machine.system.list_directory(paths.DATA)) == ()
        assert [text.partition("\n")[0] for text in machine.scripts] == ["#!/bin/sh"] * 3

    def test_nobody_named_one(self) -> None:
        machine = Installed()
        result = machine.uninstall(yes=True, force=True)
        assert (codes(result), machine.is_untouched) == (["cluster.not-named"], True)
        assert OWN[:8] not in str(result.failures), "whoever is about to lose a cluster looks first which one it is"
        (note,) = run_to_end(facts_verb.run(machine.host())).notes
        assert OWN[:8] in note

    @pytest.mark.parametrize("word", ["", "abc", OWN[:7], f"{OWN}0", "zzzzzzzz", f"{OWN[:8]} "])
    def test_what_is_no_hash_is_bad_input(self, word: str) -> None:
        machine = Installed()
        result = machine.uninstall(cluster=word, yes=True, force=True)
        assert (result.outcome, [(item.code, item.exit_code) for item in result.failures], machine.is_untouched) == (
            "failed",
            [("request.flag", 2)],
            True,
        )

    def test_a_ca_that_is_lost_is_told_by_the_token(self) -> None:
        machine = Installed()
        machine.lose_ca()
        machine.stop()
        assert codes(machine.uninstall(cluster=OTHER_CA, yes=True, force=True)) == ["k3s.ca-mismatch"]
        assert codes(machine.uninstall(cluster=plan.UNKNOWN, yes=True, force=True)) == ["cluster.known"]
        assert machine.is_untouched
        assert machine.uninstall(cluster=OWN, yes=True, force=True).outcome == "done"

    def test_what_nobody_can_tell_is_agreed_to_by_name(self) -> None:
        machine = Installed()
        machine.lose_all()
        machine.stop()
        for named in (None, OWN):
            result = machine.uninstall(cluster=named, yes=True, force=True)
            assert (codes(result), machine.is_untouched) == (["cluster.unknown"], True)
            assert "etcd datastore" in result.failures[0].evidence
        assert machine.uninstall(cluster=plan.UNKNOWN, yes=True, force=True).outcome == "done"

    def test_a_cluster_that_is_known_is_not_unknown(self) -> None:
        machine = Installed()
        assert codes(machine.uninstall(cluster=plan.UNKNOWN, yes=True, force=True)) == ["cluster.known"]
        assert machine.is_untouched

    @pytest.mark.parametrize("cluster", [None, OTHER_CA])
    def test_where_there_is_nothing_to_lose_nobody_is_asked(self, cluster: str | None) -> None:
        machine = Machine()
        machine.system.put({paths.BINARY: b"", paths.CONFIG: "debug: true\n"})
        machine.system.script(paths.BINARY, "--version", returncode=126)
        machine.system.script("sh", "-s")
        result = run_to_end(uninstall.run(machine.host(), cluster=cluster))
        assert result.outcome == "done"


class TestWhoLivesOn:
    def test_other_nodes_keep_it(self) -> None:
        machine = Installed("node-1", "agent-1")
        result = machine.uninstall(cluster=OWN, yes=True)
        assert (codes(result), result.failures[0].evidence) == (["cluster.has-members"], "agent-1")
        assert machine.is_untouched
        assert machine.uninstall(cluster=OWN, yes=True, force=True).outcome == "done"

    @pytest.mark.parametrize("away", ["stopped", "unreachable"])
    def test_not_to_know_them_is_no_sign_that_there_are_none(self, away: str) -> None:
        machine = Installed()
        if away == "stopped":
            machine.stop()
        else:
            machine.cluster = ClusterFacts(False, "connection refused")
        result = machine.uninstall(cluster=OWN, yes=True)
        assert (codes(result), machine.is_untouched) == (["cluster.members-unknown"], True)
        assert "only server" not in str(result.failures)
        assert machine.uninstall(cluster=OWN, yes=True, force=True).outcome == "done"

    def test_a_datastore_whose_unit_is_gone_is_a_server_s_all_the_same(self) -> None:
        machine = Installed()
        machine.stop()
        run_to_end(machine.system.remove(paths.unit_file("k3s")))
        machine.units.properties.clear()
        assert machine.facts().k3s.role is None
        result = machine.uninstall(cluster=OWN)
        assert set(codes(result)) == {"cluster.members-unknown", "cluster.would-be-lost"}
        assert machine.is_untouched

    @pytest.mark.parametrize("force", [False, True])
    def test_a_datastore_goes_with_a_yes_only(self, force: bool) -> None:
        machine = Installed()
        result = machine.uninstall(cluster=OWN, force=force)
        assert (codes(result), machine.is_untouched) == (["cluster.would-be-lost"], True)
        assert "etcd datastore" in result.failures[0].evidence

    def test_an_agent_leaves_without_all_that(self) -> None:
        here = on_k3s(fresh(), role="agent", units=(unit_fact("k3s-agent", ""),), ca_hash=CA, has_node_password=True)
        assert plan.vetoes(here, CA[:8], yes=False, force=False) == ()


class TestPlan:
    def test_it_says_what_dies_and_what_would_refuse(self) -> None:
        machine = Installed("node-1", "agent-1")
        result = machine.uninstall(plan=True)
        assert (result.outcome, machine.is_untouched) == ("planned", True)
        said = "\n".join(result.notes)
        assert "this also deletes: the etcd datastore" in said
        for code in ("cluster.not-named", "cluster.has-members", "cluster.would-be-lost"):
            assert "would be refused" in said
            assert f"[{code}]" in said

    def test_one_for_another_cluster_is_refused(self) -> None:
        result = Installed().uninstall(cluster=OTHER_CA, plan=True)
        assert result.outcome == "refused"
        assert "k3s.ca-mismatch" in codes(result)


class TestChanges:
    def test_nothing_there_nothing_to_do(self) -> None:
        assert plan.changes(fresh()) == ()

    def test_leftovers_alone_are_worth_it(self) -> None:
        left = on_k3s(fresh(), leftovers=("/run/k3s",))
        assert [change.id for change in plan.changes(left)] == ["killall:host", "files:host"]

    def test_a_kubectl_of_somebody_else_is_no_trace(self) -> None:
        assert plan.changes(on_k3s(fresh(), links={"/usr/local/bin/kubectl": "/usr/bin/kubectl"})) == ()
        assert plan.changes(on_k3s(fresh(), links={"/usr/local/bin/kubectl": "k3s"}))

    def test_a_unit_that_is_not_there_is_not_stopped(self) -> None:
        gone = unit_fact("k3s", "", load_state="not-found", fragment=None)
        left = on_k3s(fresh(), units=(gone,), leftovers=("/etc/systemd/system/k3s.service.env",))

        def stops(facts: Facts) -> bool:
            return any(change.action == "stop-unit" for change in plan.changes(facts))

        assert not stops(left)
        assert stops(on_k3s(left, units=(replace(gone, main_pid=7),)))

    def test_containers_that_cannot_be_ended_stop_it(self) -> None:
        machine = Installed()
        said = "processes of containers cannot be stopped: 77"
        machine.system.script("sh", "-s", returncode=1, stderr=said)
        result = machine.uninstall(cluster=OWN, yes=True)
        assert (result.outcome, result.failures[0].code, result.failures[0].evidence) == (
            "failed",
            "k3s.containers-left",
            said,
        )
        assert run_to_end(machine.system.read(f"{paths.DATA}/server/db/etcd/member/wal")) == b"data"

    def test_a_unit_that_does_not_stop_stops_it(self) -> None:
        machine = Installed()
        machine.system.script("systemctl", "stop")
        machine.system.script("systemctl", "show", "k3s", stdout="ActiveState=deactivating\n")
        result = machine.uninstall(cluster=OWN, yes=True)
        assert (result.outcome, result.failures[0].code) == ("failed", "k3s.does-not-stop")
        assert "deactivating" in result.failures[0].evidence
        assert machine.is_untouched

    def test_a_link_to_another_disk_stays_and_what_is_behind_it_goes(self) -> None:
        machine = Installed()
        run_to_end(machine.system.make_directory("/mnt/sd", 0o755))
        run_to_end(machine.system.rename(paths.DATA, "/mnt/sd/k3s"))
        machine.system.put_link(paths.DATA, "/mnt/sd/k3s")
        assert machine.uninstall(cluster=OWN, yes=True).outcome == "done"
        found = machine.system.snapshot()
        assert found[paths.DATA].kind == "link"
        assert [path for path in found if path.startswith("/mnt/sd/k3s/")] == []

    @pytest.mark.parametrize("folder", ["server/db", "server", "agent/containerd", "agent", "data"])
    def test_a_folder_of_k3s_on_another_disk_is_emptied(self, folder: str) -> None:
        """Images are moved to a larger disk so, the datastore to a faster one."""
        machine = Installed()
        machine.system.put({f"{paths.DATA}/{folder}/some/file": "of K3s"})
        run_to_end(machine.system.make_directory("/mnt/sd", 0o755))
        run_to_end(machine.system.rename(f"{paths.DATA}/{folder}", "/mnt/sd/moved"))
        machine.system.put_link(f"{paths.DATA}/{folder}", "/mnt/sd/moved")
        assert machine.uninstall(cluster=OWN, yes=True).outcome == "done"
        found = machine.system.snapshot()
        assert [path for path in found if path.startswith("/mnt/sd/moved/")] == []
        assert paths.DATA not in found

    def test_links_to_what_not_only_k3s_writes_go_and_what_is_there_stays(self) -> None:
        """Volumes and images may be of several hosts; whoever uninstalls is told where they are."""
        machine = Installed()
        machine.system.put({"/mnt/nas/volumes/pvc-1/data": "precious", "/opt/images/k3s.tar": "images"})
        machine.system.put({f"{paths.DATA}/data/0a1b/bin/k3s": ""})
        machine.system.put_link(f"{paths.DATA}/storage", "/mnt/nas/volumes")
        machine.system.put_link(f"{paths.DATA}/agent/images", "../../../../../opt/images")
        machine.system.put_link(f"{paths.DATA}/data/current", f"{paths.DATA}/data/0a1b")
        notes: list[str] = []
        host = machine.host()
        host = replace(host, emit=lambda kind, message, *_, **__: notes.append(message))
        assert run_to_end(uninstall.run(host, cluster=OWN, yes=True, force=False)).outcome == "done"
        found = machine.system.snapshot()
        assert {"/mnt/nas/volumes/pvc-1/data", "/opt/images/k3s.tar"} <= set(found)
        assert paths.DATA not in found
        assert [note for note in notes if "is kept" in note] == [
            f"{paths.DATA}/agent/images was a link to /opt/images: its content there is kept",
            f"{paths.DATA}/storage was a link to /mnt/nas/volumes: its content there is kept",
        ]
