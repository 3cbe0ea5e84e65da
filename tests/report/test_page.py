"""The page of a run: what it says, that names in it stay names, and one line where there can be none."""

import base64
import hashlib
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fewmask
from fewmask.data.classes import Classes
from fewmask.report import report, write_report
from fewmask.report.answer import signed
from fewmask.report.entries import Entry
from fewmask.report.facts import setting_blocks
from fewmask.report.gallery import chosen_ranks
from fewmask.report.pictures import Seen, layers
from fewmask.report.tables import confused_rows
from fewmask.run.folder import RunFolder
from fewmask.run.scores import read_scores, write_scores
from fewmask.study.statistics import estimate
from named_report import IMAGE, NAMES, SCRIPT, Reported
from toy import assert_mistake, command, make_dataset, write_recipe

Capsys = pytest.CaptureFixture[str]


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture(scope="module")
def page(reported: Reported) -> Page:
    return Page(reported.text)


def test_the_answer_gives_the_scores_that_evaluate_gives(reported: Reported, page: Page) -> None:
    ours, theirs = (read_scores(RunFolder(run), "val") for run in (reported.run, reported.run / "baseline"))
    headline = " ".join("".join(page.said).split())
    assert f"class_bank reaches {100 * ours['miou']:.1f} % mIoU on val (95 % interval " in headline
    gain = f"{100 * (ours['miou'] - theirs['miou']):+.1f} points against supervised".replace("-", "\u2212")
    assert f"the unlabeled images made no clear difference: {gain}" in headline or f": {gain}" in headline
    for iou in ours["per_class"].values():
        assert f'<td class="number score">{100 * iou:.1f}</td>' in reported.text


def test_what_evaluate_has_counted_is_not_counted_anew_and_gives_the_same_page(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(reported.run, tmp_path / "run"))
    pages = []
    for counts_stand in (True, False):
        with monkeypatch.context() as patch:
            if counts_stand:
                patch.setattr(report, "tally", lambda *_: pytest.fail("it counts anew"))
            text = write_report([run], tmp_path / "report.html", device="cpu").read_text()
        pages.append(re.sub(r"\d+ \w+ \d+, \d\d:\d\d UTC|\d+ ms", "", text))
        for file in run.rglob("tallies/val.safetensors"):
            file.unlink()
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("networks", "maker"),
    [
        (("student",), "student"),
        (("student", "teacher"), "teacher"),
        (("teacher", "student"), "teacher"),
        (("left", "right"), "right"),
    ],
)
def test_pseudo_labels_are_those_of_the_teacher_also_where_it_predicts(networks: tuple[str, ...], maker: str) -> None:
    model: Any = SimpleNamespace(networks=dict.fromkeys(networks), shipped=networks[0])
    assert Entry("", model).teacher == maker


def test_of_several_runs_of_one_recipe_the_page_gives_the_mean_and_its_interval_over_the_runs(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = RunFolder(Path(shutil.copytree(reported.run, tmp_path / "second")))
    ours, theirs = list[float](), list[float]()
    for run, scores, shift in ((second, ours, 0.1), (second.baseline, theirs, 0.02)):
        text = run.recipe_file.read_text()
        run.recipe_file.write_text(text.replace("  seed: 0\n", "  seed: 1\n"))
        assert run.recipe().training.seed == 1
        scores.append(100 * read_scores(run, "val")["miou"])
        kept = read_scores(run, "val")
        write_scores(run, "val", kept | {"miou": kept["miou"] + shift})
        scores.append(scores[0] + 100 * shift)
    monkeypatch.setattr(report, "MATRIX", 3)
    text = write_report([reported.run, second.path], tmp_path / "report.html", device="cpu").read_text()
    said = " ".join("".join(Page(text).said).split())
    mean, gain = estimate(ours), estimate([ours[0] - theirs[0], ours[1] - theirs[1]])
    interval = f"(95 % interval {mean.low:.1f} to {mean.high:.1f})".replace("-", "\u2212")
    assert f"class_bank reaches {mean.mean:.1f} % mIoU on val, the mean of 2 runs {interval}, and the unl" in said
    assert f"{signed(gain.mean)} points against supervised" in said
    assert len(Page(text).all("article")) == 3
    assert 'data-layer="prediction2"' not in text  # further draws are no part of the gallery
    assert "Every class by the pixels that it loses" in said


def test_confused_classes_are_ordered_by_the_pixels_that_they_lose() -> None:
    confusion = np.array([[90, 10, 0], [0, 5, 0], [20, 15, 65]])
    rows = confused_rows(confusion)
    assert [(row.truth, row.recall) for row in rows] == [(2, 65.0), (0, 90.0), (1, 100.0)]
    assert [(pair.predicted, pair.share) for pair in rows[0].most] == [(0, 20.0), (1, 15.0)]
    assert rows[2].most == []


def test_names_are_text_and_nothing_is_loaded_from_elsewhere(reported: Reported, page: Page) -> None:
    said = "".join(page.said)
    assert all(name in said for name in (*NAMES, IMAGE))
    assert len(page.all("script")) == 1
    assert SCRIPT not in reported.text
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    sources = [attributes["src"] for _, attributes in page.elements if "src" in attributes]
    assert sources
    assert all(source is not None and source.startswith("data:image/") for source in sources)
    links = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    assert all(link is not None and link.startswith("#") for link in links)
    assert not re.search(r"@import|url\(", reported.text)


def test_the_policy_allows_the_script_of_the_page_alone(reported: Reported, page: Page) -> None:
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    script = reported.text.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_every_part_is_there_with_what_the_run_holds(reported: Reported, page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    parts = {"answer", "trained", "gallery", "classes", "confusion", "pseudo", "curves", "features", "doctor", "cost"}
    assert {*parts, "settings"} <= ids
    targets = {link["href"] for link in page.all("a")}
    assert {f"#{part}" for part in {*parts, "settings"} - {"answer"}} == targets
    said = "".join(page.said)
    for block in setting_blocks(RunFolder(reported.run).recipe()):
        assert all(row.path in said for row in block.rows)
    for text in (
        "Bank filled",
        "Share of the pseudo-labels",
        "loss: contrast_labeled",
        "mIoU on val, %",
        "Right on val",
    ):
        assert text in said
    assert len(page.all("article")) == 3
    layered = [each["data-layer"] for each in page.all("figure") if "data-layer" in each]
    own = ["image", "truth", "prediction0", "prediction1", "confidence", "errors0", "errors1"]
    assert layered == own * 3
    ranks = [each["data-rank"] for each in page.all("article")]
    assert ranks == ["1", "2", "3"]


def test_the_layers_of_many_noisy_pictures_shrink_into_the_budget_and_smooth_ones_stay_large() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (360, 480, 3), np.uint8)
    labels = generator.integers(0, 4, (360, 480), np.uint8)
    classes = Classes(names=("a", "b", "c", "d"))
    noisy = Seen(noise, labels, [labels, labels], noise[..., 0])
    flat = np.zeros_like(labels)
    smooth = Seen(np.zeros_like(noise), flat, [flat, flat], flat)
    budget = 300_000
    small, large = layers([noisy] * 3, classes, budget), layers([smooth] * 3, classes, budget)
    assert sum(len(layer.uri) for each in small for layer in each) <= budget
    assert png_size(large[0][1].uri) == (480, 360)
    assert png_size(small[0][1].uri) < (480, 360)


def test_half_of_the_shown_images_are_the_worst_and_the_last_is_the_best() -> None:
    assert chosen_ranks(3, 50) == [0, 1, 2]
    assert chosen_ranks(101, 50)[:25] == list(range(25))
    assert chosen_ranks(101, 50)[-1] == 100
    assert len({*chosen_ranks(101, 50)}) == 50
    assert chosen_ranks(9, 1) == [0]


def png_size(uri: str) -> tuple[int, int]:
    """(width, height) of a PNG in a data URI."""
    content = base64.b64decode(uri.partition(",")[2])
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def unfinished(run: Path, data: Path) -> None:
    (run / "student.safetensors").unlink()


def no_masks(run: Path, data: Path) -> None:
    for split in ("val", "test"):
        shutil.rmtree(data / split / "masks")


def data_is_gone(run: Path, data: Path) -> None:
    shutil.rmtree(data)


def no_run(run: Path, data: Path) -> None:
    (run / "recipe.yaml").unlink()


def torn_journal(run: Path, data: Path) -> None:
    (run / "metrics.csv").write_text("step,loss/sup\n2,much\n")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and a finished `run` of two steps."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(folder / "recipe.yaml", make_dataset(folder / "data"), "supervised", steps=2)
    fewmask.train(recipe, folder / "run")
    return folder


@pytest.mark.parametrize(
    ("spoil", "fragments"),
    [
        (unfinished, ["the training is not finished", "--resume"]),
        (no_masks, ["there are no masks to score on in val and test"]),
        (data_is_gone, ["the data of the run is not there any more"]),
        (no_run, ["this is no run folder"]),
        (torn_journal, ["the column loss/sup holds 'much'"]),
    ],
)
def test_a_run_that_cannot_be_reported_is_one_line(
    spoil: Callable[[Path, Path], None], fragments: list[str], finished: Path, tmp_path: Path, capsys: Capsys
) -> None:
    run, data = Path(shutil.copytree(finished / "run", tmp_path / "run")), finished / "data"
    data = Path(shutil.copytree(data, tmp_path / "data"))
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(finished / "data"), str(data)))
    spoil(run, data)
    assert_mistake(command(capsys, "report", run, "--out", tmp_path / "report.html"), *fragments)
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_one_line_before_any_work(tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "notes").write_text("")
    for out, text in ((tmp_path, "this is a folder"), (tmp_path / "notes" / "r.html", "the report cannot be written")):
        assert_mistake(command(capsys, "report", tmp_path / "nowhere", "--out", out), text)
    if Path("/proc/self").is_dir():  # a folder in which nobody may write, not even the superuser
        answer = command(capsys, "report", tmp_path / "nowhere", "--out", "/proc/self/report.html")
        assert_mistake(answer, "the report cannot be written", "Choose another --out")


def test_runs_of_other_classes_are_not_compared(
    reported: Reported, finished: Path, tmp_path: Path, capsys: Capsys
) -> None:
    answer = command(capsys, "report", finished / "run", reported.run, "--out", tmp_path / "report.html")
    assert_mistake(answer, "Put runs with the same classes")


def test_a_training_ends_with_a_report_unless_it_is_left_out(finished: Path, tmp_path: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", finished / "data", "supervised", steps=1)
    answer = command(capsys, "train", recipe, "--out", tmp_path / "with", "--set", "training.report=true")
    page = tmp_path / "with" / "report.html"
    assert f"Open {page} in a browser" in answer.out
    text = page.read_text()
    assert "supervised reaches" in text
    assert "what the unlabeled images gave" not in text
    assert not (finished / "run" / "report.html").exists()
    shutil.rmtree(finished / "data" / "val" / "masks")
    shutil.rmtree(finished / "data" / "test" / "masks")
    answer = command(capsys, "train", recipe, "--out", tmp_path / "none", "--set", "training.report=true")
    assert answer.code == 0
    assert "No report is written" in answer.out
