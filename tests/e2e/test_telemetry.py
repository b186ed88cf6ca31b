"""A drone's flight in two files through the running system: one has its telemetry within it, the
other's lies beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.video_samples import add_subtitles, write_video
from tests.unit.core.test_telemetry import srt_of


def cue(latitude: float) -> str:
    return f"[latitude: {latitude:.6f}] [longitude: 11.500000] [rel_alt: 40.0 abs_alt: 540.0] [gb_yaw: 0.0 gb_pitch: -90.0 gb_roll: 0.0]"


@pytest.mark.slow
def test_the_path_of_the_drone_is_in_the_results(make_stack, tmp_path: Path) -> None:
    """Two seconds of film each; northwards, 1.1 m every half second."""
    plain = write_video(tmp_path / "plain.mp4", frames=60, width=320, height=240)
    first = add_subtitles(
        plain, tmp_path / "DJI_1.MP4", [(i / 2, cue(48.1 + i * 1e-5).encode()) for i in range(4)]
    )
    second = srt_of(*(cue(48.1 + i * 1e-5) for i in range(4, 8)), step_s=0.5)
    stack = make_stack()
    stack.start_worker()
    sent = [
        ("file", ("DJI_1.MP4", first.read_bytes())),
        ("file", ("DJI_2.MP4", plain.read_bytes())),
        ("telemetry", ("DJI_2.SRT", second)),
        ("settings", (None, b'{"lines": [], "render": false}')),
    ]
    answer = stack.client.post("/api/v1/jobs", files=sent)
    assert answer.status_code == 202, answer.text
    assert [
        file["telemetry"] and file["telemetry"]["source"] for file in answer.json()["files"]
    ] == [None, "uploaded"]

    job = stack.wait(answer.json()["id"])
    assert job["state"] == "completed", f"{job}\n{stack.logs()}"
    found = [file["telemetry"] for file in job["files"]]
    assert [(item["source"], item["samples"], item["dialect"]) for item in found] == [
        ("embedded", 4, "bracket-attitude"),
        ("uploaded", 4, "bracket-attitude"),
    ]
    flight = json.loads(stack.artifact(job["id"], "results.json"))["flight"]
    assert (flight["dialect"], flight["records"], flight["animals_placed"]) == (
        "bracket-attitude",
        8,
        True,
    )
    assert flight["path_m"] == pytest.approx(7 * 1.112, abs=0.1)
    features = json.loads(stack.artifact(job["id"], "tracks.geojson"))["features"]
    (path,) = [feature for feature in features if feature["properties"]["role"] == "flight_path"]
    assert path["geometry"]["coordinates"][0] == pytest.approx([11.5, 48.1], abs=1e-7)
    assert path["geometry"]["coordinates"][-1] == pytest.approx([11.5, 48.10007], abs=1e-7)

    recounted = stack.client.post(f"/api/v1/jobs/{job['id']}/recount", json={"only": "cattle"})
    assert recounted.status_code == 202
    again = stack.wait(
        job["id"], until=lambda job: job["attempt"] == 2 and job["state"] in ("completed", "failed")
    )
    assert again["state"] == "completed"
    assert (
        json.loads(stack.artifact(job["id"], "results.json"))["flight"]["path_m"]
        == flight["path_m"]
    )
