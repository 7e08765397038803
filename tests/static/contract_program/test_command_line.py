"""What is typed by hand, as values."""

from __future__ import annotations

import pytest

from productive_k3s.cli import _config
from productive_k3s.contract.failure import ContractError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["disable=traefik"], {"disable": "traefik"}),
        (["disable=traefik", "disable=servicelb"], {"disable": ["traefik", "servicelb"]}),
        (["disable=[traefik, servicelb]"], {"disable": ["traefik", "servicelb"]}),
        (["write-kubeconfig-mode=0644"], {"write-kubeconfig-mode": "0644"}),
        (['write-kubeconfig-mode="0644"'], {"write-kubeconfig-mode": "0644"}),
        (["https-listen-port=7443"], {"https-listen-port": 7443}),
        (["debug=true"], {"debug": True}),
    ],
)
def test_flags_of_k3s_by_hand(typed: list[str], meant: dict[str, object]) -> None:
    assert _config(typed) == meant


@pytest.mark.parametrize("typed", ["disable", "=traefik", "disable=[traefik"])
def test_what_is_no_flag_is_refused(typed: str) -> None:
    with pytest.raises(ContractError) as caught:
        _config([typed])
    assert (caught.value.failure.code, caught.value.failure.exit_code) == ("request.flag", 2)
