import json
import re
import tomllib
from typing import Any

import pytest

from tests.support.edge_files import HEAD, with_stage
from trioedge.cli.schema import parts
from trioedge.config.keys import keys_of
from trioedge.config.schema import schema_of
from trioedge.plugins import BUILT_IN, Kind, find

SCHEMA = schema_of(parts())
KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
}  # fmt: skip


def fits(value: Any, schema: Any) -> bool:
    """Return whether a value fits a schema of the words that trioedge uses; any other word is an error."""
    for word, said in schema.items():
        match word:
            case "$ref":
                good = fits(value, SCHEMA["definitions"][said.rpartition("/")[2]])
            case "type":
                kinds: dict[str, Any] = {
                    "object": dict,
                    "array": list,
                    "string": str,
                    "integer": int,
                    "number": (int, float),
                }
                good = isinstance(value, kinds.get(said, bool)) and (said == "boolean" or not isinstance(value, bool))
            case "properties":
                good = all(fits(value[key], each) for key, each in said.items() if key in value)
            case "additionalProperties":
                others = [value[key] for key in value if key not in schema.get("properties", {})]
                good = not others if said is False else all(fits(each, said) for each in others)
            case "required":
                good = all(key in value for key in said)
            case "items" if isinstance(said, list):
                good = all(map(fits, value, said))
            case "items":
                good = all(fits(each, said) for each in value)
            case "minItems":
                good = len(value) >= said
            case "maxItems":
                good = len(value) <= said
            case "minProperties":
                good = len(value) >= said
            case "enum":
                good = value in said
            case "const":
                good = value == said
            case "anyOf":
                good = any(fits(value, each) for each in said)
            case "oneOf":
                good = sum(fits(value, each) for each in said) == 1
            case "allOf":
                good = all(fits(value, each["then"]) for each in said if fits(value, each["if"]))
            case "pattern":
                good = re.search(said, value) is not None
            case "propertyNames":
                good = all(fits(key, said) for key in value)
            case "title" | "description" | "default" | "$schema" | "definitions":
                good = True
            case _:
                raise AssertionError(f"the schema says {word}")
        if not good:
            return False
    return True


CONTROL = f'{HEAD}endpoint = {{ use = "forward" }}\ncontrol = {{ use = "http", url = "https://c.example", token = %s }}'
BALANCED = """
[edge.a]
listen = ["tcp://127.0.0.1:0"]
endpoint = { use = "forward", to = "both" }
[outbound.both]
use = "balanced"
members = ["tcp://127.0.0.1:1", { address = "tcp://127.0.0.1:2" }]
[process]
log_level = "debug"
"""
STAGE = '{ use = "session-gate", rate = 5 }'


@pytest.mark.parametrize(
    "text",
    [
        with_stage(STAGE),
        with_stage('{ use = "device-limit", devices = 2, grace = { seconds = 3 }, handover = "hold" }'),
        with_stage('{ use = "source-match", reject = { file = "drop.txt" } }', "source_prefix = [24, 56]"),
        with_stage(f'{{ use = "detect", protocols = {{ http = "tcp://127.0.0.1:1", tls = [{STAGE}] }} }}'),
        BALANCED,
        CONTROL % '{ env = "TOKEN" }',
    ],
)  # fmt: skip
def test_a_good_file_fits_the_schema(text: str) -> None:
    assert fits(tomllib.loads(text), SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[edges.a]",
        "[edge.a]",
        with_stage(STAGE).replace("listen", "lisen"),
        with_stage(STAGE.replace("rate", "rat")),
        with_stage(STAGE.replace("5", "'many'")),
        with_stage(STAGE.replace("5", "true")),
        with_stage(STAGE.replace("session-gate", "session-gates")),
        with_stage('{ use = "device-limit", handover = "evict" }'),
        with_stage('{ use = "device-limit", grace = { second = 3 } }'),
        with_stage('{ rate = 5 }'),
        with_stage(STAGE, "source_prefix = [24]"),
        CONTROL % '{ file = "a", env = "b" }',
        CONTROL % '"text"',
    ],
)  # fmt: skip
def test_a_bad_file_does_not(text: str) -> None:
    assert not fits(tomllib.loads(text), SCHEMA)


def test_every_key_of_every_part_is_in_the_schema_with_its_words() -> None:
    for kind in Kind:
        for name in BUILT_IN[kind]:
            table = SCHEMA["definitions"][f"{kind}-{name}"]
            for key in keys_of(find(kind, name)).values():
                if key.shape is not None:
                    assert table["properties"][key.name]["description"] == key.words != "", (name, key.name)
            assert table["additionalProperties"] is False


def test_it_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
