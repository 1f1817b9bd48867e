"""`edge schema`: what a device YAML may hold, for editors and for people."""

import argparse


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "schema",
        help="print the JSON Schema of the device YAML",
        description="Prints the JSON Schema (draft 2020-12) of the device YAML. Editors with the "
        "YAML language server use it when the file begins with "
        "`# yaml-language-server: $schema=PATH`.",
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print tables of all fields for people instead"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    import json

    from edge.config.reference import json_schema, markdown_reference

    if args.markdown:
        print(markdown_reference(), end="")
    else:
        print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
