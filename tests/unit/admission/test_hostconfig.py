"""What a host configuration may say, in dockerd's words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.admission.hostconfig import HostFacts, admit, parse_cpu_list
from store.errors import EngineError, InvalidParameterError
from store.objects.containers import DeviceMapping, HostConfig, LogConfig, PortBinding, RestartPolicy

FACTS = HostFacts(
    cpus=frozenset({0, 1}),
    memory_nodes=frozenset({0}),
    runtimes=frozenset({"runc"}),
    default_runtime="runc",
    cgroup_v2=False,
    blkio_weight=False,
)
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (HostConfig(memory=1000), "Minimum memory limit allowed is 6MB"),
        (
            HostConfig(memory_swap=100),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            HostConfig(memory=10 * MIB, memory_swap=100),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (HostConfig(memory_swappiness=200), "Invalid value: 200, valid memory swappiness range is 0-100"),
        (HostConfig(memory_reservation=100), "Minimum memory reservation allowed is 6MB"),
        (
            HostConfig(memory=10 * MIB, memory_reservation=20 * MIB),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            HostConfig(nano_cpus=900_000_000_000),
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            HostConfig(nano_cpus=100_000_000, cpu_period=1000),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (
            HostConfig(cpu_period=10),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (HostConfig(cpu_quota=10), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (HostConfig(cpuset_cpus="99"), "Requested CPUs are not available - requested 99, available: 0-1"),
        (HostConfig(cpuset_cpus="abc"), "Invalid value abc for cpuset cpus: invalid format: abc"),
        (HostConfig(cpuset_mems="9"), "Requested memory nodes are not available - requested 9, available: 0"),
        (HostConfig(oom_score_adj=2000), "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        (HostConfig(shm_size=-1), "SHM size can not be less than 0"),
        (HostConfig(runtime="nope"), "Unknown runtime specified nope"),
        (HostConfig(restart_policy=RestartPolicy(name="bogus")), "invalid restart policy 'bogus'"),
        (
            HostConfig(restart_policy=RestartPolicy(name="always", maximum_retry_count=3)),
            "maximum retry count cannot be used with restart policy 'always'",
        ),
        (
            HostConfig(restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=-3)),
            "maximum retry count cannot be negative",
        ),
        (
            HostConfig(auto_remove=True, restart_policy=RestartPolicy(name="always")),
            "can't create 'AutoRemove' container with restart policy",
        ),
        (HostConfig(cap_add=["BOGUS"]), 'invalid CapAdd: unknown capability: "CAP_BOGUS"'),
        (HostConfig(security_opt=["bogus"]), 'invalid --security-opt 1: "bogus"'),
        (HostConfig(security_opt=["a=b"]), 'invalid --security-opt 2: "a=b"'),
        (HostConfig(cgroupns_mode="bogus"), "invalid cgroup namespace mode: bogus"),
        (HostConfig(extra_hosts=["bogus"]), 'bad format for add-host: "bogus"'),
        (HostConfig(extra_hosts=["a:bogus"]), 'invalid IP address in add-host: "bogus"'),
        (HostConfig(port_bindings={"abc": [PortBinding()]}), 'invalid port specification: "abc"'),
        (
            HostConfig(port_bindings={"80/tcp": [PortBinding(host_port="99999")]}),
            'invalid port specification: "99999"',
        ),
        (
            HostConfig(log_config=LogConfig(type="bogus")),
            'error looking up logging plugin bogus: plugin "bogus" not found',
        ),
        (
            HostConfig(log_config=LogConfig(type="json-file", config={"bogus": "1"})),
            "unknown log opt 'bogus' for json-file log driver",
        ),
        (HostConfig(isolation="hyperv"), "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        (HostConfig(kernel_memory=10), "Minimum kernel memory limit allowed is 6MB"),
        (HostConfig(devices=[DeviceMapping(cgroup_permissions="bogus")]), "invalid device mode: bogus"),
    ],
)
def test_what_cannot_be_is_refused_in_dockerds_words(host: HostConfig, message: str) -> None:
    with pytest.raises(InvalidParameterError) as refusal:
        admit(host, FACTS, (1, 41))
    assert refusal.value.message == message


def test_an_empty_configuration_gets_dockerds_defaults() -> None:
    host, warnings = admit(HostConfig(), FACTS, (1, 41))
    assert warnings == []
    assert host.network_mode == "default"
    assert host.log_config == LogConfig(type="json-file", config={})
    assert (host.ipc_mode, host.cgroupns_mode, host.runtime) == ("private", "host", "runc")
    assert host.shm_size == 64 * MIB
    assert host.masked_paths is not None
    assert "/proc/kcore" in host.masked_paths
    assert host.oom_kill_disable is False


def test_a_privileged_container_masks_nothing() -> None:
    host, _ = admit(HostConfig(privileged=True), FACTS, (1, 41))
    assert host.masked_paths is None
    assert host.readonly_paths is None


def test_swap_is_twice_the_memory_unless_said_otherwise() -> None:
    assert admit(HostConfig(memory=100 * MIB), FACTS, (1, 41))[0].memory_swap == 200 * MIB
    assert admit(HostConfig(memory=100 * MIB, memory_swap=-1), FACTS, (1, 41))[0].memory_swap == -1


def test_an_old_client_gets_shareable_ipc() -> None:
    assert admit(HostConfig(), FACTS, (1, 39))[0].ipc_mode == "shareable"


def test_ports_are_discarded_with_a_warning_on_the_hosts_network() -> None:
    host = HostConfig(network_mode="host", port_bindings={"80/tcp": [PortBinding(host_port="80")]})
    assert admit(host, FACTS, (1, 41))[1] == ["Published ports are discarded when using host network mode"]


@given(st.text(max_size=30))
def test_a_cpu_list_is_read_or_refused(text: str) -> None:
    try:
        numbers = parse_cpu_list(text)
    except ValueError:
        return
    assert numbers
    assert min(numbers) >= 0


@given(
    st.builds(
        HostConfig,
        memory=st.integers(),
        cpuset_cpus=st.text(),
        security_opt=st.lists(st.text()),
        dns=st.lists(st.text()),
    )
)
def test_any_configuration_is_admitted_or_refused(host: HostConfig) -> None:
    try:
        admit(host, FACTS, (1, 41))
    except EngineError:
        return
