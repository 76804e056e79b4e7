"""How a job of somebody else's is named: by XCom, by its full name, by its id."""

from __future__ import annotations

import json

import pytest

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.jobs.model import JobName
from airflow_batchstream.core.jobs.named import check_literals, named

NAME = "projects/p/locations/us-central1/jobs/j"
JOB = JobName("p", "us-central1", "j")
XCOM = {"name": NAME, "uid": "u-1", "image": "i:1", "digest": "sha256:0", "streaming": True, "ended": None}


class TestAJob:
    @pytest.mark.parametrize(
        "given", [XCOM, str(XCOM), json.dumps(XCOM), {"name": NAME}, NAME, f" {NAME}\n"], ids=str.__class__
    )
    def test_is_named_by_xcom_as_a_dict_or_as_text_or_by_its_full_name(self, given):
        assert named(given).name == JOB

    def test_brings_along_what_xcom_tells_of_it(self):
        found = named(XCOM)
        assert (found.uid, found.image, found.digest, found.streaming) == ("u-1", "i:1", "sha256:0", True)

    def test_is_named_by_its_id_with_project_and_region(self):
        assert named(None, "j", "p", "us-central1").name == JOB

    def test_of_a_domain_scoped_project_is_found(self):
        assert named("projects/example.com:p/locations/r/jobs/j").name.project_id == "example.com:p"


class TestWhatNamesNoJob:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((None,), "no job is named"),
            ((NAME, "j"), "both given"),
            ((None, "j", "p", None), "region: a job_id alone"),
            ((None, "j", "", "r"), "project_id: a job_id alone"),
            (("jobs/j",), "is no job name"),
            (("None",), "pushed no job"),
            (("",), "pushed no job"),
            (({},), "has no name"),
            (({"id": "x"},), "it has id"),
            (([XCOM, XCOM],), "list of 2.*expand"),
            ((7,), "Python int"),
            (("{broken",), "is no job name"),
        ],
    )
    def test_is_refused_with_the_way_out(self, arguments, words):
        with pytest.raises(InvalidInput, match=words) as refused:
            named(*arguments)
        assert str(refused.value).startswith("The arguments are wrong, 1 problem")

    def test_no_code_in_a_text_is_run(self):
        with pytest.raises(InvalidInput):
            named("{'name': __import__('os').getcwd()}")


class TestBeforeAnythingIsRendered:
    @pytest.mark.parametrize(("job", "job_id"), [(None, None), (NAME, "j"), ("jobs/j", None)])
    def test_what_is_wrong_in_any_case_is_refused(self, job, job_id):
        with pytest.raises(InvalidInput):
            check_literals(job, job_id)

    @pytest.mark.parametrize(
        ("job", "job_id"), [("{{ ti.xcom_pull('a') }}", None), (object(), None), (None, "{{ x }}"), (NAME, None)]
    )
    def test_what_is_rendered_later_is_let_through(self, job, job_id):
        check_literals(job, job_id)
