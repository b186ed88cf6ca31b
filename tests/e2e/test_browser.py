"""The annotated video plays and seeks in headless Chromium, served by the API."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.conftest import CHROMIUM_ARGUMENTS
from tests.support.stack import SAMPLE, TRUTH

PLAY_AND_SEEK = """async (url) => {
    const video = document.createElement('video');
    video.muted = true;
    document.body.replaceChildren(video);
    const event = (name) => new Promise((resolve, reject) => {
        video.addEventListener(name, resolve, {once: true});
        video.addEventListener('error', () => reject(new Error(video.error.message)), {once: true});
    });
    const loaded = event('loadeddata');
    video.src = url;
    await loaded;
    const seekable = video.seekable.end(0);
    await video.play();
    await new Promise((resolve) => setTimeout(resolve, 700));
    const played = video.currentTime;
    video.pause();
    const seeked = event('seeked');
    video.currentTime = video.duration * 0.7;
    await seeked;
    const canvas = document.createElement('canvas');
    canvas.width = video.videoWidth; canvas.height = video.videoHeight;
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let least = 255, most = 0;
    for (let i = 0; i < pixels.length; i += 4) { least = Math.min(least, pixels[i]); most = Math.max(most, pixels[i]); }
    return {duration: video.duration, seekable, played, at: video.currentTime, width: video.videoWidth, height: video.videoHeight,
            contrast: most - least};
}"""


@pytest.mark.browser
@pytest.mark.slow
def test_the_annotated_video_plays_and_seeks(make_stack, chromium: str, tmp_path: Path) -> None:
    stack = make_stack()
    stack.start_worker()
    job_id = stack.submit(SAMPLE)
    job = stack.wait(job_id)
    assert job["state"] == "completed", f"{job}\n{stack.logs()}"

    url = f"{stack.url}/api/v1/jobs/{job_id}/artifacts/annotated.mp4"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[*CHROMIUM_ARGUMENTS, "--autoplay-policy=no-user-gesture-required"],
        )
        # A page of the same origin, so that the canvas may be read; its policy lets nothing be loaded, as befits an answer that is no page.
        page = browser.new_page(viewport={"width": 1000, "height": 600}, bypass_csp=True)
        page.goto(f"{stack.url}/health/live")
        shown = page.evaluate(PLAY_AND_SEEK, url)
        page.screenshot(path=tmp_path / "annotated.png")
        browser.close()

    duration_s = TRUTH["frames"] / TRUTH["fps"]
    assert shown["duration"] == pytest.approx(duration_s, abs=0.2)
    assert shown["seekable"] == pytest.approx(duration_s, abs=0.2)
    assert shown["played"] > 0.1
    assert shown["at"] == pytest.approx(shown["duration"] * 0.7, abs=0.05)
    assert (shown["width"], shown["height"]) == (TRUTH["width"], TRUTH["height"])
    assert shown["contrast"] > 60
    assert (tmp_path / "annotated.png").stat().st_size > 5000
