"""`edge service`: the daemon as a service of systemd's, installed, removed, asked how it is."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.service.place import Place
    from edge.service.plan import Plan

DONE = {
    "start": "started",
    "restart": "started anew",
    "reload": "told to read its configuration again",
    None: "runs on as it is",
}
"""What was done with the unit, in words."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "service",
        help="run a device YAML as a systemd service: install, uninstall, status",
        description="Installs the daemon as a service of systemd's for a device YAML.",
    )
    verbs = parser.add_subparsers(
        dest="verb", metavar="install | uninstall | status", required=True
    )
    install = verbs.add_parser(
        "install",
        help="install the service for a YAML, or take a changed one, and start it",
        description="Checks the YAML, copies it to /etc/edge-runtime and its models to the "
        "service's state directory, writes the unit with what the YAML needs, and the udev rules; "
        "enables and starts the service. Run again it changes what has changed, and no more.",
    )
    install.add_argument("config", type=Path, metavar="CONFIG", help="the device YAML")
    install.set_defaults(run=run_install)
    uninstall = verbs.add_parser(
        "uninstall",
        help="stop and remove the service; configuration, models and results stay",
        description="Stops the service and removes what `install` wrote for systemd and udev.",
    )
    uninstall.add_argument(
        "--purge", action="store_true", help="remove configuration, secrets, models and results too"
    )
    uninstall.set_defaults(run=run_uninstall)
    status = verbs.add_parser(
        "status",
        help="say how the installed services are",
        description="Says how each installed service is; exit status 1 where one does not run.",
    )
    status.set_defaults(run=run_status)
    for verb in (install, uninstall, status):
        verb.add_argument(
            "--name", metavar="NAME", help="an instance edge-runtime@NAME, beside others"
        )
    for verb in (install, uninstall):
        verb.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and do nothing"
        )
        verb.add_argument(
            "--root",
            type=Path,
            default=Path("/"),
            metavar="DIR",
            help="another system's root, such as a mounted card: nothing is started",
        )


def run_install(args: argparse.Namespace) -> int:
    """Install, and say what has changed."""
    from edge.cli import check
    from edge.errors import ServiceError
    from edge.service.place import Place
    from edge.service.plan import obstacles, plan, program, roles, service_environment

    place = Place(args.name, args.root.absolute())
    if not args.dry_run and (why := list(obstacles(place))):
        raise ServiceError("\n".join(why))
    program(place)
    environment = service_environment(place)
    os.environ.clear()  # the check shall see what the service will
    os.environ.update(environment)
    planned = plan(args.config, place, environment)
    check.run(args)
    missing = planned.missing()
    if args.dry_run:
        _say_what_would_be_done(planned)
        return 0
    for file in missing:
        file.put()
        print(f"{file.path}: written")
    for note in planned.notes:
        print(f"note: {note}")
    if place.root != Path("/"):
        print(f"{place.unit}: starts when the system in {place.root} does")
        return 0
    from edge.service.manager import bring_up, state

    done = bring_up(place.unit, roles(missing))
    print(f"{place.unit}: {DONE[done] if missing or done else 'nothing has changed, it runs'}")
    print(f"  {state(place.unit)['StatusText']}")
    return 0


def _say_what_would_be_done(planned: "Plan") -> None:
    from edge.service.files import Link
    from edge.service.manager import due
    from edge.service.plan import is_booted, roles

    for file in planned.files:
        if file.is_there():
            print(f"{file.path}: is there already")
        elif isinstance(file, Link):
            print(f"{file.path}: would be linked to {file.target}")
        else:
            whence = f", a copy of {file.content}" if isinstance(file.content, Path) else ""
            print(f"{file.path}: would be written{whence}")
        if str(file.path).endswith(planned.place.drop_in) and not isinstance(file, Link):
            print("".join(f"    {line}\n" for line in file.data().decode().splitlines()), end="")
    for note in planned.notes:
        print(f"note: {note}")
    if planned.place.root == Path("/") and is_booted():
        unit = planned.place.unit
        verb = due(unit, roles(planned.missing()))
        print(f"{unit}: systemctl {verb}" if verb else f"{unit}: nothing to do")


def run_uninstall(args: argparse.Namespace) -> int:
    """Remove, and say what."""
    from edge.errors import ServiceError
    from edge.service.place import Place
    from edge.service.plan import obstacles
    from edge.service.removal import installed_files, kept_files, remove

    place = Place(args.name, args.root.absolute())
    if not args.dry_run and (why := list(obstacles(place))):
        raise ServiceError("\n".join(why))
    going, kept = list(installed_files(place)), list(kept_files(place))
    if args.purge:
        going, kept = going + kept, []
    live = place.root == Path("/") and not args.dry_run
    if live:
        from edge.service.manager import systemctl, take_down

        take_down(place.unit)
    for path in going:
        if not args.dry_run:
            remove(path)
        print(f"{path}: {'would be removed' if args.dry_run else 'removed'}")
    for path in kept:
        print(f"{path}: kept (--purge removes it)")
    if live:
        systemctl("daemon-reload")
    if not going:
        print(f"{place.unit}: nothing to do, it is not installed")
    return 0


def run_status(args: argparse.Namespace) -> int:
    """Say how the services are."""
    from edge.errors import ServiceError
    from edge.service.place import Place, installed
    from edge.service.plan import NOT_BOOTED, is_booted

    if not is_booted():
        raise ServiceError(NOT_BOOTED)
    places = [Place(args.name)] if args.name else installed(Path("/")) or [Place()]
    return max(_say_how_it_is(place) for place in places)


def _say_how_it_is(place: "Place") -> int:
    from edge.errors import EdgeError
    from edge.service.manager import state
    from edge.service.plan import plan, service_environment

    found = state(place.unit)
    if found["LoadState"] == "not-found":
        print(f"{place.unit}: is not installed: `sudo edge service install CONFIG`")
        return 1
    active = found["ActiveState"] in {"active", "reloading"}
    since = f" since {found['StateChangeTimestamp']}" if found["StateChangeTimestamp"] else ""
    print(
        f"{place.unit}: {found['ActiveState']} ({found['SubState']}){since}, "
        f"{found['UnitFileState'] or 'not enabled'}"
    )
    if found["StatusText"]:
        print(f"  {found['StatusText']}")
    if found["NRestarts"] not in {"", "0"}:
        print(f"  systemd has started it again {found['NRestarts']} times")
    config = place.on_disk(place.config)
    print(f"  configuration: {config}")
    # A package's unit may all that any device needs, until it is narrowed down to this one's.
    settled = place.packaged and not place.on_disk(place.drop_in).exists()
    if not settled:
        try:
            settled = not plan(config, place, service_environment(place)).missing()
        except (EdgeError, OSError):
            settled = True  # the daemon says itself what is wrong with it
    if not settled:
        print(f"  not all of it is in force: `sudo edge service install {config}`")
    return 0 if active else 1
