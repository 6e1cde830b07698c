"""Which addresses the service may connect to on somebody else's word: endpoints of datasets, URLs to pull.

Whoever sets a dataset up chooses its endpoint, and the service stands inside a network that he may not
see (SSRF). So only public addresses are connected to, and those that the operator allows by name, address
or network. A name is resolved and looked at for every connection, and what is connected to is the address
that was looked at: a name that is public when it is checked and private when it is used opens nothing.
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

_NEVER: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",  # link-local: metadata of AWS, Azure, Google Cloud and others
            "100.100.100.200/32",  # metadata of Alibaba Cloud
            "168.63.129.16/32",  # Azure's host
            "192.0.0.192/32",  # metadata of Oracle Cloud
            "224.0.0.0/4",
            "255.255.255.255/32",
            "::/128",
            "fe80::/10",
            "fec0::/10",  # site-local, once; Python takes it for public
            "fd00:ec2::/32",  # metadata of AWS over IPv6
            "fd20:ce::254/128",  # metadata of Google Cloud over IPv6
            "ff00::/8",
        ),
    )
)
"""Refused whatever the operator allows: what answers there hands out credentials, or is nobody."""
_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_TRANSLATED: Final = tuple(map(IPv6Network, ("64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")))


class AddressRefused(Exception):
    """The host is none that may be connected to. The message names the host, never what it resolves to."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of the operator's list.

    Attributes:
        host: a name; empty for a network.
        network: an address is a network of one; None for a name.
        port: None for any.
    """

    host: str
    network: IPv4Network | IPv6Network | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """An entry: `name`, `address` or `network/bits`, with `:port` if it is for one only.

        Raises:
            ValueError: it is none of these.
        """
        entry = text.strip().lower()
        try:
            return cls("", ip_network(entry.strip("[]")), None)
        except ValueError:
            if "/" in entry or not entry:
                raise ValueError(f"{text!r} is no host, address or network") from None
        try:
            parts = urlsplit(f"//{entry}")
            port = parts.port
        except ValueError:
            raise ValueError(f"{text!r} is no host, address or network") from None
        if "@" in entry or entry != parts.netloc or not _HOST.fullmatch(parts.hostname or ""):
            raise ValueError(f"{text!r} is no host, address or network")
        try:
            return cls("", ip_network(parts.hostname or ""), port)
        except ValueError:
            return cls((parts.hostname or "").rstrip("."), None, port)

    def covers(self, host: str, address: Address, port: int) -> bool:
        """Whether this entry lets this address be connected to under this name."""
        if self.port is not None and self.port != port:
            return False
        if self.network is None:
            return self.host == host.lower().rstrip(".")
        return address in self.network


class Hosts:
    """Says which hosts may be connected to.

    Args:
        allowed: entries of the operator, see `Allowed.parse`; public addresses need none.

    Raises:
        ValueError: an entry cannot be read.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = [Allowed.parse(entry) for entry in allowed if entry.strip()]

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of which may be connected to. Blocks while the name is asked for.

        One forbidden address among several refuses the host: which one is taken is chance.

        Raises:
            AddressRefused: it may not be connected to.
            OSError: the name cannot be resolved now.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise AddressRefused(f"{host!r} is no name of a host") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not self._may(host, ip_address(address.split("%")[0]), port):
                raise AddressRefused(
                    f"{host!r} is no public address, and the operator does not allow it for port {port}"
                )
        return addresses

    def check_url(self, url: str) -> None:
        """Refuse a URL that could never be used, before it is kept. A name that does not resolve passes.

        Raises:
            AddressRefused: it is no `http(s)://host[:port]`, or names a host that may not be connected to.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise AddressRefused("expected http(s)://host[:port]") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AddressRefused("expected http(s)://host[:port]")
        if parts.username is not None or parts.password is not None:
            raise AddressRefused("expected no user and no password in the address")
        try:
            self.resolve(parts.hostname, port or (443 if parts.scheme == "https" else 80))
        except OSError:
            return  # looked at again whenever it is connected to

    def _may(self, host: str, address: Address, port: int) -> bool:
        forms = _forms(address)
        if any(form in network for form in forms for network in _NEVER):
            return False
        if any(entry.covers(host, form, port) for entry in self._allowed for form in forms):
            return True
        return all(form.is_global and not form.is_multicast for form in forms)


PUBLIC_ONLY: Final = Hosts()
"""Nothing but public addresses."""


def _forms(address: Address) -> list[Address]:
    """An address, and the IPv4 address that it stands for in one of IPv6's disguises."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    forms: list[Address] = [address]
    if address.sixtofour is not None:
        forms.append(address.sixtofour)
    if address.teredo is not None:
        forms += address.teredo
    if address in _NAT64 or (any(address in net for net in _TRANSLATED) and int(address) > 1):
        forms.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return forms
