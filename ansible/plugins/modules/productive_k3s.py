"""Documentation of the action plugin of the same name: all of it runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: productive_k3s
short_description: Runs a verb of the host program of productive-k3s
version_added: "0.1.0"
description:
  - Runs the host program as C(pk3s) does. One fixed command on the host reads program and request from standard input.
  - The host needs Python 3.9, systemd and a way to become root; no other module is run there.
  - The connection has to pass on standard input, as V(ssh) and V(local) do.
author:
  - Productive K3s contributors
options:
  verb:
    description:
      - V(look) says what V(apply) would change, and never changes anything.
      - V(apply) makes the host what the request asks.
      - V(stage) pushes one file, which the host verifies.
      - V(token) reads the agent token on a server. The task needs C(no_log).
      - V(label) sets labels of nodes that are members, on a server.
      - V(validate) checks the host, or on a server the whole cluster.
      - V(note) notes in the cluster, from a server, for what the hosts are a validation with pods has passed.
      - V(uninstall) takes K3s off the host, if it belongs to the cluster that is meant.
    type: str
    required: true
    choices: [look, apply, stage, token, label, validate, note, uninstall]
  program:
    description: The program's file and how it is run, as C(pk3s inventory) writes it.
    type: dict
    required: true
    suboptions:
      path:
        description: Where the program is on the controller.
        type: path
        required: true
      sha256:
        description: Its digest. Another file is refused.
        type: str
        required: true
      loader:
        description: Where the line lies that the command reads first.
        type: path
        required: true
      command:
        description: The one command that is run on a host.
        type: list
        elements: str
        required: true
  request:
    description: The host's whole request, as C(pk3s inventory) writes it, with its secrets filled in.
    type: dict
  agreed:
    description: The ids of the changes that may be made. Without it all of them may.
    type: list
    elements: str
  others_are_members:
    description: Whether other hosts belong to the cluster already. A server founds no second one then.
    type: bool
    default: false
  token:
    description: The agent token, for an agent that joins.
    type: str
  file:
    description: The file to push, with C(path), C(sha256) and C(name).
    type: dict
  members:
    description: Agents whose labels are compared, each as a pair of its request and its facts.
    type: list
    elements: list
    default: []
  facts:
    description: The facts of this server, as V(look) returns them.
    type: dict
  expectation:
    description: What a validation expects, as C(pk3s inventory) writes it.
    type: dict
    default: {}
  scope:
    description: Whether V(validate) looks at the host or at its cluster.
    type: str
    choices: [host, cluster]
    default: host
  full:
    description: Whether a validation of the cluster runs a pod on every node, and takes it away again.
    type: bool
    default: false
  unless_passed:
    description:
      - Whether O(full) holds only where no such validation has passed yet for what the hosts are by O(seen).
      - Where not all of them are seen, it holds if the last one did not pass.
    type: bool
    default: false
  seen:
    description: The facts of all hosts by name, as V(look), V(apply) and V(validate) return them.
    type: dict
    default: {}
  cluster:
    description:
      - For V(uninstall), the cluster that is meant, by the hash of its CA.
      - A host of another one is left alone.
    type: str
  force:
    description: Whether V(uninstall) takes away a server though other nodes belong to its cluster, or may.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would change. Nothing is written on the host.
    support: full
  diff_mode:
    description: Shows the differences of files that change.
    support: full
"""

EXAMPLES = r"""
- name: See what the host needs
  productive_k3s.infra.productive_k3s:
    verb: look
    program: "{{ remote_cluster_program }}"
    request: "{{ remote_cluster_request }}"
  register: look

- name: Check the host
  productive_k3s.infra.productive_k3s:
    verb: validate
    program: "{{ remote_cluster_program }}"
    expectation: "{{ remote_cluster_expectation }}"
"""

RETURN = r"""
outcome:
  description: How the run ended, as the wire says it.
  returned: always
  type: str
  sample: unchanged
changes:
  description: What was changed, or would be, each with its reason.
  returned: always
  type: list
  elements: str
change_ids:
  description: The ids of the changes, as O(agreed) takes them.
  returned: always
  type: list
  elements: str
notes:
  description: What is worth to be known.
  returned: always
  type: list
  elements: str
failures:
  description: Why it failed, each with a stable code, what was seen and what to do.
  returned: failed
  type: list
  elements: dict
facts:
  description: What is true on the host.
  returned: V(look), V(apply) and V(validate)
  type: dict
member:
  description: Whether the host belongs to a cluster.
  returned: V(look)
  type: bool
lacks:
  description: The digests of files that have to be pushed before V(apply).
  returned: V(look)
  type: list
  elements: str
wants_token:
  description: Whether V(apply) needs the agent token.
  returned: V(look)
  type: bool
checks:
  description: How many checks passed, and those that did not.
  returned: V(validate)
  type: dict
scope:
  description: How far the validation went, V(host), V(quick) or V(full).
  returned: V(validate)
  type: str
noted:
  description: Whether it was noted.
  returned: V(note)
  type: bool
token:
  description: The agent token, a secret.
  returned: V(token)
  type: str
"""
