# SPDX-License-Identifier: Apache-2.0
"""The pictures, the film and the recording of an evaluation, and the folder with all of it."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import av
import cv2
import numpy as np
import pytest
from evaluation_runs import START_NS, make_empty_run, make_run, make_runs, worsened
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from fsm_ros.replay.evaluation import show as showing
from fsm_ros.replay.evaluation.aligned import aligned_views
from fsm_ros.replay.evaluation.contact_sheet import GAP, HEADER
from fsm_ros.replay.evaluation.renders_bag import VIEW_FRAME, topic_names, write_renders_bag
from fsm_ros.replay.evaluation.replacing import replacing
from fsm_ros.replay.evaluation.results import Baseline, Metric, Run
from fsm_ros.replay.evaluation.sampling import evenly
from fsm_ros.replay.evaluation.sheets import fitted, sheet, write_sheet
from fsm_ros.replay.evaluation.show import picture_folders, show
from fsm_ros.replay.evaluation.video import frame_rate, write_video

TABLES = {f"{name}.{kind}" for name in ("frames", "chunks", "forgetting") for kind in ("csv", "parquet")}
NUMBERS = {"metrics.json", "report.html", *TABLES}
PICTURES = {"sheet.png", "renders.mp4", "renders"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def messages(bag: Path) -> list[tuple[str, int, Any]]:
    """Topic, receive time and message of all that a recording holds."""
    types = get_typestore(Stores.ROS2_JAZZY)
    with Reader(bag) as reader:
        return [(c.topic, stamp, types.deserialize_cdr(raw, c.msgtype)) for c, stamp, raw in reader.messages()]


# --- views beside each other ------------------------------------------------------------------------------------------


def test_views_are_aligned_in_the_order_of_time_and_what_is_missing_is_none() -> None:
    whole, short = make_run(chunks=3), make_run(setting="short", chunks=3, views=4, complete=False)
    views = aligned_views([whole, short])
    assert [view.stamp_ns for view in views] == sorted(view.stamp_ns for view in whole.held_out)
    assert [view.renders[1] is None for view in views] == [False] * 4 + [True] * 5
    assert all(np.array_equal(view.renders[0], whole.pictures.render[i]) for i, view in enumerate(views))
    assert all(
        np.array_equal(view.nearest(), whole.pictures.baselines[Baseline.NEAREST][i]) for i, view in enumerate(views)
    )
    with pytest.raises(ValueError, match="one recording"):
        aligned_views([make_run("one"), make_run("two")])


def test_evenly_takes_the_first_and_the_last() -> None:
    views = aligned_views([make_run(chunks=10)])
    assert [view.stamp_ns for view in evenly(views, 4)] == [views[i].stamp_ns for i in (0, 10, 19, 29)]
    assert evenly(views, 100) == views


# --- contact sheet ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_sheet_shows_truth_settings_and_nearest(tmp_path: Path) -> None:
    runs = make_runs(("elastic", "plastic"))
    write_sheet(tmp_path / "sheet.png", runs)
    image = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
    height, width = 48 * 3, 64 * 3
    expected = [
        runs[0].pictures.truth[0],
        runs[0].pictures.render[0],
        runs[1].pictures.render[0],
        runs[0].pictures.baselines[Baseline.NEAREST][0],
    ]
    for column, tile in enumerate(expected):
        left = GAP + column * (width + GAP)
        shown = image[HEADER : HEADER + height, left : left + width]
        assert np.array_equal(shown[1::3, 1::3], tile)
    assert image.shape[1] <= 1800


def test_a_sheet_has_at_most_24_views() -> None:
    runs = [make_run(chunks=20)]
    assert sheet(runs).shape == sheet(runs, 24).shape
    assert sheet(runs, 60).shape[0] > sheet(runs).shape[0]


def test_a_sheet_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no held-out view"):
        write_sheet(tmp_path / "sheet.png", [make_empty_run()])
    assert names(tmp_path) == set()


def test_titles_fit_their_column() -> None:
    assert fitted("elastic", 128) == "elastic"
    assert fitted("a" * 80, 128).endswith("..") and len(fitted("a" * 80, 128)) < 20
    assert fitted("größe", 128) == "gr??e"


# --- video ------------------------------------------------------------------------------------------------------------


def decoded(path: Path) -> tuple[list[NDArray[np.uint8]], str, str, Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate


@pytest.mark.slow
def test_the_video_shows_truth_and_renders_in_the_order_of_time(tmp_path: Path) -> None:
    runs = make_runs(("elastic", "plastic"))
    write_video(tmp_path / "renders.mp4", runs)
    frames, codec, pixels, rate = decoded(tmp_path / "renders.mp4")
    assert (codec, pixels, len(frames)) == ("h264", "yuv420p", 18)
    assert float(rate) == pytest.approx(2.5)
    height, width = frames[0].shape[:2]
    assert height % 2 == 0 and width % 2 == 0 and height >= 256
    scale = 6  # 48 rows to at least 256
    for number in (0, 9, 17):
        for column, picture in enumerate((runs[0].pictures.truth, runs[0].pictures.render, runs[1].pictures.render)):
            left = column * (64 * scale + 4)
            shown = frames[number][28 : 28 + 48 * scale, left : left + 64 * scale]
            small = cv2.resize(shown, (64, 48), interpolation=cv2.INTER_AREA).astype(float)
            assert np.abs(small - picture[number]).mean() < 4.0


def test_a_video_can_be_played_before_it_is_loaded(tmp_path: Path) -> None:
    write_video(tmp_path / "renders.mp4", [make_run(chunks=2)])
    content = (tmp_path / "renders.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_a_video_of_odd_sizes_and_one_view_and_a_missing_render(tmp_path: Path) -> None:
    runs = [make_run(chunks=1, size=(33, 31)), make_run(setting="other", chunks=1, views=1, size=(33, 31))]
    write_video(tmp_path / "renders.mp4", runs)
    frames, *_ = decoded(tmp_path / "renders.mp4")
    assert len(frames) == 3 and frames[0].shape[0] % 2 == 0 and frames[0].shape[1] % 2 == 0
    assert np.abs(frames[1][100:200, -120:-60].astype(int) - 200).max() < 12
    write_video(tmp_path / "one.mp4", [make_run(chunks=1, views=1)])
    assert len(decoded(tmp_path / "one.mp4")[0]) == 1


@pytest.mark.parametrize(
    ("times", "fps"),
    [
        ([0.0, 0.1, 0.2, 3.0], 10.0),
        ([0.0, 10.0, 20.0], 2.0),
        ([0.0, 0.001, 0.002], 30.0),
        ([1.0], 2.0),
        ([1.0, 1.0], 2.0),
    ],
)
def test_the_rate_is_that_of_the_views_within_bounds(times: list[float], fps: float) -> None:
    assert float(frame_rate(times)) == pytest.approx(fps)


# --- recording --------------------------------------------------------------------------------------------------------


def test_the_recording_has_pictures_metrics_and_poses(tmp_path: Path) -> None:
    runs = make_runs(("elastic", "plastic 2"))
    write_renders_bag(tmp_path / "renders", runs)
    found = messages(tmp_path / "renders")
    by_topic = {}
    for topic, stamp, message in found:
        by_topic.setdefault(topic, []).append((stamp, message))
    shown = {"elastic": runs[0], "plastic_2": runs[1]}
    metrics = ("psnr", "ssim", "ms_ssim")
    assert set(by_topic) == {
        "/tf",
        "/truth/image",
        "/truth/camera_info",
        *(f"/{name}/{part}" for name in (*shown, "nearest") for part in ("image", "camera_info", *metrics)),
    }
    assert {len(entries) for entries in by_topic.values()} == {18}
    for number, view in enumerate(runs[0].held_out):
        stamp, image = by_topic["/truth/image"][number]
        assert stamp == view.stamp_ns and image.header.frame_id == VIEW_FRAME
        assert image.header.stamp.sec * 10**9 + image.header.stamp.nanosec == view.stamp_ns
        assert np.array_equal(image.data.reshape(48, 64, 3), runs[0].pictures.truth[number])
        for name, run in shown.items():
            assert np.array_equal(
                by_topic[f"/{name}/image"][number][1].data.reshape(48, 64, 3), run.pictures.render[number]
            )
            for metric in metrics:
                told = by_topic[f"/{name}/{metric}"][number][1].data
                assert told == run.held_out[number].render[Metric(metric)]
        nearest = view.baselines[Baseline.NEAREST][Metric.PSNR]
        assert by_topic["/nearest/psnr"][number][1].data == nearest
        transform = by_topic["/tf"][number][1].transforms[0]
        assert (transform.header.frame_id, transform.child_frame_id) == ("map", VIEW_FRAME)
        place = transform.transform.translation
        assert (place.x, place.y, place.z) == pytest.approx(view.position)
        turn = transform.transform.rotation
        dot = np.dot((turn.x, turn.y, turn.z, turn.w), view.quaternion)
        assert abs(dot) == pytest.approx(1.0)
        fx, fy, cx, cy = runs[0].pictures.fxfycxcy[number]
        for name in ("truth", *shown, "nearest"):
            stamp, info = by_topic[f"/{name}/camera_info"][number]
            assert stamp == view.stamp_ns
            assert np.allclose(info.k, [fx, 0, cx - 0.5, 0, fy, cy - 0.5, 0, 0, 1])


def test_what_was_not_measured_or_rendered_is_not_in_the_recording(tmp_path: Path) -> None:
    short = make_run(setting="short", chunks=3, views=2)
    write_renders_bag(tmp_path / "renders", [worsened(make_run(chunks=3)), short])
    topics = [topic for topic, _, _ in messages(tmp_path / "renders")]
    assert topics.count("/truth/image") == 9 and topics.count("/short/image") == 2
    assert topics.count("/elastic/psnr") == 8 and topics.count("/elastic/ms_ssim") == 8


def test_a_memory_that_rendered_nothing_still_has_the_baselines_beside_the_truth(tmp_path: Path) -> None:
    run = make_run(chunks=3)
    blind = replace(run, held_out=tuple(replace(view, render={}) for view in run.held_out))
    write_renders_bag(tmp_path / "renders", [blind])
    topics = [topic for topic, _, _ in messages(tmp_path / "renders")]
    assert topics.count("/nearest/psnr") == topics.count("/truth/image") == 9
    assert topics.count("/elastic/psnr") == 0


@pytest.mark.parametrize(
    ("settings", "topics"),
    [
        (["elastic", "plastic"], ["elastic", "plastic"]),
        (["a b", "a-b"], ["a_b", "a_b_2"]),
        (["truth", "nearest", "tf"], ["truth_2", "nearest_2", "tf_2"]),
        (["0.5", "größe", "…", "__x__"], ["setting_0_5", "gr_e", "setting", "x"]),
    ],
)
def test_names_of_settings_become_names_of_topics(settings: list[str], topics: list[str]) -> None:
    assert topic_names(settings) == topics
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", topic) for topic in topic_names(settings))


def test_a_folder_that_is_no_recording_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "renders").mkdir()
    (tmp_path / "renders" / "mine.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="is no recording"):
        show(tmp_path, [make_run(chunks=1)])
    assert names(tmp_path) == {"renders"} and (tmp_path / "renders" / "mine.txt").read_text() == "dear"


# --- the whole folder -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_recording_stands_in_the_folder_itself(tmp_path: Path) -> None:
    written = show(tmp_path / "new" / "out", make_runs(("elastic",)))
    assert names(tmp_path / "new" / "out") == NUMBERS | PICTURES
    assert {path.name for path in written} == NUMBERS | PICTURES


@pytest.mark.slow
def test_several_recordings_share_tables_and_have_a_folder_each(tmp_path: Path) -> None:
    runs = [make_run("corridor", chunks=1), make_run("../hall", chunks=1), make_empty_run("cellar")]
    show(tmp_path, runs)
    assert names(tmp_path) == NUMBERS | {"corridor", "hall"}
    assert names(tmp_path / "corridor") == names(tmp_path / "hall") == PICTURES
    assert names(tmp_path.parent) >= {tmp_path.name} and not (tmp_path.parent / "hall").exists()


def test_folders_of_recordings_are_plain_and_apart() -> None:
    folders = picture_folders(Path("out"), ["a/b", "a b", "..", "renders", "A_B"])
    assert folders == [Path("out") / name for name in ("a_b", "a_b_2", "recording", "renders_2", "A_B_3")]


@pytest.mark.slow
def test_an_evaluation_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    show(tmp_path, [make_run(chunks=1)])
    (tmp_path / "notes.txt").write_text("mine")
    show(tmp_path, [make_run("one", chunks=1), make_run("two", chunks=1)])
    assert names(tmp_path) == NUMBERS | {"notes.txt", "one", "two"}
    show(tmp_path, [make_empty_run()])
    assert names(tmp_path) == NUMBERS | {"notes.txt"}
    assert "no held-out view was rendered" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_what_is_not_from_an_evaluation_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"psnr": 3}')
    (tmp_path / "sheet.png").write_bytes(b"mine")
    show(tmp_path, [make_empty_run()])
    assert (tmp_path / "sheet.png").read_bytes() == b"mine"


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("broken", ["write_report", "write_sheet", "write_video", "write_renders_bag"])
def test_nothing_half_written_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], broken: str
) -> None:
    # It is slow, and tested elsewhere.
    monkeypatch.setattr(showing, "write_report", lambda path, runs: path.write_text("report"))
    original = getattr(showing, broken)

    def fails(path: Path, runs: list[Run]) -> NoReturn:
        with replacing(path) as draft:
            original(draft, runs)
            raise error

    show(tmp_path, [make_run(chunks=1)])
    monkeypatch.setattr(showing, broken, fails)
    with pytest.raises(error):
        show(tmp_path, [make_run(setting="other", chunks=1)])
    order = ["write_report", "write_sheet", "write_video", "write_renders_bag"]
    whole = ["report.html", "sheet.png", "renders.mp4", "renders"][: order.index(broken)]
    assert names(tmp_path) == NUMBERS - {"report.html"} | set(whole)


def test_an_error_while_a_file_is_replaced_leaves_the_old_one(tmp_path: Path) -> NoReturn:
    for path in (tmp_path / "file", tmp_path / "folder"):
        with replacing(path) as draft:
            if path.name == "file":
                draft.write_text("old")
            else:
                draft.mkdir()
                (draft / "inside").write_text("old")
    for path in (tmp_path / "file", tmp_path / "folder"):
        with pytest.raises(KeyboardInterrupt), replacing(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt
        with pytest.raises(FileNotFoundError), replacing(path):
            pass  # nothing was written
    assert names(tmp_path) == {"file", "folder"}
    assert (tmp_path / "file").read_text() == "old" and (tmp_path / "folder" / "inside").read_text() == "old"
    with replacing(tmp_path / "folder") as draft:
        draft.mkdir()
    assert names(tmp_path / "folder") == set()


def test_views_of_a_recording_carry_their_moment() -> None:
    assert make_run().held_out[0].stamp_ns == START_NS
