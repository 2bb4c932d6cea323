"""Where a request comes from, and whether requests from there are let in.

The address is that of the socket's peer. ``X-Forwarded-For`` is believed only where the peer is in
a trusted network, and is read from the right, where the proxy nearest to us wrote: each entry that
is a trusted proxy's own says who stands before it, and the first that is not is the client. What a
client wrote into the header itself stands to the left of that and is never reached.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from recprune.errors import ParameterError
from recprune.security.policy import NetworkRules

__all__ = ["Client", "Networks", "is_loopback"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: An address with the port that some proxies add.
WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5}")
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
#: Addresses whose place is remembered.
REMEMBERED = 8192


class Client(NamedTuple):
    """Where a request comes from.

    Args:
        bucket: what is counted as one: an IPv4 address, or 64 bits of an IPv6 address, of which
            one subscriber has 2⁶⁴.
        network: what may be written down: 24 bits of an IPv4 address, 48 of an IPv6 address.
        trusted: may say for whom it asks.
        allowed: by the lists.
    """

    bucket: str
    network: str
    trusted: bool
    allowed: bool


class Networks:
    """Tells the address of the client and what the lists say about it.

    Args:
        rules: whom to trust, let in and keep out. A network denied is out although it is allowed
            too; without an allow list everyone else is in.

    Raises:
        ParameterError: not a network.

    >>> networks = Networks(NetworkRules(trusted=("10.0.0.0/8",), deny=("198.51.100.0/24",)))
    >>> networks.client("10.0.0.1", [b"192.0.2.9, 203.0.113.7, 10.0.0.2"]).bucket
    '203.0.113.7'
    >>> networks.client("203.0.113.7", [b"192.0.2.9"]).bucket  # nobody has to believe this
    '203.0.113.7'
    >>> networks.client("10.0.0.1", [b"198.51.100.3"]).allowed
    False
    """

    def __init__(self, rules: NetworkRules) -> None:
        self._unix = "unix" in rules.trusted
        trusted = tuple(t for t in rules.trusted if t != "unix")
        self._trusted = _networks("trusted", trusted)
        self._allow, self._deny = _networks("allow", rules.allow), _networks("deny", rules.deny)
        self._place = functools.lru_cache(REMEMBERED)(self._placed)
        #: A socket of the machine itself has no address.
        self._local = Client("unix", "unix", self._unix, not rules.allow)

    def client(self, peer: str | None, forwarded: Sequence[bytes] = ()) -> Client:
        """Return where a request comes from.

        Args:
            peer: address of the socket's other end; None = a Unix socket.
            forwarded: values of all ``X-Forwarded-For`` headers, in order.
        """
        client = (self._place(peer) if peer else None) or self._local
        if not client.trusted or not forwarded:
            return client
        for entry in reversed(b",".join(forwarded).split(b",")):
            named = self._place(entry.strip().decode("latin-1")) if len(entry) < 64 else None
            # What cannot be read ends the chain: the last proxy that we can name answers for it.
            if named is None:
                break
            client = named
            if not client.trusted:
                break
        return client

    def _placed(self, text: str) -> Client | None:
        address = _address(text)
        if address is None:
            return None
        wide, narrow = (24, 32) if address.version == 4 else (48, 64)
        bucket = ipaddress.ip_network((address, narrow), strict=False)
        return Client(
            bucket=str(bucket if narrow == 64 else address),
            network=str(ipaddress.ip_network((address, wide), strict=False)),
            trusted=_within(address, self._trusted),
            allowed=not _within(address, self._deny)
            and (not self._allow or _within(address, self._allow)),
        )


def is_loopback(name: str) -> bool:
    """Tell whether a name or an address is this machine's own, for itself alone.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("::")
    (True, True, True, False)
    """
    address = _address(name)
    return name == "localhost" if address is None else address.is_loopback


def _address(text: str) -> Address | None:
    """Return an address: with a port or not, an IPv4 address in IPv6's clothes as what it is."""
    found = WITH_PORT.fullmatch(text)
    bare = (found[1] or found[2] or "") if found else text
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _networks(name: str, texts: Sequence[str]) -> tuple[Network, ...]:
    networks: list[Network] = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            constraint = "networks such as '10.0.0.0/8', '2001:db8::/32' or '192.0.2.1'"
            raise ParameterError.of(name, "NetworkRules", constraint, text) from error
        if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
            inner = network.network_address.ipv4_mapped
            network = ipaddress.ip_network((str(inner), network.prefixlen - 96))
        networks.append(network)
    return tuple(networks)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
