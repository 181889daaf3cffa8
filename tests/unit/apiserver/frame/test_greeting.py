"""What a newcomer reads first."""

from __future__ import annotations

from apiserver.greeting import greeting


def test_the_usual_socket_needs_no_address_in_the_commands() -> None:
    text = greeting(["unix:///var/run/docker-engine-api.sock"], "./deploy")
    assert "\n    ./deploy/docker run -it --rm busybox\n" in text
    assert "DOCKER_HOST" not in text


def test_another_socket_is_named_in_each_command() -> None:
    text = greeting(["unix:///tmp/x.sock", "tcp://127.0.0.1:2375"], "./deploy")
    assert "ready on unix:///tmp/x.sock, tcp://127.0.0.1:2375" in text
    assert "    DOCKER_HOST=unix:///tmp/x.sock ./deploy/sample-image\n" in text
