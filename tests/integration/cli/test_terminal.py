"""docker at a terminal: run -it, exec -it, attach, detach keys, ctrl-C, window sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.daemon import Daemon
from tests.support.terminal import Terminal

At = Callable[..., Terminal]
DETACH = b"\x10\x11"  # ctrl-P ctrl-Q
CTRL_C = b"\x03"
CTRL_D = b"\x04"
PROMPT = r"/ # (\x1b\[6n|\x1b\[J)*$"


def test_a_shell_is_a_conversation_and_its_exit_code_comes_back(at_terminal: At, daemon: Daemon) -> None:
    shell = at_terminal("run", "-it", "--name", "shell", "busybox")
    shell.expect(PROMPT)
    shell.line("echo $((6 * 7))")
    shell.expect(r"^42\r$")
    shell.line("tty")
    shell.expect(r"/dev/pts/0")
    shell.line("exit 5")
    assert shell.wait() == 5
    assert daemon.inspect("shell")["State"]["ExitCode"] == 5


def test_the_end_of_input_ends_a_shell(at_terminal: At) -> None:
    shell = at_terminal("run", "--rm", "-it", "busybox")
    shell.expect(PROMPT)
    shell.send(CTRL_D)
    assert shell.wait() == 0


def test_ctrl_c_interrupts_what_runs_in_the_shell(at_terminal: At) -> None:
    shell = at_terminal("run", "--rm", "-it", "busybox")
    shell.expect(PROMPT)
    shell.line("echo asleep; sleep 1000; echo never")
    shell.expect(r"^asleep\r$")
    shell.send(CTRL_C)
    shell.expect(PROMPT)
    shell.line("exit")
    shell.wait()


def test_ctrl_c_without_a_terminal_is_a_signal_to_the_container(at_terminal: At, daemon: Daemon) -> None:
    script = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done"
    run = at_terminal("run", "--name", "proxied", "busybox", "sh", "-c", script)
    run.expect("ready")
    run.send(CTRL_C)
    run.expect("interrupted")
    run.wait()
    assert daemon.inspect("proxied")["State"]["ExitCode"] == 7


def test_the_detach_keys_leave_the_container_running_and_attach_comes_back(at_terminal: At, daemon: Daemon) -> None:
    shell = at_terminal("run", "-it", "--name", "kept", "busybox")
    shell.expect(PROMPT)
    shell.line("word=remembered")
    shell.expect(PROMPT)
    shell.send(DETACH)
    assert shell.wait() == 0
    assert daemon.inspect("kept")["State"]["Running"]

    again = at_terminal("attach", "kept")
    again.line("echo $word")
    again.expect(r"^remembered\r$")
    again.line("exit 3")
    assert again.wait() == 3


def test_detach_keys_can_be_chosen(at_terminal: At, daemon: Daemon) -> None:
    shell = at_terminal("run", "-it", "--name", "chosen", "--detach-keys", "ctrl-x,q", "busybox")
    shell.expect(PROMPT)
    shell.send(b"\x18q")
    assert shell.wait() == 0
    attached = at_terminal("attach", "--detach-keys", "ctrl-a", "chosen")
    attached.line("echo here")
    attached.expect(r"^here\r$")
    attached.send(b"\x01")
    assert attached.wait() in {0, 1}
    assert daemon.inspect("chosen")["State"]["Running"]


def test_detach_keys_that_mean_nothing_are_refused(at_terminal: At, daemon: Daemon) -> None:
    daemon.run("-dit", "--name", "strict", "busybox")
    attach = at_terminal("attach", "--detach-keys", "ctrl-nonsense", "strict")
    attach.expect(r"Invalid detach keys \(ctrl-nonsense\) provided|unable to upgrade to tcp, received 400")


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_the_container_sees_the_window_and_its_changes(at_terminal: At, daemon: Daemon, verb: str) -> None:
    if verb == "run":
        shell = at_terminal("run", "--rm", "-it", "busybox", rows=31, columns=91)
    else:
        daemon.run("-d", "--name", "sized", "busybox", "sleep", "1000")
        shell = at_terminal("exec", "-it", "sized", "sh", rows=31, columns=91)
    shell.expect(PROMPT)
    # The first size is sent after the start: ask until it has arrived.
    shell.line("until [ \"$(stty size)\" = '31 91' ]; do sleep 0.05; done; echo first")
    shell.expect(r"^first\r$")
    shell.resize(45, 132)
    shell.line("until [ \"$(stty size)\" = '45 132' ]; do sleep 0.05; done; echo second")
    shell.expect(r"^second\r$")
    shell.line("exit")
    assert shell.wait() == 0


def test_exec_gives_a_second_terminal_with_its_own_exit_code(at_terminal: At, daemon: Daemon) -> None:
    daemon.run("-d", "--name", "host", "busybox", "sleep", "1000")
    shell = at_terminal("exec", "-it", "-e", "COLOR=green", "-w", "/tmp", "host", "sh")
    shell.expect(r"/tmp # ")
    shell.line("echo $COLOR; pwd")
    shell.expect(r"^green\r\n/tmp\r$")
    shell.line("exit 9")
    assert shell.wait() == 9


def test_exec_can_be_left_by_the_detach_keys(at_terminal: At, daemon: Daemon) -> None:
    daemon.run("-d", "--name", "host", "busybox", "sleep", "1000")
    shell = at_terminal("exec", "-it", "host", "sh")
    shell.expect(PROMPT)
    shell.send(DETACH)
    shell.wait()
    assert "sh" in daemon.docker("top", "host").out.split()


def test_attach_to_one_without_a_terminal_shows_both_streams_and_the_exit_code(at_terminal: At, daemon: Daemon) -> None:
    script = "read word; echo out $word; echo err $word >&2; exit 4"
    daemon.run("-di", "--name", "plain", "busybox", "sh", "-c", script)
    attached = at_terminal("attach", "plain")
    attached.line("salt")
    attached.expect(r"out salt[\s\S]*err salt|err salt[\s\S]*out salt")
    assert attached.wait() == 4


def test_attach_without_proxied_signals_leaves_the_container_alone(at_terminal: At, daemon: Daemon) -> None:
    script = "while :; do echo tick; sleep 0.1; done"
    daemon.run("-d", "--name", "ticking", "busybox", "sh", "-c", script)
    attached = at_terminal("attach", "--sig-proxy=false", "--no-stdin", "ticking")
    attached.expect("tick")
    attached.send(CTRL_C)
    attached.wait()
    assert daemon.inspect("ticking")["State"]["Running"]


def test_start_ai_is_attach_from_the_first_byte(at_terminal: At, daemon: Daemon) -> None:
    daemon.docker("create", "-it", "--name", "later", "busybox", "sh", "-c", "echo first words; cat")
    started = at_terminal("start", "-ai", "later")
    started.expect("first words")
    started.line("echoed")
    started.expect("echoed\r\nechoed")
    started.send(CTRL_D)
    assert started.wait() == 0


def test_two_terminals_attached_to_one_container_see_the_same(at_terminal: At, daemon: Daemon) -> None:
    daemon.run("-dit", "--name", "shared", "busybox")
    one, two = at_terminal("attach", "shared"), at_terminal("attach", "shared")
    two.line("")
    two.expect("#")
    one.line("echo for $((1 + 1)) readers")
    one.expect("for 2 readers")
    two.expect("for 2 readers")


def test_logs_of_a_terminal_are_what_it_showed(at_terminal: At, daemon: Daemon) -> None:
    run = at_terminal("run", "-t", "--name", "shown", "busybox", "echo", "on a terminal")
    run.expect("on a terminal")
    assert run.wait() == 0
    assert daemon.docker("logs", "shown").out == "on a terminal\r\n"


def test_logs_f_follows_until_the_end(at_terminal: At, daemon: Daemon) -> None:
    daemon.run("-di", "--name", "followed", "busybox", "sh", "-c", "echo begin; read x; echo end $x")
    follow = at_terminal("logs", "-f", "followed")
    follow.expect("begin")
    attached = at_terminal("attach", "followed")
    attached.line("here")
    follow.expect("end here")
    assert follow.wait() == 0


def test_stats_refresh_at_a_terminal_until_ctrl_c(at_terminal: At, daemon: Daemon) -> None:
    daemon.run("-d", "--name", "measured", "busybox", "sleep", "1000")
    stats = at_terminal("stats", columns=160)
    stats.expect(r"measured\s+\d+\.\d+%\s+\d[^/]*/ ")
    stats.expect(r"measured\s+\d+\.\d+%\s+\d[^/]*/ ")
    stats.send(CTRL_C)
    stats.wait()


def test_events_are_shown_as_they_come(at_terminal: At, daemon: Daemon) -> None:
    events = at_terminal(
        "events", "--filter", "container=noted", "--format", "{{.Action}} {{.Actor.Attributes.name}}", columns=160
    )
    # The subscription has no sign of its own: make events until one is seen.
    for attempt in range(20):
        daemon.docker("create", "--name", "noted", "busybox")
        daemon.docker("rm", "noted")
        try:
            events.expect("create noted", within=1)
            break
        except AssertionError:
            assert attempt < 19
    events.expect("destroy noted")


def test_output_far_larger_than_any_buffer_arrives_whole(at_terminal: At, daemon: Daemon) -> None:
    output = daemon.docker(
        "run", "--rm", "busybox", "sh", "-c", "yes 0123456789abcdef | head -c 20000000 | tee /dev/stderr"
    )
    assert len(output.out) == len(output.err) == 20_000_000
    assert output.out == output.err
