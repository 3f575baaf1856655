"""Ctrl-C, SIGTERM and SIGHUP end a command once, and not in the middle of a step."""

import signal
import textwrap

import pytest
from processes import run


def ended(body: str) -> int:
    """Run a body in a process of its own, in which SIGTERM would end it, and give its exit code."""
    start = "import os, signal, sys; from npdata.cli.signals import ends_once, interrupts_wait\n"
    return run(start + textwrap.dedent(body)).returncode


def test_a_second_signal_does_not_interrupt_what_tidies_up_after_the_first() -> None:
    body = """
        with ends_once():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                print("tidy", flush=True)
    """
    assert ended(body) == 143


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_is_finished_before_a_signal_ends_the_command(number: int) -> None:
    body = f"""
        done = []
        try:
            with ends_once(), interrupts_wait():
                signal.raise_signal({number})
                done.append("step")
        except (KeyboardInterrupt, SystemExit):
            sys.exit(7 if done else 8)
    """
    assert ended(body) == 7


def test_a_second_signal_does_not_wait_for_a_step_that_hangs() -> None:
    body = """
        try:
            with interrupts_wait():
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                sys.exit(8)
        except KeyboardInterrupt:
            sys.exit(7)
    """
    assert ended(body) == 7


@pytest.mark.slow
def test_a_process_forked_meanwhile_ends_by_sigterm_and_not_by_ctrl_c() -> None:
    body = """
        with ends_once(), interrupts_wait():
            child = os.fork()
            if child == 0:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                os._exit(9)
            _, status = os.waitpid(child, 0)
            sys.exit(os.waitstatus_to_exitcode(status) + 100)
    """
    assert ended(body) == 100 - signal.SIGTERM


@pytest.mark.slow
def test_handlers_are_those_from_before_afterwards_and_what_was_ignored_stays_so() -> None:
    body = """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        with ends_once():
            signal.raise_signal(signal.SIGHUP)
        after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        sys.exit(7 if before == after else 8)
    """
    assert ended(body) == 7


def test_ctrl_c_while_the_command_is_imported_ends_it_without_a_traceback() -> None:
    body = """
        import runpy
        class Interrupted:
            def find_spec(self, name, *rest):
                if name == "npdata.cli.console":
                    signal.raise_signal(signal.SIGINT)
        sys.meta_path.insert(0, Interrupted())
        runpy.run_module("npdata", run_name="__main__")
    """
    result = run("import signal, sys\n" + textwrap.dedent(body))
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


def test_the_command_runs_in_any_thread() -> None:
    body = """
        import sys, threading
        from npdata.__main__ import main
        sys.argv = ["npdata", "inspect", "nothing.npy"]
        thread = threading.Thread(target=main)
        thread.start()
        thread.join()
    """
    assert run(textwrap.dedent(body)).stderr.startswith("npdata inspect: nothing.npy: No such file")
