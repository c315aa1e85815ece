"""The documents say what the program does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from api.bodies import validated
from api.button import scripts
from api.openapi import EXAMPLES, OPERATIONS, document
from api.problems import PROBLEMS
from api.schemas import ProblemDetails
from config import VERSION
from docs import build
from otp.lifecycle import DELIVERY_STEPS, REQUEST_STEPS
from tests.markdown import Block, anchor, sections

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "clients/*", "examples", "examples/*")
    for path in ROOT.glob(f"{folder}/*.md")
)


def test_the_openapi_document_is_valid() -> None:
    """OpenAPI 3.1 as its own schema has it."""
    OpenAPIV31SpecValidator(document(VERSION)).validate()


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_the_examples_of_bodies_are_accepted(model: type[BaseModel]) -> None:
    """Somebody who tries a call out with what stands there is not refused for it."""
    validated(model, EXAMPLES[model])  # raises what is wrong


def test_every_call_stands_under_one_heading_of_the_reference() -> None:
    """One that is new must be given its place."""
    told = document(VERSION)
    headings = {tag["name"] for tag in told["tags"]}
    tags = [call["tags"] for path in told["paths"].values() for call in path.values()]
    assert len(tags) == len(OPERATIONS)
    assert all(len(one) == 1 for one in tags)
    assert {name for one in tags for name in one} == headings


def test_each_problem_has_an_example_that_is_one() -> None:
    """With its own code and status, for all that may happen."""
    examples = document(VERSION)["components"]["examples"]
    shown = {code: ProblemDetails(**example["value"]) for code, example in examples.items()}
    assert {code: one.status for code, one in shown.items()} == {
        code: status for code, (status, _) in PROBLEMS.items()
    }
    assert all(one.code == code for code, one in shown.items())


@pytest.mark.parametrize("name", ["docs/api.md", "docs/api.ru.md"])
def test_every_error_and_every_call_is_explained(name: str) -> None:
    """A code stands in the table of errors with its status, and a path in the text or in a line of curl."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for code, (status, _) in PROBLEMS.items():
        assert re.search(rf"^\| {status} \| .*`{code}`.* \| [^|]{{5,}} \|$", text, re.MULTILINE), code
    for operation in OPERATIONS:
        named = re.sub(r"\\{\w+\\}", r"(\\{\\w+\\}|\\w+)", re.escape(operation.path))
        assert re.search(rf"{named}(?![\w/])", text), operation.path


def test_the_committed_openapi_document_is_the_served_one() -> None:
    """`make docs` writes it anew."""
    assert (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8") == build.openapi()


def test_the_table_of_sentences_is_complete() -> None:
    """`make docs` writes it anew; every section of the language files is in it."""
    english = tomllib.loads((ROOT / "bot" / "languages" / "en.toml").read_text(encoding="utf-8"))
    assert set(english) - {"plural"} == set(build.WHEN)
    assert (ROOT / "docs" / "conversation.md").read_text(encoding="utf-8") == build.conversation()


@pytest.mark.parametrize("path", build.WITH_BUTTON, ids=[path.name for path in build.WITH_BUTTON])
def test_documents_with_the_button_name_its_newest_version_and_its_hash(path: Path) -> None:
    """`make docs` writes them anew."""
    text = path.read_text(encoding="utf-8")
    assert text == build.button(path)
    newest = list(scripts().values())[-1]
    assert f'{newest.path}"\n' in text
    assert newest.integrity in text


def test_the_release_has_one_number() -> None:
    """The program, the project file and the newest entry of the changelog agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    newest = re.search(
        r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert newest is not None
    assert project["project"]["version"] == VERSION == newest[1]


def test_the_state_tables_of_the_architecture_are_those_of_the_program() -> None:
    """Every step of requests and deliveries, and no other."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `?(\w+)`? \| `?(\w+)`? \|", text, re.MULTILINE))
    requests = {(str(a), str(b)) for a, ends in REQUEST_STEPS.items() for b in ends}
    deliveries = {(str(a), str(b)) for a, ends in DELIVERY_STEPS.items() for b in ends}
    known = {str(state) for state in [*REQUEST_STEPS, *DELIVERY_STEPS]}
    assert {pair for pair in told if set(pair) <= known} == requests | deliveries


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """Files that are named are there."""
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_to_headings_lead_to_one(path: Path) -> None:
    """In the same document or another one."""
    for file, target in re.findall(
        r"\]\((?!https?:|mailto:)([^)#\s]*)#([^)\s]+)\)", path.read_text(encoding="utf-8")
    ):
        named = (path.parent / file).resolve() if file else path
        titles = [anchor(section.title) for section in sections(str(named.relative_to(ROOT)))]
        assert target in titles, (file, target)


@pytest.mark.parametrize(
    "english, russian", [("README.md", "README.ru.md"), ("docs/api.md", "docs/api.ru.md")]
)
def test_both_languages_say_the_same(english: str, russian: str) -> None:
    """Heading by heading: as many rows in the tables, the same names for machines, the same blocks but for comments."""
    ours, theirs = sections(english), sections(russian)
    assert [section.level for section in ours] == [section.level for section in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.terms == other.terms, one.title
        assert one.rows == other.rows, one.title
        assert [_code(block) for block in one.blocks] == [_code(block) for block in other.blocks], one.title


def _code(block: Block) -> str:
    """What a machine reads of a block; a picture has its words in the reader's language."""
    return (
        block.language
        if block.language == "mermaid"
        else re.sub(r"\s+# .*$", "", block.text, flags=re.MULTILINE)
    )


def test_the_tests_and_names_that_the_security_page_points_to_are_there() -> None:
    """A requirement is held by a test that exists, and by code that exists."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    assert len(named) > 60
    for file, name in named:
        assert re.search(
            rf"^(async )?def {name}\(", (ROOT / "tests" / file).read_text("utf-8"), re.MULTILINE
        ), name
    for path, name in re.findall(r"`((?:otp|api|bot|config|storage)/\w+\.py)` `([\w.]+)`", text):
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"\b{name.rsplit('.', 1)[-1]}\b", source), (path, name)
