"""The texts of /etc/hosts and /etc/resolv.conf, compared with what dockerd writes."""

from __future__ import annotations

from controllers.networks.sandbox_files import LOCAL_HOSTS, hosts_text, resolv_text

HOST = "# comment\nsearch example.org lan\nnameserver 127.0.0.53\nnameserver 192.0.2.53\noptions edns0\n"


def test_hosts_names_the_container_and_what_was_added() -> None:
    text = hosts_text("full.example.com", "", ["172.17.0.6"], ["foo:1.2.3.4", "hg:host-gateway"], "172.17.0.1")
    assert text.splitlines() == [*LOCAL_HOSTS, "1.2.3.4\tfoo", "172.17.0.1\thg", "172.17.0.6\tfull.example.com full"]


def test_hosts_knows_a_plain_name_once_and_a_domain_too() -> None:
    assert hosts_text("abc", "", ["10.0.0.2"], [], "").endswith("10.0.0.2\tabc\n")
    assert hosts_text("abc", "dom.org", ["10.0.0.2"], [], "").endswith("10.0.0.2\tabc.dom.org abc\n")


def test_hosts_keeps_the_colons_of_an_added_ipv6_address() -> None:
    assert "fd00::1\tsix\n" in hosts_text("abc", "", [], ["six:fd00::1"], "")


def test_the_hosts_servers_are_passed_on_but_not_its_loopback() -> None:
    assert resolv_text(HOST) == "search example.org lan\nnameserver 192.0.2.53\noptions edns0\n"


def test_without_any_usable_server_public_ones_are_named() -> None:
    assert resolv_text("nameserver 127.0.0.1\n") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_the_host_network_keeps_loopback_servers() -> None:
    assert "nameserver 127.0.0.53" in resolv_text(HOST, keep_local=True)


def test_what_the_container_asks_for_replaces_the_hosts() -> None:
    text = resolv_text(HOST, servers=["9.9.9.9"], search=["ex.com"], options=["rotate"])
    assert text == "search ex.com\nnameserver 9.9.9.9\noptions rotate\n"


def test_a_dot_as_search_domain_means_none() -> None:
    assert "search" not in resolv_text(HOST, search=["."])


def test_a_user_defined_network_has_its_own_server_first() -> None:
    text = resolv_text(HOST, own_servers=["172.18.0.1"])
    assert text == "search example.org lan\nnameserver 172.18.0.1\noptions edns0 ndots:0\n"
    assert "options ndots:2\n" in resolv_text(HOST, own_servers=["172.18.0.1"], options=["ndots:2"])


def test_linked_containers_are_named_with_their_addresses() -> None:
    text = hosts_text("abc", "", ["10.0.0.2"], [], "", [("10.0.0.9", ["db", "0123456789ab", "postgres"])])
    assert "10.0.0.9\tdb 0123456789ab postgres\n" in text
