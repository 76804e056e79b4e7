from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.jobs.job_text import parse_text


def refusal(text: str, source: str = "job.json") -> str:
    """The finding of a text that is refused."""
    with pytest.raises(InvalidInput) as caught:
        parse_text(text, source)
    (finding,) = caught.value.findings
    assert finding.remedy
    return str(finding)


class TestJson:
    def test_it_is_read_if_the_text_starts_like_it(self) -> None:
        assert parse_text('\ufeff \n{"a": [1, true, null, "x"]}') == {"a": [1, True, None, "x"]}

    def test_fractions_keep_what_was_written(self) -> None:
        assert parse_text('{"version": 1.10}') == {"version": "1.10"}

    def test_a_script_may_have_real_line_breaks(self) -> None:
        assert parse_text('{"text": "a\nb\tc"}') == {"text": "a\nb\tc"}

    @pytest.mark.parametrize(
        ("text", "place", "words"),
        [
            ('{\n  "a": 1\n  "b": 2\n}', "line 3, column 3", "A comma is missing before it"),
            ('{\n  "a": 1,\n}', "line 2, column 9", "Leave out the comma."),
            ('{"a": [1,]}', "line 1, column 9", "Leave out the comma."),
            ('{"a": [1}', "line 1, column 9", "The brackets do not match."),
            ('{"a": "say "hi""}', "line 1, column 13", 'before a " inside a text'),
            ("{'a': 1}", "line 1, column 2", "double quotes"),
            ('{\n"a": 1 // one\n}', "line 2, column 8", "JSON has no comments"),
            ('{"a": True}', "line 1, column 7", "Write true, false or null."),
            ('{"a": {"b": 1}', "line 1, column 15", "ends too early"),
            ('{"a": ${COUNT}}', "line 1, column 7", "Put the real value in the place of ${COUNT}."),
            ('{"a": {{ params.n }}}', "line 1, column 8", "A template has to stand in quotes"),
            ('{"a": {% if x %}1{% endif %}}', "line 1, column 8", "A template has to stand in quotes"),
            ('{"a": 1} trailing', "line 1, column 10", "Look at the line"),
        ],
    )
    def test_a_mistake_is_shown_with_its_place_and_what_was_meant(self, text: str, place: str, words: str) -> None:
        found = refusal(text)
        assert found.startswith(f"job.json, {place}: ")
        assert words in found

    @pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', '{"a": ' + "1" * 5000 + "}", "[" * 100_000])
    def test_what_python_would_take_or_choke_on_is_refused(self, text: str) -> None:
        assert refusal(text).startswith("job.json: ")


class TestYaml:
    def test_plain_scalars_keep_what_was_written(self) -> None:
        text = "on: yes\nmode: 010\ntime: 12:30\nday: 2026-01-02\nversion: 1.10\n"
        text += "none: ~\nnull: null\nempty:\nquoted: 'null'\n"
        assert parse_text(text) == {
            "on": "yes",
            "mode": "010",
            "time": "12:30",
            "day": "2026-01-02",
            "version": "1.10",
            "none": None,
            "null": None,
            "empty": None,
            "quoted": "null",
        }

    def test_the_files_name_decides_over_the_first_character(self) -> None:
        assert parse_text("{a: [b]}", "job.yaml") == {"a": ["b"]}

    def test_block_texts_and_merges_are_read(self) -> None:
        text = "base: &b {x: 1, y: 2}\nother: &o {z: 3}\nall:\n  <<: [*b, *o]\n  y: 9\ntext: |\n  a\n  b\n"
        assert parse_text(text)["all"] == {"x": "1", "y": "9", "z": "3"}
        assert parse_text(text)["text"] == "a\nb\n"

    @pytest.mark.parametrize(
        ("text", "place", "words"),
        [
            ("a:\n\tb: 1", "line 2, column 1", "Indent with spaces"),
            ("a: b: c", "line 1, column 5", "Look at the indentation"),
            ("a: {{ params.n }}", "line 1, column 5", "A template has to stand in quotes"),
            ("a: {% if x %}1{% endif %}", "line 1, column 5", "A template has to stand in quotes"),
            ("a: 1\n---\nb: 1", "line 2, column 1", "One file holds one job"),
            ("a: !Ref b", "line 1, column 4", "means nothing to Batch"),
            ("a: !!python/object/apply:os.system [id]", "line 1, column 4", "means nothing to Batch"),
            ("a: !!binary aGk=", "line 1, column 4", "means nothing to Batch"),
            ("a:\n  <<: x", "line 2, column 7", "an alias of a mapping"),
            ("a: *nowhere", "line 1, column 4", "is no YAML here"),
        ],
    )
    def test_a_mistake_is_shown_with_its_place_and_what_was_meant(self, text: str, place: str, words: str) -> None:
        found = refusal(text, "job.yaml")
        assert found.startswith(f"job.yaml, {place}: ")
        assert words in found

    def test_aliases_cannot_make_billions_of_a_few_lines(self) -> None:
        bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
        assert "expands to more than" in refusal(bomb, "job.yaml")

    def test_an_alias_to_what_it_stands_in_ends(self) -> None:
        assert "nested too deeply" in refusal("a: &a [*a]", "job.yaml")

    def test_a_character_that_no_text_has_is_named(self) -> None:
        assert "is no YAML" in refusal("a: \x00", "job.yaml")


class TestKeysThatStandTwice:
    @pytest.mark.parametrize(
        ("text", "place", "first"),
        [
            ('{"a": 1, "b": {"a": 1},\n "a": 2}', "line 2, column 2", "line 1, column 2"),
            ('{"x": [{"a": "}"}, {"a": ":", "\\u0061": 2}]}', "line 1, column 31", "line 1, column 21"),
            ("a: 1\nb:\n  a: 1\na: 2\n", "line 4, column 1", "line 1, column 1"),
            ("b: [{c: 1, c: 2}]", "line 1, column 12", "line 1, column 6"),
        ],
    )
    def test_both_places_are_named(self, text: str, place: str, first: str) -> None:
        found = refusal(text, "job")
        assert found.startswith(f"job, {place}: ")
        assert f"first in {first}" in found

    @given(
        st.recursive(st.text(max_size=4), lambda i: st.dictionaries(st.text(max_size=3), i) | st.lists(i), max_leaves=8)
    )
    def test_without_any_all_json_is_read_as_it_is(self, data: Any) -> None:
        text = json.dumps({"job": data}, ensure_ascii=False)
        assert parse_text(text) == {"job": data}

    @given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=4), st.data())
    def test_one_more_is_always_found(self, data: dict[str, str], draw: st.DataObject) -> None:
        key = draw.draw(st.sampled_from(sorted(data)))
        text = json.dumps({"x": data})[:-2] + f", {json.dumps(key)}: 1}}}}"
        assert f"the key {json.dumps(key, ensure_ascii=False)} stands here again" in refusal(text)


class TestWhatIsNoJob:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is empty"),
            (" \n", "is empty"),
            ("# only a comment\n", "is empty"),
            ("job.json", "A file's name belongs into job_file."),
            ("[1]", "Leave out the list's brackets."),
            ("- a\n- b", "Leave out the list's brackets."),
            ("x" * 5_000_000, "4000000 are read at most"),
        ],
    )
    def test_it_is_refused(self, text: str, words: str) -> None:
        assert words in refusal(text, "job")

    @given(st.text(alphabet="{}[]:,\"' \n-&*a1<|#!%@\t", max_size=30))
    def test_any_text_is_a_mapping_or_refused_with_words(self, text: str) -> None:
        try:
            assert isinstance(parse_text(text), dict)
        except InvalidInput as error:
            assert error.findings[0].remedy
