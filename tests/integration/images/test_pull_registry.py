"""The docker command pulls from Debian's docker-registry, which skopeo filled: plain, with TLS, with tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.fake_registry import FakeRegistry
from tests.support.image_content import image, layer
from tests.support.registry import Registry
from tests.support.surroundings import ADDRESS
from tests.support.token_server import TokenServer
from tests.support.tools import sample_archive
from tests.unit.apiserver.frame.certificates import Authority

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def registry(shared_engine: Engine) -> Iterator[Registry]:
    with contextlib.closing(Registry(shared_engine.surroundings)) as started:
        started.fill(f"docker-archive:{sample_archive()}", "library/tools:1")
        yield started


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def test_an_image_that_run_misses_is_pulled(engine: Engine, registry: Registry) -> None:
    name = f"{registry.address}/library/tools:1"
    output = engine.docker("run", "--rm", name, "echo", "hello")
    assert output.out == "hello\n"
    assert output.err.startswith(f"Unable to find image '{name}' locally\n1: Pulling from library/tools\n"), output.err
    assert f"Status: Downloaded newer image for {name}\n" in output.err


def test_what_skopeo_made_oci_with_zstd_can_be_run(engine: Engine, registry: Registry) -> None:
    options = ("--format=oci", "--dest-compress-format=zstd")
    name = registry.fill(f"docker-archive:{sample_archive()}", "tools:oci", *options)
    assert engine.docker("pull", "--quiet", name).out == f"{name}\n"
    assert engine.run("--rm", name, "echo", "hello") == "hello"


def test_docker_pulls_by_digest_and_all_tags(engine: Engine, registry: Registry) -> None:
    first = registry.fill(f"docker-archive:{sample_archive()}", "many:one")
    registry.fill(f"docker-archive:{sample_archive()}", "many:two")
    name = first.removesuffix(":one")
    output = engine.docker("pull", "--all-tags", name).out
    assert output.endswith(f"Status: Downloaded newer image for {name}\n{name}\n")
    listed = engine.docker("images", "--format={{.Tag}} {{.Digest}}", name).out.split()
    assert {"one", "two"} <= set(listed)
    digest = next(word for word in listed if word.startswith("sha256:"))
    output = engine.docker("pull", f"{name}@{digest}").out
    assert output.splitlines()[-1] == f"{name}@{digest}"


def test_what_is_not_there_is_told_by_docker_as_with_dockerd(engine: Engine, registry: Registry) -> None:
    output = engine.docker("pull", f"{registry.address}/none", check=False)
    assert (output.code, output.err) == (
        1,
        f"Error response from daemon: manifest for {registry.address}/none:latest not found: "
        "manifest unknown: manifest unknown\n",
    )


def test_a_registry_with_tls_is_trusted_by_certificate_alone(stopped_engine: Engine, authority: Authority) -> None:
    engine = stopped_engine
    issued = authority.issue("registry", ADDRESS)
    surroundings = engine.surroundings
    surroundings.run("mkdir", "-p", "/etc/docker")
    surroundings.run("mount", "-t", "tmpfs", "none", "/etc/docker")
    engine.start()
    address = f"{ADDRESS}:5443"
    with contextlib.closing(
        Registry(surroundings, address, certificate=issued.certificate, key=issued.key)
    ) as registry:
        name = registry.fill(f"docker-archive:{sample_archive()}", "tools:1")
        output = engine.docker("pull", name, check=False)
        assert output.err == (
            f'Error response from daemon: Get "https://{address}/v2/": x509: certificate signed by unknown authority\n'
        )
        surroundings.run("mkdir", "-p", f"/etc/docker/certs.d/{address}")
        surroundings.run("cp", str(authority.path), f"/etc/docker/certs.d/{address}/ca.crt")
        engine.docker("pull", name)


def test_a_registry_named_as_insecure_needs_no_trusted_certificate(
    stopped_engine: Engine, authority: Authority
) -> None:
    issued = authority.issue("registry", ADDRESS)
    address = f"{ADDRESS}:5443"
    stopped_engine.start(f"--insecure-registry={address}")
    with contextlib.closing(
        Registry(stopped_engine.surroundings, address, certificate=issued.certificate, key=issued.key)
    ) as registry:
        stopped_engine.docker("pull", registry.fill(f"docker-archive:{sample_archive()}", "tools:1"))


def test_tokens_open_what_they_name(engine: Engine, authority: Authority) -> None:
    issued = authority.issue("tokens")
    tokens = TokenServer(
        engine.surroundings.socket(),
        issued.certificate,
        issued.key,
        authority.path,
        credentials=("kim", "secret"),
    )
    with contextlib.closing(tokens):
        guarded = Registry(engine.surroundings, "localhost:5001", auth=tokens.configuration)
        with contextlib.closing(guarded):
            tokens.public.add("open")
            for repository in ("open", "closed"):
                guarded.fill(f"docker-archive:{sample_archive()}", f"{repository}:1", credentials="kim:secret")
            engine.docker("pull", "localhost:5001/open:1")
            output = engine.docker("pull", "localhost:5001/closed:1", check=False)
            assert output.err.startswith("Error response from daemon: "), output.both
            assert "denied" in output.err
            # What docker login stores; logging in is another operation.
            _store_credentials(engine, "localhost:5001", "a2ltOnNlY3JldA==")
            engine.docker("pull", "localhost:5001/closed:1")


def _store_credentials(engine: Engine, address: str, encoded: str) -> None:
    home = Path(engine.docker_environment()["HOME"])
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(f'{{"auths": {{"{address}": {{"auth": "{encoded}"}}}}}}')


def test_a_mirror_stands_in_for_docker_hub(stopped_engine: Engine) -> None:
    content = image([layer({"a": b"a"})])
    with contextlib.closing(FakeRegistry(stopped_engine.surroundings.socket())) as mirror:
        mirror.add("library/mirrored", "latest", content)
        stopped_engine.start(f"--registry-mirror=http://{mirror.address}")
        output = stopped_engine.docker("pull", "mirrored").out
        assert output.startswith("Using default tag: latest\nlatest: Pulling from library/mirrored\n")
        assert output.endswith(
            "Status: Downloaded newer image for mirrored:latest\ndocker.io/library/mirrored:latest\n"
        )
        listed = stopped_engine.docker("images", "--no-trunc", "--format={{.Repository}} {{.ID}}").out
        assert listed == f"mirrored {content.image_id}\n"
