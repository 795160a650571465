"""Hosts and their addresses: canonical spelling, resolution, and which addresses are public."""

from __future__ import annotations

import re
import socket
import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["canonical_host", "is_public", "resolve"]

# The special-purpose registry of IANA (RFC 6890), multicast, and the reserved class E.
# `ipaddress.is_global` differs between versions of Python, and is True for multicast.
_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared between a provider's customers
        "127.0.0.0/8",
        "168.63.129.16/32",  # a public address by its number, but in Azure the host of every virtual machine
        "169.254.0.0/16",  # link-local: where clouds hand out credentials
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# The only part of IPv6 that IANA has assigned as global unicast addresses.
_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols, such as Teredo in 2001::/32, which contains an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which contains an IPv4 address and is no longer in use
        "3fff::/20",
    )
)
# NAT64 (RFC 6052): the way from a network without IPv4 to a server without IPv6.
_NAT64 = IPv6Network("64:ff9b::/96")

_LONGEST = 253
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")


def canonical_host(host: str) -> str | None:
    """Return the canonical spelling of a host: lower case, xn-- for other scripts, short IPv6; None if it is no host.

    Example:
        >>> canonical_host("Bücher.example"), canonical_host("0:0:0:0:0:0:0:1"), canonical_host("a host")
        ('xn--bcher-kva.example', '::1', None)
    """
    host = host.lower()
    try:
        if ":" in host:
            address = IPv6Address(host)
            return None if address.scope_id else str(address)
        name = host.encode("idna").decode("ascii")
        # Refused: characters that IDNA turns into others, such as full-width digits, and those whose rule has changed.
        same = name == host or name.encode("ascii").decode("idna") == host
    except ValueError:
        return None
    return name if same and _NAME.fullmatch(name) and len(name) <= _LONGEST else None


def is_public(address: str) -> bool:
    """Tell whether an address may be a server on the public internet.

    An IPv6 address that contains an IPv4 address is as public as that one.

    Args:
        address: Numeric address, as `socket.getaddrinfo` returns it.

    Example:
        >>> [is_public(address) for address in ("1.1.1.1", "127.0.0.1", "2606:4700::1111", "::ffff:127.0.0.1")]
        [True, False, True, False]
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        inner = parsed.ipv4_mapped or (IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else None)
        if inner is None:
            return parsed in _UNICAST_6 and not any(parsed in network for network in _NOT_PUBLIC_6)
        parsed = inner
    return not any(parsed in network for network in _NOT_PUBLIC_4)


def resolve(host: str, *, timeout: float) -> list[str]:
    """Return the numeric addresses of a host, in the order in which they should be tried.

    Args:
        host: Host name or numeric address.
        timeout: Seconds to wait for an answer.

    Raises:
        TimeoutError: The resolver has not answered in time.
        OSError: The host has no address.
    """
    found: list[str] = []
    failures: list[OSError] = []

    def ask() -> None:
        try:
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError as error:
            failures.append(error)

    # The system's resolver has no timeout. A thread that is left behind ends when the resolver gives up.
    thread = threading.Thread(target=ask, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise TimeoutError
    if failures:
        raise failures[0]
    return list(dict.fromkeys(found))
