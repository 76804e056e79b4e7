"""``make pictures``: the pictures of README and docs, taken in an Airflow that runs what they show.

Writes to ``docs/images``: ``task-log.png`` (a job that runs), ``form.png`` (example 2), ``failure.png`` (the block that
says why a job failed), ``scan.png`` and ``repair.png`` (example 8, with an image that breaks two rules). Needs
chromium. The Airflow is that of ``make ui`` with a Dag of its own beside the two examples, in ``.work/pictures``.
"""

from __future__ import annotations

import base64
import shutil
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from airflow_api import Run
from airflow_ui import CHROMIUM, WIDTH, Ui, browser
from hello_image import push_with_an_empty_layer
from playwright.sync_api import FloatRect, Locator, Page, expect
from ui import DAGS, IMAGE, TOP, UiError, playground

WORK = TOP / ".work" / "pictures"
IMAGES = TOP / "docs" / "images"
MARGIN = 12.0
TALL = 2000
"""Of the window: a whole log is seen without scrolling."""
SCALE = 1.32
"""The part of the window that is kept is some 1060 pixels wide; the pictures are to have 1400."""
LARGEST = 300_000
EXAMPLES = ("example_2_by_hand", "example_8_repair")
TWO_RULES = IMAGE.replace(":1.0", ":1.4")
"""An image that breaks two rules."""

NIGHTLY = '''
from airflow.sdk import DAG

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

IMAGE = "us-docker.pkg.dev/my-project/examples/hello:1.0"
TRAIN = """
for epoch in 1 2 3; do
    sleep 1
    echo "task $BATCH_TASK_INDEX: epoch $epoch of 20, loss 0.$((9 - epoch))$((5 + BATCH_TASK_INDEX))"
    [ "$epoch$BATCH_TASK_INDEX" != 21 ] || echo "task 1: shard 17 is empty, skipped" >&2
done
sleep 600
"""
EVALUATE = """
echo "task $BATCH_TASK_INDEX: reads the model"
[ $BATCH_TASK_INDEX != 1 ] || { echo "task 1: cannot allocate 6.4 GB" >&2; kill -KILL $$; }
echo "task $BATCH_TASK_INDEX: accuracy 0.91"
"""

with DAG("nightly_training", schedule=None):
    where = {"project_id": "my-project", "region": "us-central1", "machine_type": "e2-standard-8", "image_uri": IMAGE}
    train = CloudBatchStreamingJobOperator(
        task_id="train", entrypoint="sh", commands=["-c", TRAIN], task_count=3, **where
    )
    evaluate = CloudBatchStreamingJobOperator(
        task_id="evaluate", entrypoint="sh", commands=["-c", EVALUATE], task_count=3, scan_image=False, **where
    )
'''


def box(element: Locator) -> FloatRect:
    """Where an element is."""
    found = element.bounding_box()
    assert found is not None, "it is seen, so it has a place"
    return found


PIXELS = """async (png) => {
    const image = new Image();
    image.src = "data:image/png;base64," + png;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const bytes = context.getImageData(0, 0, image.width, image.height).data;
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return [image.width, image.height, btoa(text)];
}"""


def smaller(page: Page, png: bytes) -> bytes:
    """The same picture with 256 colours, a third of the size: text on few backgrounds needs no more.

    The commonest of each corner of the colour space first (a word in red is a few pixels), then the commonest of all.
    """
    width, height, text = page.evaluate(PIXELS, base64.b64encode(png).decode())
    pixels = [rgba[:3] for rgba in struct.unpack("4s" * (width * height), base64.b64decode(text))]
    colours = Counter(pixels)
    by_number = [colour for colour, _ in colours.most_common()]
    corners = {tuple(part >> 5 for part in colour): colour for colour in reversed(by_number)}
    palette = list(dict.fromkeys([*corners.values(), *by_number]))[:256]

    def nearest(colour: bytes) -> int:
        return min(
            range(len(palette)), key=lambda n: sum((a - b) ** 2 for a, b in zip(colour, palette[n], strict=True))
        )

    index = {colour: nearest(colour) for colour in colours}
    rows = b"".join(b"\0" + bytes(map(index.__getitem__, pixels[y * width : (y + 1) * width])) for y in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"PLTE", b"".join(palette)), chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def save(ui: Ui, name: str, area: FloatRect) -> None:
    """Write a picture of a part of the window.

    :raises UiError: it is too large for a page that people load.
    """
    path = IMAGES / name
    ui.page.mouse.move(0, 0)
    ui.page.wait_for_timeout(1000)  # whatever still moves comes to rest
    path.write_bytes(smaller(ui.page, ui.page.screenshot(clip=area, animations="disabled")))
    if path.stat().st_size > LARGEST:
        raise UiError(f"{path.relative_to(TOP)} has {path.stat().st_size} bytes, more than {LARGEST}")
    print(f"{path.relative_to(TOP)}  {path.stat().st_size // 1000} kB")


def of_task(ui: Ui, bottom: float) -> FloatRect:
    """The task's part of the window, from its name down to here."""
    head = box(ui.page.get_by_test_id("header-card"))
    top = head["y"] - MARGIN / 2
    return {"x": head["x"], "y": top, "width": head["width"] + MARGIN, "height": bottom - top}


def take(ui: Ui, run: Run, example_8: Run) -> None:
    """The form; then the job that runs, the one that has failed, and an image that is scanned and repaired."""
    ui.page.set_viewport_size({"width": WIDTH, "height": TALL})
    ui.page.goto(f"{ui.url}/dags/example_2_by_hand")
    save(ui, "form.png", box(ui.form(command="sh\n-c\nfor i in 1 2 3; do echo step $i of 3; sleep 1; done")))

    ui.task_log(run.task("train"))
    for n in range(3):
        expect(ui.line(f"task {n}: epoch 3 of 20")).to_be_visible()
    expect(ui.state()).to_have_text("Running")
    last = box(ui.page.locator("[data-testid^=virtualized-item-]").last)
    save(ui, "task-log.png", of_task(ui, last["y"] + last["height"] + MARGIN))

    ui.task_log(run.task("evaluate"))
    trace = ui.line("Task failed with exception")
    expect(trace).to_be_visible()
    save(ui, "failure.png", of_task(ui, box(trace)["y"]))

    if example_8.wait() != "success":
        raise UiError("example 8 did not succeed")
    for task, ends in (("scan", "2 rules are broken"), ("repair", "Run ")):
        ui.task_log(example_8.task(task))
        expect(ui.line(ends)).to_be_visible()
        save(ui, f"{task}.png", of_task(ui, box(ui.page.get_by_text("Post Execute"))["y"]))


def main() -> int:
    """Take them all."""
    if CHROMIUM is None:
        print("pictures: no chromium on PATH (on Debian: apt install chromium)", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    dags = WORK.parent / "pictures-dags"
    shutil.rmtree(dags, ignore_errors=True)
    dags.mkdir(parents=True)
    (dags / "nightly_training.py").write_text(NIGHTLY)
    for example in EXAMPLES:
        shutil.copy(DAGS / f"{example}.py", dags)
    try:
        with playground(WORK, dags) as ground:
            push_with_an_empty_layer(ground.batch, TWO_RULES, IMAGE, duplicate=True)
            run = ground.api.trigger("nightly_training")
            example_8 = ground.api.trigger("example_8_repair", image=TWO_RULES)
            with browser(ground.airflow.url, {"log_wrap": "true"}, SCALE) as ui:
                take(ui, run, example_8)
    except UiError as failed:
        print(f"pictures: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
