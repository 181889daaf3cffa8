"""The whole of docker inspect, for containers of many kinds."""

from __future__ import annotations

from tests.differential.script import Scene

EVERYTHING = (
    "create --name full -it -e A=1 -w /tmp -u 1:2 --hostname h --domainname d --label l=1 --entrypoint sh --stop-signal INT "
    "--stop-timeout 7 --health-cmd true --restart on-failure:3 -m 64m --memory-swap 128m --memory-reservation 32m "
    "--cpu-shares 12 --cpus 0.5 --cpuset-cpus 0 --pids-limit 9 --read-only --tmpfs /t --cap-add NET_ADMIN --cap-drop CHOWN "
    "--init --ulimit nofile=10:20 --add-host x:1.2.3.4 --dns 1.1.1.1 --dns-search s --dns-option o --group-add 5 "
    "--security-opt no-new-privileges --sysctl net.ipv4.ip_forward=0 --shm-size 8m --oom-score-adj 3 -p 80:80 --expose 90 "
    "-v named:/n --mac-address 02:42:00:00:00:01 --log-opt max-size=1m --device /dev/null:/dev/x:r --blkio-weight 100 "
    "--userns host --ipc private --cgroup-parent custom busybox -c 'echo x'"
)

SCENES = [
    Scene(
        "inspect, plain and created",
        [
            "create --name plain busybox true",
            "inspect plain",
            "inspect -s -f '{{.SizeRw}} {{.SizeRootFs}}' plain",
            "start -a plain",
            "inspect plain",
            "ps -a --size --format '{{.Names}} {{.Size}}'",
            "inspect -f '{{.Path}} {{json .Args}}' plain",
        ],
    ),
    Scene("inspect, running", ["run -d --name rr busybox sleep 100", "inspect rr", "stop -t 0 rr", "inspect rr"]),
    Scene("inspect, everything asked for", [EVERYTHING, "inspect full"]),
    Scene(
        "inspect, odd networks",
        [
            "create --name nn --network none busybox",
            "inspect nn",
            "create --name hh --network host busybox",
            "inspect hh",
            "run -d --name base busybox sleep 100",
            "create --name cc --network container:base busybox",
            "inspect -f '{{json .NetworkSettings}} {{.HostConfig.NetworkMode}}' cc",
        ],
    ),
    Scene(
        "inspect, a failed start",
        ["run --name ff busybox nosuchprogram", "inspect ff", "ps -a --format '{{.Names}} {{.Status}}'"],
    ),
]
