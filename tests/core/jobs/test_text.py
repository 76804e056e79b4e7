"""What containers print, made safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.jobs.text import CONTINUED, CONTINUES, LINE_BYTES, clean, pieces, plain


def joined(parts: list[str]) -> str:
    """The line that the pieces were cut from."""
    last = len(parts) - 1
    return "".join(
        part.removeprefix(CONTINUED if n else "").removesuffix(CONTINUES if n < last else "")
        for n, part in enumerate(parts)
    )


class TestControlCharacters:
    def test_ordinary_text_is_left_alone(self) -> None:
        assert clean("Größe: 5 µm, 大きさ, 🚀") == "Größe: 5 µm, 大きさ, 🚀"

    def test_a_windows_line_end_is_no_part_of_the_line(self) -> None:
        assert clean("hello\r") == "hello"

    def test_blanks_and_tabs_stay(self) -> None:
        assert clean("  a\tb  ") == "  a\tb  "

    def test_an_empty_line_stays_one(self) -> None:
        assert clean("") == ""

    def test_nul_and_bell_are_shown_as_pictures(self) -> None:
        assert clean("a\0b\a") == "a␀b␇"

    def test_a_progress_bar_keeps_all_it_printed(self) -> None:
        assert clean("\r 10%\r 20%") == "␍ 10%␍ 20%"

    @pytest.mark.parametrize("end", ["\x85", "\u2028", "\u2029", "\x0b", "\x0c"])
    def test_nothing_is_left_that_a_reader_might_take_for_a_line_end(self, end: str) -> None:
        assert len(clean(f"a{end}b").splitlines()) == 1

    @given(st.text())
    def test_whatever_is_printed_one_printable_line_comes_out(self, text: str) -> None:
        shown = plain(text.replace("\n", " "))
        assert len(shown.splitlines()) <= 1
        assert shown.encode().decode() == shown
        assert not [c for c in shown if ord(c) < 0x20 and c != "\t"]

    def test_half_a_character_is_replaced(self) -> None:
        assert clean("a\ud800b") == "a\ufffdb"


class TestFolds:
    def test_nothing_a_container_prints_folds_what_follows_it(self) -> None:
        assert clean("::group::step 1") == "[group] step 1"
        assert clean("\x1b[1mnow ::endgroup::") == "\x1b[1mnow [endgroup]"
        assert "::group::" not in clean("::gr\x1b[2Koup::step 1")
        assert "::group::" not in plain("::gr\x1b[1moup::step 1")


class TestEscapeSequences:
    def test_colours_stay_since_the_log_page_shows_them(self) -> None:
        assert clean("\x1b[1;31merror\x1b[0m") == "\x1b[1;31merror\x1b[0m"

    def test_colours_go_where_they_are_not_shown(self) -> None:
        assert plain("\x1b[1;31merror\x1b[0m") == "error"

    @pytest.mark.parametrize(
        "sequence", ["\x1b[2K", "\x1b[1A", "\x1b[?25l", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1b(B", "\x1bM"]
    )
    def test_what_moves_the_cursor_or_sets_a_title_goes(self, sequence: str) -> None:
        assert clean(f"a{sequence}b") == "ab"

    def test_a_stray_escape_is_shown_as_a_picture(self) -> None:
        assert clean("a\x1b") == "a␛"


class TestPieces:
    def test_a_short_line_is_one_piece(self) -> None:
        assert pieces("hello") == ["hello"]

    def test_a_line_of_just_the_limit_is_one_piece(self) -> None:
        assert pieces("x" * LINE_BYTES) == ["x" * LINE_BYTES]

    def test_a_longer_line_is_marked_where_it_goes_on(self) -> None:
        first, second = pieces("x" * (LINE_BYTES + 1))
        assert first.endswith(CONTINUES)
        assert second.startswith(CONTINUED)
        assert joined([first, second]) == "x" * (LINE_BYTES + 1)

    def test_no_word_is_cut_if_a_blank_is_near(self) -> None:
        parts = pieces("password=hunter2 " * 1000)
        assert all(part.removesuffix(CONTINUES).endswith("hunter2 ") for part in parts)

    def test_a_megabyte_comes_in_pieces_of_bounded_size(self) -> None:
        parts = pieces("é" * 500_000)
        assert max(len(part.encode()) for part in parts) <= LINE_BYTES
        assert joined(parts) == "é" * 500_000

    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=400), st.integers(64, 128))
    def test_nothing_is_lost_and_no_character_is_cut(self, text: str, most: int) -> None:
        parts = pieces(text, most)
        assert joined(parts) == text
        assert all(len(part.encode()) <= most for part in parts)
