"""Addresses: what a client says about itself is not believed, whatever it says."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import ParameterError
from recprune.security import NetworkRules, Networks

BEHIND = Networks(NetworkRules(trusted=("10.0.0.0/8", "fd00::/8", "unix")))


@pytest.mark.parametrize(
    ("forwarded", "bucket"),
    [
        ([b"203.0.113.7"], "203.0.113.7"),
        ([b"  203.0.113.7\t"], "203.0.113.7"),
        ([b"198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ([b"203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        ([b"198.51.100.1", b"203.0.113.7, 10.0.0.9", b"10.3.3.3"], "203.0.113.7"),
        ([b"203.0.113.7:4711"], "203.0.113.7"),
        ([b"[2001:db8::7]:4711"], "2001:db8::/64"),
        ([b"[2001:db8::7]"], "2001:db8::/64"),
        ([b"2001:db8:0:0:ffff::7"], "2001:db8::/64"),
        ([b"::ffff:203.0.113.7"], "203.0.113.7"),
        ([b"::ffff:10.0.0.9"], "10.0.0.9"),
        ([b"203.0.113.7, ::ffff:10.0.0.9"], "203.0.113.7"),
        ([b"203.0.113.7, fd00::1%eth0"], "203.0.113.7"),
        # What cannot be read ends the chain at the last proxy that we know.
        ([b"203.0.113.7, unknown"], "10.0.0.1"),
        ([b"203.0.113.7, unknown, 10.0.0.9"], "10.0.0.9"),
        ([b""], "10.0.0.1"),
        ([b","], "10.0.0.1"),
        ([b"203.0.113.7,"], "10.0.0.1"),
        ([b"0203.0.113.7"], "10.0.0.1"),
        ([b"3405803783"], "10.0.0.1"),
        ([b"203.0.113.7/32"], "10.0.0.1"),
        ([b"203.0.113.7\x00"], "10.0.0.1"),
        ([b"\xb2\xb03.0.113.7"], "10.0.0.1"),
        ([b"1" * 5000], "10.0.0.1"),
    ],
)
def test_the_first_from_the_right_that_is_no_proxy_is_the_client(
    forwarded: list[bytes], bucket: str
) -> None:
    assert BEHIND.client("10.0.0.1", forwarded).bucket == bucket
    stranger = BEHIND.client("192.0.2.1", forwarded)
    assert stranger.bucket == "192.0.2.1", "who is no proxy is not believed at all"


def test_a_socket_of_the_machine_is_trusted_only_by_name() -> None:
    assert BEHIND.client(None, [b"203.0.113.7"]).bucket == "203.0.113.7"
    assert Networks(NetworkRules()).client(None, [b"203.0.113.7"]).bucket == "unix"
    assert not Networks(NetworkRules(allow=("203.0.113.7",))).client(None).allowed


@given(
    real=st.ip_addresses().filter(lambda a: not BEHIND.client(str(a)).trusted),
    said=st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=20)), max_size=5),
    hops=st.lists(st.sampled_from(["10.0.0.2", "10.9.9.9", "fd00::5"]), max_size=3),
)
def test_whatever_a_client_says_it_is_where_the_proxy_saw_it(
    real: ipaddress.IPv4Address, said: list[str], hops: list[str]
) -> None:
    forwarded = [", ".join(said).encode(), ", ".join([str(real), *hops]).encode()]
    assert BEHIND.client("10.0.0.1", forwarded) == BEHIND.client(str(real))


def test_denied_is_denied_also_where_it_is_allowed() -> None:
    networks = Networks(NetworkRules(allow=("192.0.2.0/24", "::1"), deny=("192.0.2.128/25",)))
    allowed = {
        a: networks.client(a).allowed for a in ("192.0.2.1", "192.0.2.200", "8.8.8.8", "::1")
    }
    assert allowed == {"192.0.2.1": True, "192.0.2.200": False, "8.8.8.8": False, "::1": True}


def test_ipv4_in_ipv6s_clothes_is_ipv4_in_lists_too() -> None:
    networks = Networks(NetworkRules(deny=("::ffff:192.0.2.0/120",)))
    assert not networks.client("192.0.2.9").allowed
    assert not networks.client("::ffff:192.0.2.9").allowed
    assert networks.client("192.0.3.9").allowed


def test_what_may_be_written_down_is_a_network() -> None:
    assert BEHIND.client("192.0.2.77").network == "192.0.2.0/24"
    assert BEHIND.client("2001:db8:1:2::3").network == "2001:db8:1::/48"


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "localhost", "unix", "*"])
def test_what_is_no_network_is_an_error(text: str) -> None:
    with pytest.raises(ParameterError, match="deny"):
        Networks(NetworkRules(deny=(text,)))
