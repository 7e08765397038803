"""The names of the cluster in /etc/hosts: the block, what cloud-init does to it, and that all else stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.request import HostEntry, Join, Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import run_to_end
from productive_k3s.doors.system import HttpResponse
from productive_k3s.effects.install import apply_change
from productive_k3s.effects.uninstall import undo
from productive_k3s.facts.hosts import combined_writes_hosts, parts_write_hosts
from productive_k3s.k3s import hosts_file, paths
from productive_k3s.plan import uninstall
from productive_k3s.plan.changes import assess
from productive_k3s.verbs import install
from static.contract_program.hosts import TOKEN, agent, fresh, server
from static.contract_program.simulated import STARTED_SECONDS, LiveMachine, Machine
from static.contract_program.systemd import task_on

NAMES = (HostEntry("10.0.0.11", ("server-1", "k3s.internal")), HostEntry("10.0.0.21", ("agent-1",)))
TEMPLATE = "/etc/cloud/templates/hosts.debian.tmpl"
THEIRS = "127.0.0.1 localhost\n127.0.1.1 server-1\n"
BLOCK = """\
# BEGIN productive-k3s: names of the cluster's nodes. Changes made here are replaced by its next run.
10.0.0.11 server-1 k3s.internal
10.0.0.21 agent-1
# END productive-k3s
"""


def content(machine: Machine, path: str = "/etc/hosts") -> str:
    return machine.system.snapshot()[path].content.decode(errors="surrogateescape")


def names_changed(machine: Machine, request: Request) -> list[str]:
    """Make the changes of names that the request needs; return their ids."""
    facts = machine.facts()
    found = [change for change in assess(request, facts, planning=True).changes if change.id.startswith("hosts:")]
    for change in found:
        run_to_end(apply_change(task_on(machine.host(), request, facts, "x"), change))
    return [f"{change.action} {change.target}" for change in found]


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.system.put({"/etc/hosts": THEIRS})
    return machine


class TestBlock:
    def test_it_goes_in_once_and_comes_out_again(self, machine: Machine) -> None:
        assert names_changed(machine, server(hosts_file=NAMES)) == ["write-hosts /etc/hosts"]
        assert content(machine) == THEIRS + BLOCK
        assert names_changed(machine, server(hosts_file=NAMES)) == []
        assert names_changed(machine, server()) == ["remove-hosts /etc/hosts"]
        assert content(machine) == THEIRS

    def test_a_change_is_shown_as_a_diff_and_made_in_place(self, machine: Machine) -> None:
        names_changed(machine, server(hosts_file=NAMES))
        machine.system.put({"/etc/hosts": content(machine) + "10.9.9.9 later\n"})
        wish = server(hosts_file=NAMES[:1])
        (change,) = [item for item in assess(wish, machine.facts()).changes if item.action == "write-hosts"]
        assert "-10.0.0.21 agent-1" in change.diff
        assert change.impact == "change"
        names_changed(machine, wish)
        assert content(machine) == THEIRS + BLOCK.replace("10.0.0.21 agent-1\n", "") + "10.9.9.9 later\n"

    def test_spaces_and_comments_are_no_difference_order_of_names_is(self, machine: Machine) -> None:
        spaced = BLOCK.replace("10.0.0.21 agent-1", "10.0.0.21\tagent-1  # rack 4\n\n")
        machine.system.put({"/etc/hosts": THEIRS + spaced})
        assert names_changed(machine, server(hosts_file=NAMES)) == []
        other = (replace(NAMES[0], names=("k3s.internal", "server-1")), NAMES[1])
        assert names_changed(machine, server(hosts_file=other)) == ["write-hosts /etc/hosts"]

    def test_it_restarts_nothing(self) -> None:
        machine = LiveMachine()
        machine.system.put({"/etc/hosts": THEIRS})
        machine.system.put({paths.SERVER_TOKEN: "s", paths.AGENT_TOKEN: "a"}, changed=STARTED_SECONDS - 60)
        before = {change.id for change in assess(server(binary=None), machine.facts()).changes}
        after = {change.id for change in assess(server(binary=None, hosts_file=NAMES), machine.facts()).changes}
        assert "restart:k3s" not in before
        assert after - before == {"hosts:/etc/hosts"}

    def test_it_comes_before_what_may_need_the_names(self) -> None:
        ids = [change.id for change in assess(agent(hosts_file=NAMES), fresh()).changes]
        assert ids.index("hosts:/etc/hosts") < ids.index("start:k3s-agent")

    @pytest.mark.parametrize(
        ("text", "after"),
        [
            ("", BLOCK),
            ("127.0.0.1 localhost", f"127.0.0.1 localhost\n{BLOCK}"),
            (f"{BLOCK}1.1.1.1 a\n{BLOCK}", f"{BLOCK}1.1.1.1 a\n"),
            # Somebody deleted the last mark: what follows may be anybody's, so it stays.
            ("# BEGIN productive-k3s\n1.1.1.1 a\n", f"{BLOCK}1.1.1.1 a\n"),
            ("1.1.1.1 a\n# END productive-k3s\n2.2.2.2 b\n", f"1.1.1.1 a\n{BLOCK}2.2.2.2 b\n"),
            (f"# BEGIN productive-k3s\n1.1.1.1 a\n{BLOCK}", f"{BLOCK}1.1.1.1 a\n"),
        ],
    )
    def test_whatever_state_the_marks_are_in(self, text: str, after: str) -> None:
        found = hosts_file.with_block(text, hosts_file.lines(NAMES))
        assert found == after
        assert hosts_file.with_block(found, hosts_file.lines(NAMES)) == after

    @given(st.lists(st.text("ab #\t.1"), max_size=6), st.sampled_from(["\n", "\r\n"]))
    def test_in_and_out_leaves_what_was_there(self, lines: list[str], end: str) -> None:
        text = "".join(f"{line}{end}" for line in lines)
        assert hosts_file.with_block(hosts_file.with_block(text, hosts_file.lines(NAMES)), ()) == text


class TestJoin:
    """A name that the run itself writes must lead to the server already before: until then nothing is changed."""

    @pytest.mark.parametrize(
        ("server", "asked"),
        [
            ("https://k3s.internal:6443", "https://10.0.0.11:6443/cacerts"),
            ("https://K3s.internal", "https://10.0.0.11:443/cacerts"),
            ("https://10.0.0.11:6443", "https://10.0.0.11:6443/cacerts"),
            ("https://other.internal:6443", "https://other.internal:6443/cacerts"),
        ],
    )
    def test_the_server_is_asked_at_the_address_of_its_name(self, machine: Machine, server: str, asked: str) -> None:
        machine.system.pages[asked] = HttpResponse(200, b"another CA")
        wish = agent(join=Join(server, Secret(TOKEN)), hosts_file=NAMES)
        result = run_to_end(install.run(machine.host(), wish))
        assert [failure.code for failure in result.failures] == ["k3s.ca-mismatch"]
        assert content(machine) == THEIRS

    def test_an_ipv6_address_is_written_as_one(self, machine: Machine) -> None:
        machine.system.pages["https://[fd00::11]:6443/cacerts"] = HttpResponse(200, b"another CA")
        names = (HostEntry("fd00::11", ("k3s.internal",)),)
        wish = agent(join=Join("https://k3s.internal:6443", Secret(TOKEN)), hosts_file=names)
        result = run_to_end(install.run(machine.host(), wish))
        assert [failure.code for failure in result.failures] == ["k3s.ca-mismatch"]


class TestFile:
    def test_mode_owner_and_other_bytes_stay(self, machine: Machine) -> None:
        machine.system.put({"/etc/hosts": b"1.1.1.1 caf\xe9\n"}, mode=0o664)
        entries = machine.system._entries
        entries["/etc/hosts"] = replace(entries["/etc/hosts"], uid=33, gid=44)
        names_changed(machine, server(hosts_file=NAMES))
        found = machine.system.snapshot()["/etc/hosts"]
        assert (found.mode, found.uid, found.gid) == (0o664, 33, 44)
        assert found.content == b"1.1.1.1 caf\xe9\n" + BLOCK.encode()
        assert [path for path in machine.system.snapshot() if path.startswith("/etc/hosts")] == ["/etc/hosts"]

    def test_a_link_stays_a_link(self, machine: Machine) -> None:
        machine.system.put({"/var/hosts": THEIRS})
        machine.system.put_link("/etc/hosts", "../var/hosts")
        names_changed(machine, server(hosts_file=NAMES))
        assert machine.system.snapshot()["/etc/hosts"].kind == "link"
        assert content(machine, "/var/hosts") == THEIRS + BLOCK

    def test_one_that_cannot_be_read_whole_is_left_alone(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("productive_k3s.effects.hosts.LIMIT_BYTES", 20)
        with pytest.raises(ContractError) as caught:
            names_changed(machine, server(hosts_file=NAMES))
        assert caught.value.failure.code == "host.hosts-file"
        assert content(machine) == THEIRS

    def test_with_selinux_it_gets_its_own_label_back(self, machine: Machine) -> None:
        machine.system.put({"/sys/fs/selinux/enforce": "1"})
        label = "system_u:object_r:net_conf_t:s0"
        machine.system.script("matchpathcon", "-n", "-m", "file", "/etc/hosts", stdout=f"{label}\n")
        names_changed(machine, server(hosts_file=NAMES))
        assert machine.system.snapshot()["/etc/hosts"].label == label

    def test_an_uninstallation_takes_it_away(self, machine: Machine) -> None:
        names_changed(machine, server(hosts_file=NAMES))
        (change,) = uninstall.changes(machine.facts())
        run_to_end(undo(machine.host(), change))
        assert content(machine) == THEIRS
        assert uninstall.changes(machine.facts()) == ()
        ids = [item.id for item in uninstall.changes(replace(LiveMachine().facts(), host=machine.facts().host))]
        assert "files:host" in ids


class TestCloudInit:
    def test_the_template_gets_the_block_too(self, machine: Machine) -> None:
        machine.system.put({"/etc/cloud/cloud.cfg": "manage_etc_hosts: true\n", TEMPLATE: "127.0.1.1 {{fqdn}}\n"})
        both = ["write-hosts /etc/hosts", f"write-hosts {TEMPLATE}"]
        assert names_changed(machine, server(hosts_file=NAMES)) == both
        # What it does at each boot.
        machine.system.put({"/etc/hosts": content(machine, TEMPLATE).replace("{{fqdn}}", "server-1")})
        assert content(machine) == f"127.0.1.1 server-1\n{BLOCK}"
        assert names_changed(machine, server(hosts_file=NAMES)) == []
        assert names_changed(machine, server()) == [item.replace("write", "remove") for item in both]
        assert content(machine, TEMPLATE) == "127.0.1.1 {{fqdn}}\n"

    def test_without_cloud_init_s_hand_on_it_the_template_is_left_alone(self, machine: Machine) -> None:
        machine.system.put({"/etc/cloud/cloud.cfg": "manage_etc_hosts: localhost\n", TEMPLATE: "x\n"})
        assert names_changed(machine, server(hosts_file=NAMES)) == ["write-hosts /etc/hosts"]

    def test_a_block_in_the_template_goes_also_when_cloud_init_lost_interest(self, machine: Machine) -> None:
        machine.system.put({"/etc/cloud/cloud.cfg": "manage_etc_hosts: false\n", TEMPLATE: BLOCK})
        assert names_changed(machine, server()) == [f"remove-hosts {TEMPLATE}"]

    def test_the_template_is_that_of_the_family(self, machine: Machine) -> None:
        redhat = TEMPLATE.replace("debian", "redhat")
        machine.system.put({"/etc/os-release": "ID=rocky\n", "/etc/cloud/cloud.cfg": "manage_etc_hosts: true\n"})
        machine.system.put({redhat: "", TEMPLATE: ""})
        assert [item.path for item in machine.facts().host.hosts_files] == ["/etc/hosts", redhat]

    def test_the_last_part_that_says_it_decides(self, machine: Machine) -> None:
        machine.system.put(
            {
                TEMPLATE: "",
                "/etc/cloud/cloud.cfg": "manage_etc_hosts: true\n",
                "/etc/cloud/cloud.cfg.d/90.cfg": "manage_etc_hosts: false\n",
            }
        )
        assert len(machine.facts().host.hosts_files) == 1
        machine.system.put({"/var/lib/cloud/instance/vendor-cloud-config.txt": "manage_etc_hosts: true\n"})
        assert len(machine.facts().host.hosts_files) == 2
        machine.system.put({"/var/lib/cloud/instance/vendor-cloud-config.txt": ""})
        machine.system.put({"/var/lib/cloud/instance/cloud-config.txt": "#cloud-config\nmanage_etc_hosts: True\n"})
        assert len(machine.facts().host.hosts_files) == 2
        machine.system.put({"/run/cloud-init/combined-cloud-config.json": '{"manage_etc_hosts": false}'})
        assert len(machine.facts().host.hosts_files) == 1

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("manage_etc_hosts: true", True),
            ('  "manage_etc_hosts" : "template"', True),
            ("# manage_etc_hosts: true", False),
            ("no_manage_etc_hosts: true", False),
            ("manage_etc_hosts:\nother: true", False),
            ("", False),
        ],
    )
    def test_parts(self, text: str, expected: bool) -> None:
        assert parts_write_hosts(text) is expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('{"manage_etc_hosts": true}', True),
            ('{"manage_etc_hosts": "localhost"}', False),
            ("{}", False),
            ("[]", False),
            ("x", False),
        ],
    )
    def test_combined(self, text: str, expected: bool) -> None:
        assert combined_writes_hosts(text) is expected
