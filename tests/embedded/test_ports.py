"""Two stacks that start at the same moment never get the same port."""

import json
import socket
import subprocess
import sys
from pathlib import Path

from sunledger.embedded.ports import PortClaims, choose_ports

_CHILD = """
import json, sys
from sunledger.embedded.ports import PortClaims
handed = {int(port): fd for port, fd in json.loads(sys.argv[1]).items()}
claims = PortClaims(handed)
print(json.dumps([[claims.take(port), claims.take(port)] for port in handed]), flush=True)
sys.stdin.read()
"""


def test_a_port_is_claimed_before_it_is_listened_on(tmp_path: Path) -> None:
    """Of two stacks that both prefer the defaults, none gets a port of the other's."""
    first, second = PortClaims(), PortClaims()
    try:
        one = choose_ports(tmp_path / "a.json", first, prefer_defaults=True)
        two = choose_ports(tmp_path / "b.json", second, prefer_defaults=True)
        assert not set(one.values()) & set(two.values())
        assert len(set(one.values())) == len(one)
    finally:
        first.release()
        second.release()


def test_a_folder_keeps_its_ports(tmp_path: Path) -> None:
    """A second start takes what the first one chose, unless somebody listens there."""
    claims = PortClaims()
    chosen = choose_ports(tmp_path / "ports.json", claims, prefer_defaults=False)
    claims.release()
    assert choose_ports(tmp_path / "ports.json", claims, prefer_defaults=True) == chosen
    claims.release()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", chosen["s3"]))
        taken.listen()
        again = choose_ports(tmp_path / "ports.json", claims, prefer_defaults=True)
        claims.release()
    assert {name for name in chosen if chosen[name] != again[name]} == {"s3"}


def test_a_detached_process_goes_on_with_the_claims(tmp_path: Path) -> None:
    """The child has what its parent claimed, once, and keeps it when the parent lets go."""
    claims, other = PortClaims(), PortClaims()
    ports = choose_ports(tmp_path / "ports.json", claims, prefer_defaults=False)
    descriptors = claims.descriptors()
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(descriptors)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=tuple(descriptors.values()),
    ) as child:
        claims.release()
        assert child.stdout is not None
        assert json.loads(child.stdout.readline()) == [[True, False]] * len(ports)
        assert not any(other.take(port) for port in ports.values())
        child.communicate(b"")
    assert all(other.take(port) for port in ports.values())
    other.release()
