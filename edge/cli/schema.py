"""`edge schema`: what a device YAML may hold, and what is said over MQTT."""

import argparse


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "schema",
        help="print the JSON Schema of the device YAML, or the AsyncAPI document of the topics",
        description="Prints the JSON Schema (draft 2020-12) of the device YAML. Editors with the "
        "YAML language server use it when the file begins with "
        "`# yaml-language-server: $schema=PATH`.",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--markdown", action="store_true", help="print tables of all fields for people instead"
    )
    instead.add_argument(
        "--asyncapi",
        action="store_true",
        help="print the AsyncAPI 3.0 document (JSON) of every MQTT topic and payload instead",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    import json

    from edge.asyncapi import document
    from edge.config.reference import json_schema, markdown_reference

    if args.markdown:
        print(markdown_reference(), end="")
    else:
        printed = document() if args.asyncapi else json_schema()
        print(json.dumps(printed, indent=2, ensure_ascii=False))
    return 0
