"""version, info, events, system."""

from __future__ import annotations

from tests.differential.script import Scene, Step

SCENES = [
    Scene(
        "version and info",
        [
            "version --format '{{.Client.APIVersion}} {{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}/{{.Server.Arch}}'",
            "info --format '{{.OSType}} {{.Architecture}} {{.NCPU}} {{.MemTotal}} {{.KernelVersion}} {{.OperatingSystem}}'",
            "info --format '{{.Driver}} {{.CgroupDriver}} {{.CgroupVersion}} {{.DefaultRuntime}} {{.LoggingDriver}} {{.IndexServerAddress}}'",
            "info --format '{{.MemoryLimit}} {{.SwapLimit}} {{.CPUShares}} {{.CPUSet}} {{.PidsLimit}} {{.OomKillDisable}} {{.IPv4Forwarding}}'",
            "info --format '{{.Swarm.LocalNodeState}} {{.ExperimentalBuild}} {{.LiveRestoreEnabled}} {{.Isolation}} {{json .SecurityOptions}}'",
            "info --format '{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}} {{.Images}}'",
            Step(
                "info",
                only="^ *(Logging Driver|Cgroup|Swarm|OSType|Architecture|CPUs|Kernel Version|Default Runtime|Security Options|  seccomp|   Profile)",
            ),
        ],
    ),
    Scene(
        "events",
        [
            "run --name ee --label mark=1 busybox true",
            "stop ee",
            "rename ee f",
            "rm f",
            "events --since {start} --until {now} --filter label=mark=1 --format '{{.Type}} {{.Action}}'",
            "events --since {start} --until {now} --filter container=ee --format '{{.Type}} {{.Action}} {{json .Actor.Attributes}}'",
            "events --since {start} --until {now} --filter type=container --filter event=die --filter label=mark --format '{{.Action}} {{.Actor.Attributes.exitCode}}'",
            "volume create ev",
            "network create evn",
            "volume rm ev",
            "network rm evn",
            "tag busybox ev:1",
            "rmi ev:1",
            "events --since {start} --until {now} --filter volume=ev --format '{{.Type}} {{.Action}} {{.Actor.ID}}'",
            "events --since {start} --until {now} --filter network=evn --format '{{.Type}} {{.Action}} {{json .Actor.Attributes}}'",
            "events --since {start} --until {now} --filter type=image --filter image=ev:1 --format '{{.Type}} {{.Action}} {{json .Actor.Attributes}}'",
            "events --since {start} --until {now} --filter nonsense=1",
            "events --since nonsense --until {now}",
            "run -d --name kk busybox sleep 100",
            "exec kk true",
            "pause kk",
            "unpause kk",
            "kill kk",
            "wait kk",
            "start kk",
            "restart -t 0 kk",
            "stop -t 0 kk",
            "events --since {start} --until {now} --filter container=kk --filter type=container --format '{{.Action}}'",
            "events --since {start} --until {now} --filter container=kk --filter event=kill --format '{{json .Actor.Attributes}}'",
            "events --since {start} --until {now} --filter type=network --filter container=kk --format '{{.Action}} {{.Actor.Attributes.name}}'",
        ],
    ),
    Scene(
        "system",
        [
            "run -d --name dd busybox sh -c 'echo 12345 > /f; sleep 100'",
            "exec dd cat /f",
            "system df --format '{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}'",
            "system df",
            "system df -v --format '{{json .Containers}}'",
            "ps -s --format '{{.Names}} {{.Size}}'",
            "rm -f dd",
            "system prune -f --filter label=none",
        ],
    ),
]
