"""The shortest way through the whole local Batch."""


class TestAJob:
    def test_runs_and_its_lines_are_in_its_log(self, client, logs, script) -> None:
        job = client.run(script("echo hello from $BATCH_TASK_INDEX"))
        assert job.status.state.name == "SUCCEEDED"
        assert logs.lines(job) == ["hello from 0"]
