"""The documentation says what is so: parameters, links, error texts, the Dag of the README."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from airflow_batchstream.operators.images import ImageRepairOperator, ImageScanOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

TOP = Path(__file__).parent.parent
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


def own_parameters(operator: type) -> set[str]:
    return {name for name in inspect.signature(operator.__init__).parameters if name not in ("self", "kwargs")}


def source() -> str:
    """All that the project says, with line breaks inside of strings closed up."""
    files = [*(TOP / "airflow_batchstream").rglob("*.py"), TOP / "scripts" / "setup.sh"]
    text = "\n".join(path.read_text() for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


class TestDocumentation:
    @pytest.mark.parametrize("operator", [CloudBatchStreamingJobOperator, ImageScanOperator, ImageRepairOperator])
    def test_every_parameter_is_in_the_reference(self, operator: type) -> None:
        page = (TOP / "docs" / "operators.md").read_text()
        section = page.split(f"## `{operator.__name__}`")[1].split("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert own_parameters(operator) <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    @pytest.mark.parametrize("operator", [CloudBatchStreamingJobOperator, ImageScanOperator, ImageRepairOperator])
    def test_every_parameter_is_in_the_docstring(self, operator: type) -> None:
        told = set(re.findall(r":param (\w+):", operator.__doc__ or ""))
        assert told == own_parameters(operator)

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_every_link_inside_the_repository_leads_somewhere(self, page: Path) -> None:
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        inside = [link for link in links if "://" not in link]
        assert [link for link in inside if not (page.parent / link).exists()] == []

    def test_every_error_text_of_the_troubleshooting_page_is_in_the_source(self) -> None:
        page, said = (TOP / "docs" / "troubleshooting.md").read_text(), source()
        headings = re.findall(r"^### (`.+`)$", page, re.MULTILINE)
        texts = [text for heading in headings for text in re.findall(r"`([^`]+)`", heading)]
        assert len(texts) > 10
        assert [text for text in texts if text not in said] == []


class TestReadme:
    def test_it_has_the_length_of_something_one_reads(self) -> None:
        assert 100 <= len((TOP / "README.md").read_text().splitlines()) <= 160

    def test_its_dag_is_a_dag(self) -> None:
        from airflow.sdk import DAG

        blocks = re.findall(r"```python\n(.*?)```", (TOP / "README.md").read_text(), re.DOTALL)
        made: dict[str, object] = {}
        exec(compile(blocks[0], "README.md", "exec"), made)
        (dag,) = [value for value in made.values() if isinstance(value, DAG)]
        assert any(isinstance(task, CloudBatchStreamingJobOperator) for task in dag.tasks)
