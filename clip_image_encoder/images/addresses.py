"""Host names and what they resolve to; which addresses are public."""

from __future__ import annotations

import re
import socket
import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["canonical_host", "is_public", "resolve"]

# What IANA's special-purpose registries set aside, multicast, and what is left of the old classes.
# `ipaddress.is_global` differs between versions of Python and lets multicast pass.
_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared between a provider's customers
        "127.0.0.0/8",
        "168.63.129.16/32",  # looks public, and is the host of every virtual machine in Azure
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
# Of IPv6 only this much has been given to anybody.
_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols; 2001::/32 is Teredo, whose address of a relay's choice lies inside
        "2001:db8::/32",
        "2002::/16",  # 6to4: leads to the IPv4 address inside, and is no longer in use
        "3fff::/20",
    )
)
# The usual way from a network without IPv4 to a server without IPv6.
_NAT64 = IPv6Network("64:ff9b::/96")

_LONGEST = 253
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")


def canonical_host(host: str) -> str | None:
    """Return the one spelling of a host: lower case, xn-- for other scripts, short IPv6; None if it can't be one.

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
        # Some characters are others in disguise, such as wide digits, and some change with the standard.
        same = name == host or name.encode("ascii").decode("idna") == host
    except ValueError:
        return None
    return name if same and _NAME.fullmatch(name) and len(name) <= _LONGEST else None


def is_public(address: str) -> bool:
    """Tell whether an address may be a server on the public internet.

    An IPv4 address inside an IPv6 address is judged as itself.

    Args:
        address: a numeric address, such as `socket.getaddrinfo` gives.

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
        host: a name or a numeric address.
        timeout: seconds to wait.

    Raises:
        OSError: the host has no address; as TimeoutError, there is no answer yet.
    """
    found: list[str] = []
    failures: list[OSError] = []

    def ask() -> None:
        try:
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError as error:
            failures.append(error)

    # The system's resolver knows no timeout. A thread that is left behind ends when the system gives up.
    thread = threading.Thread(target=ask, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise TimeoutError
    if failures:
        raise failures[0]
    return list(dict.fromkeys(found))
