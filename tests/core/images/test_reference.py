from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_batchstream.core.images.reference import Reference, parse, read_digest

SHA256 = "sha256:" + "a1" * 32
SHA512 = "sha512:" + "b2" * 64


class TestANameIsReadInItsParts:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("us-docker.pkg.dev/p/r/i", ("us-docker.pkg.dev", "p/r/i", None, None)),
            ("us-docker.pkg.dev/p/r/i:1.0", ("us-docker.pkg.dev", "p/r/i", "1.0", None)),
            (f"us-docker.pkg.dev/p/r/i@{SHA256}", ("us-docker.pkg.dev", "p/r/i", None, SHA256)),
            (f"us-docker.pkg.dev/p/r/i:1.0@{SHA512}", ("us-docker.pkg.dev", "p/r/i", "1.0", SHA512)),
            ("localhost:5000/i:1", ("localhost:5000", "i", "1", None)),
            ("localhost/i", ("localhost", "i", None, None)),
            ("[::1]:5000/i", ("[::1]:5000", "i", None, None)),
            ("127.0.0.1:80/a/b_c/d__e/f--g/h.i:T_a.g-1", ("127.0.0.1:80", "a/b_c/d__e/f--g/h.i", "T_a.g-1", None)),
        ],
    )
    def test_host_path_tag_and_digest(self, text: str, parts: tuple[str, str, str | None, str | None]) -> None:
        assert parse(text) == Reference(*parts)
        assert str(parse(text)) == text

    @pytest.mark.parametrize(
        ("text", "whole"),
        [
            ("python", "docker.io/library/python"),
            ("python:3.12", "docker.io/library/python:3.12"),
            ("acme/tool", "docker.io/acme/tool"),
            ("docker.io/python", "docker.io/library/python"),
            ("us-docker.pkg.dev.example.com", "docker.io/library/us-docker.pkg.dev.example.com"),
        ],
    )
    def test_without_a_host_it_is_docker_hubs_and_that_is_made_visible(self, text: str, whole: str) -> None:
        assert str(parse(text)) == whole

    def test_as_long_as_it_may_be_it_is_read(self) -> None:
        longest = "us-docker.pkg.dev/" + "p/r/" + "i" * 251 + ":" + "t" * 128
        assert str(parse(longest)) == longest
        longest = f"{'a' * 1022}/i"
        assert len(longest) == 1024
        with pytest.raises(ValueError, match="the path has 1024 characters"):
            parse(longest)
        assert parse("localhost:65535/i").registry == "localhost:65535"

    def test_the_digest_decides_over_the_tag_and_latest_stands_for_none(self) -> None:
        assert parse(f"localhost/i:1@{SHA256}").target == SHA256
        assert parse("localhost/i:1").target == "1"
        assert parse("localhost/i").target == "latest"

    def test_pinned_drops_the_tag(self) -> None:
        assert str(parse("us-docker.pkg.dev/p/r/i:1.0").pinned(SHA256)) == f"us-docker.pkg.dev/p/r/i@{SHA256}"

    def test_pinned_takes_no_tag_for_a_digest(self) -> None:
        with pytest.raises(ValueError, match="no digest"):
            parse("us-docker.pkg.dev/p/r/i").pinned("1.0")


class TestGooglesRegistries:
    @pytest.mark.parametrize(
        ("text", "project", "repository", "image"),
        [
            ("us-docker.pkg.dev/p/r/i:1", "p", "r", "i"),
            ("us-docker.pkg.dev/p/r/deep/er/i", "p", "r", "deep/er/i"),
            ("us-docker.pkg.dev/example.com/project/repo/image", "example.com:project", "repo", "image"),
            ("us-docker.pkg.dev/example.com/project/repo", "example.com:project", "repo", None),
            ("us-docker.pkg.dev/example.com", None, None, None),
            ("us-docker.pkg.dev/p/r", "p", "r", None),
            ("us-docker.pkg.dev/p", "p", None, None),
            ("europe-docker.pkg.dev/p/eu.gcr.io/i", "p", "eu.gcr.io", "i"),
        ],
    )
    def test_project_repository_and_image(
        self, text: str, project: str | None, repository: str | None, image: str | None
    ) -> None:
        reference = parse(text)
        assert (reference.project_id, reference.repository_id, reference.image_name) == (project, repository, image)

    @pytest.mark.parametrize(
        ("host", "location"),
        [
            ("us-docker.pkg.dev", "us"),
            ("europe-west2-docker.pkg.dev", "europe-west2"),
            ("docker.pkg.dev", None),
            ("us-docker.pkg.dev.evil.example", None),
            ("us-docker.pkg.dev:443", None),
            ("us-dockerxpkg.dev", None),
            ("us-docker.pkgxdev", None),
            ("us-python.pkg.dev", None),
            ("a.us-docker.pkg.dev", None),
        ],
    )
    def test_the_location_is_in_the_host(self, host: str, location: str | None) -> None:
        reference = parse(f"{host}/p/r/i")
        assert reference.location == location
        assert reference.is_artifact_registry is (location is not None)

    @pytest.mark.parametrize(
        ("text", "moved"),
        [
            ("gcr.io/p/i:1", "us-docker.pkg.dev/p/gcr.io/i:1"),
            ("us.gcr.io/p/i", "us-docker.pkg.dev/p/us.gcr.io/i"),
            (f"eu.gcr.io/p/a/b@{SHA256}", f"europe-docker.pkg.dev/p/eu.gcr.io/a/b@{SHA256}"),
            ("asia.gcr.io/example.com/p/i", "asia-docker.pkg.dev/example.com/p/asia.gcr.io/i"),
            ("gcr.io/p", None),
            ("k8s.gcr.io/p/i", None),
            ("au.gcr.io/p/i", None),
            ("gcr.io.example.com/p/i", None),
            ("us-docker.pkg.dev/p/r/i", None),
        ],
    )
    def test_container_registry_names_tell_where_they_migrate_to(self, text: str, moved: str | None) -> None:
        assert parse(text).migrated == moved

    def test_elsewhere_there_is_no_project(self) -> None:
        assert parse("quay.io/p/r/i").project_id is None
        assert parse("gcr.io/p/i").repository_id is None


class TestWhatIsNoNameIsToldWhatWasMeant:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is empty: write HOST/PATH:TAG"),
            ("us-docker.pkg.dev/${PROJECT}/r/i", r"still has the placeholder '\$\{PROJECT\}'"),
            ("us-docker.pkg.dev/$PROJECT/r/i", r"placeholder '\$PROJECT'"),
            ("us-docker.pkg.dev/<PROJECT>/r/i", "placeholder '<PROJECT>'"),
            ("{{ params.image }}", "placeholder"),
            (" us-docker.pkg.dev/p/r/i", "at its start or end"),
            ("us-docker.pkg.dev/p/r/i\n", "at its start or end"),
            ("us-docker.pkg.dev/p/r/my image", "a space inside"),
            ("None", "a template makes of nothing"),
            ("['us-docker.pkg.dev/p/r/i:1', 'us-docker.pkg.dev/p/r/j:1']", "is a list that became text"),
            ('["us-docker.pkg.dev/p/r/i:1"]', "pass the list itself"),
            ("('us-docker.pkg.dev/p/r/i:1',)", "is a list that became text"),
            ("'us-docker.pkg.dev/p/r/i:1'", "has quotes around it"),
            ('"us-docker.pkg.dev/p/r/i:1"', "has quotes around it"),
            ("https://us-docker.pkg.dev/p/r/i", "starts with https://"),
            ("docker://us-docker.pkg.dev/p/r/i", "starts with docker://"),
            ("US-docker.pkg.dev/p/r/i", "upper-case letters, write us-docker.pkg.dev"),
            ("us-docker.pkg.dev/p/r/Image:1", "the part 'Image' has upper-case letters, write image"),
            ("us_docker.pkg.dev/p/r/i", "is no host"),
            ("us-docker.pkg.dev:http/p/r/i", "is no host"),
            ("localhost:99999/i", "99999 is no port"),
            ("localhost:65536/i", "65536 is no port"),
            ("localhost:0/i", "0 is no port"),
            ("localhost:/i", "is no host"),
            ("localhost:000443/i", "is no host"),
            ("[::1/i", "is no host"),
            ("[localhost]:80/i", "is no host"),
            ("-us-docker.pkg.dev/p/r/i", "is no host"),
            ("us-docker.-pkg.dev/p/r/i", "is no host"),
            ("us-docker.pkg-.dev/p/r/i", "is no host"),
            ("us-docker.pkg.dev", "write us-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE"),
            ("us-docker.pkg.dev/", "names no image"),
            ("us-docker.pkg.dev//r/i", "empty part"),
            ("us-docker.pkg.dev/p/r/i/", "empty part"),
            ("us-docker.pkg.dev/p/r/-i", "'-i' is not allowed"),
            ("us-docker.pkg.dev/p/r/i___j", "'i___j' is not allowed"),
            ("us-docker.pkg.dev/example.com:p/r/i", r"written with a slash in image names \('example.com/p'\)"),
            ("us-docker.pkg.dev/p/r:1/i", "only host:port and the tag at the end have one"),
            ("us-docker.pkg.dev/p/r/i:", "ends in a colon"),
            ("us-docker.pkg.dev/p/r/i:-1", "'-1' is no tag"),
            ("us-docker.pkg.dev/p/r/i:" + "t" * 129, "at most 128"),
            (f"us-docker.pkg.dev/p/r/i:{SHA256}", "a digest is written behind @"),
            ("us-docker.pkg.dev/p/r/i@latest", "'latest' is no digest"),
            ("us-docker.pkg.dev/p/r/i@sha256:abc", "these are 3 characters"),
            ("us-docker.pkg.dev/p/r/i@" + SHA256.upper(), "is no digest"),
            ("us-docker.pkg.dev/p/r/i@md5:" + "a" * 32, "is no digest"),
            ("us-docker.pkg.dev/p/r/i@sha256:" + "a" * 63, "these are 63 characters"),
            ("us-docker.pkg.dev/p/r/i@sha256:" + "A" * 64, "lower-case"),
            ("us-docker.pkg.dev/p/r/i@sha512:" + "a" * 127, "sha512 has 128"),
            (f"us-docker.pkg.dev/p/r/i@{SHA256}0", "these are 65 characters"),
            (f"us-docker.pkg.dev/p/r/i@{SHA256}@{SHA256}", "is no digest"),
            ("us-docker.pkg.dev/p/r/" + "i" * 252, "the path has 256 characters, 255 are allowed"),
        ],
    )
    def test_with_the_way_out(self, text: str, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            parse(text)

    def test_a_whole_file_by_mistake_is_not_printed_whole(self) -> None:
        with pytest.raises(ValueError, match="has 30,000 characters, an image name has 1,024 at most") as caught:
            parse("a b" * 10_000)
        assert len(str(caught.value)) < 400

    def test_a_number_is_no_name(self) -> None:
        with pytest.raises(ValueError, match="not int"):
            parse(3)  # type: ignore[arg-type]


_ALPHABET = st.sampled_from("ab0-._:/@ ABsha256${}\n\x00é\ud800")


class TestAnyText:
    @given(st.one_of(st.text(max_size=80), st.text(_ALPHABET, max_size=40)))
    @example("a@sha256:" + "٣" * 64)
    @example("host.example:٣/i")
    def test_gives_a_reference_that_reads_back_as_itself_or_a_value_error(self, text: str) -> None:
        try:
            reference = parse(text)
        except ValueError as error:
            str(error).encode()  # printable, whatever was in the text
            return
        assert parse(str(reference)) == reference

    @given(
        st.from_regex(r"[a-z]{1,8}-docker\.pkg\.dev/[a-z]{1,9}(/[a-z0-9]{1,9}){1,4}(:\w[\w.-]{0,20})?", fullmatch=True)
    )
    def test_good_names_are_kept_letter_by_letter(self, text: str) -> None:
        try:
            assert str(parse(text)) == text
        except ValueError:
            assert not text.isascii()  # \w of the strategy knows letters that tags do not

    @given(st.text(max_size=150))
    def test_a_digest_is_returned_as_it_is_or_refused(self, text: str) -> None:
        try:
            assert read_digest(text) == text
        except ValueError:
            return
        assert text.startswith(("sha256:", "sha512:"))
