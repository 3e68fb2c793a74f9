"""Command line of the testbed: `python -m tests.testbed {build|prepare|up|down|status|env}`."""

import argparse
import signal
import sys
from types import FrameType

from tests.testbed.bringup import down, up
from tests.testbed.build import ensure_binaries
from tests.testbed.errors import CancelledError, StackError
from tests.testbed.node.node import EXTRA_TOOLS, ensure_node
from tests.testbed.node.requirements import node_wanted
from tests.testbed.paths import stack_name
from tests.testbed.progress import Progress
from tests.testbed.python_environments import ENVIRONMENTS, ensure_environment, missing_release
from tests.testbed.stack import Stack
from tests.testbed.tools import GO_TOOLS

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

NOT_UP = 3
"""Exit code of `status` when something of the stack is not running."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; every error is a sentence."""
    # `make`, CI and `timeout` end us by TERM: the same clean way out as Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except (KeyboardInterrupt, CancelledError):
        print("Interrupted; the next `up` continues, `down` removes what there is.")
        return INTERRUPTED
    except (StackError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.testbed", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    optional = sorted(tool.name for tool in GO_TOOLS.values() if not tool.wanted) + sorted(ENVIRONMENTS)

    build = commands.add_parser("build", help="build every binary that is not cached")
    build.add_argument("--with", dest="extra", action="append", choices=optional, default=[])
    build.set_defaults(run=_build)

    prepare = commands.add_parser("prepare", help="build all that the tests run, where it is not cached")
    prepare.set_defaults(run=_prepare)

    begin = commands.add_parser("up", help="start the stack, or what is missing of it")
    begin.add_argument("--no-operator", action="store_true", help="only the servers")
    begin.add_argument("--no-chart", action="store_true", help="servers as they come, with nothing that fedid needs")
    begin.set_defaults(run=_up)

    end = commands.add_parser("down", help="stop the stack and remove its state")
    end.add_argument("--keep-data", action="store_true", help="stop it only")
    end.set_defaults(run=_down)

    status = commands.add_parser("status", help="tell what runs, and where")
    status.set_defaults(run=_status)

    env = commands.add_parser("env", help="print the shell exports of the stack")
    env.set_defaults(run=_env)

    for command in (begin, end, status, env):
        command.add_argument("--name", help="which stack (default: $TESTBED, else `default`)")
    return parser


def _build(options: argparse.Namespace) -> None:
    progress = Progress()
    binaries = ensure_binaries(progress, {*options.extra} - {*ENVIRONMENTS})
    named = [ENVIRONMENTS[name] for name in options.extra if name in ENVIRONMENTS]
    environments = {environment.name: ensure_environment(progress, environment) for environment in named}
    for name, path in binaries.programs.items():
        print(f"{name:24} {path}")
    print(f"{'keycloak':24} {binaries.keycloak_home}")
    print(f"{'java':24} {binaries.java_home}")
    for name, python in environments.items():
        print(f"{name:24} {python}")


def _prepare(_options: argparse.Namespace) -> None:
    """Build now what tests would else build while others wait for their servers on the same cores."""
    progress = Progress()
    with_node = node_wanted()
    ensure_binaries(progress, {tool.name for tool in GO_TOOLS.values() if with_node or tool.name not in EXTRA_TOOLS})
    if with_node:
        ensure_node(progress)
    for environment in ENVIRONMENTS.values():
        if missing := missing_release(environment):
            progress.say(f"{missing} Its tests are skipped.")
        else:
            ensure_environment(progress, environment)


def _up(options: argparse.Namespace) -> None:
    up(options.name, operator=not options.no_operator, with_chart=not options.no_chart)


def _down(options: argparse.Namespace) -> None:
    down(options.name, keep_data=options.keep_data)


def _status(options: argparse.Namespace) -> int:
    name = stack_name(options.name)
    stack = Stack.load(name)
    all_up = True
    for server_name in stack.servers:
        server = stack.server(server_name)
        record = stack.process(server_name).running()
        state = "stopped"
        if record is not None:
            state = "healthy" if server.healthy() else "NOT HEALTHY"
        all_up = all_up and state == "healthy"
        ports = ", ".join(str(port) for port in server.ports.values())
        process = f"process {record.pid}" if record else ""
        print(f"{server_name:24} {state:12} port {ports:14} {process:16} {stack.paths.log(server_name)}")
    return 0 if all_up else NOT_UP


def _env(options: argparse.Namespace) -> None:
    stack = Stack.load(options.name)
    if not stack.paths.env.exists():
        msg = f"The stack {stack.name} is not up yet."
        raise StackError(msg)
    print(stack.paths.env.read_text(), end="")


if __name__ == "__main__":
    sys.exit(main())
