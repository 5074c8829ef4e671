"""What can be above one link of the host."""

from __future__ import annotations

import pytest

from mydocker import errors
from mydocker.network import above
from mydocker.network.document import Network


def network(driver: str, **options: str) -> Network:
    return Network(
        name=driver, id="1" * 64, created="", driver=driver, options={"parent": "cable", **options}
    )


def test_what_goes_together() -> None:
    above.check_beside(network("ipvlan"), [])
    above.check_beside(network("ipvlan"), [network("ipvlan", ipvlan_mode="l2", ipvlan_flag="bridge")])
    above.check_beside(network("macvlan"), [network("macvlan", macvlan_mode="private")])


@pytest.mark.parametrize(
    "there",
    [network("macvlan"), network("ipvlan", ipvlan_mode="l3"), network("ipvlan", ipvlan_flag="private")],
)
def test_what_does_not(there: Network) -> None:
    with pytest.raises(
        errors.Conflict, match=f"network {there.name} is above cable by .*, so none can be by"
    ):
        above.check_beside(network("ipvlan"), [there])
