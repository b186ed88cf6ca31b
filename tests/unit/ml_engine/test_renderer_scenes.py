"""Rendered scenes: the same from the same seed, and true about what they show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.degradation import degrade, equalised
from ml_engine.synthetic.noise import tileable_noise
from ml_engine.synthetic.random_scene import (
    CLEAR_PX,
    Recipe,
    labels_for_training,
    random_light,
    random_scene,
)
from ml_engine.synthetic.rendering import label_scene, render_scene
from ml_engine.synthetic.scene import GROUND, THING, Picture, Scene
from ml_engine.synthetic.sequence import random_sequence

SEEDS = range(300, 312)


@pytest.fixture(scope="module")
def pictures() -> list[tuple[Scene, Picture]]:
    scenes = [random_scene(seed) for seed in SEEDS]
    return [(scene, render_scene(scene)) for scene in scenes]


def test_the_same_seed_gives_the_same_picture_and_boxes(
    pictures: list[tuple[Scene, Picture]],
) -> None:
    for seed, (_, first) in zip(SEEDS, pictures[:4], strict=False):
        again = render_scene(random_scene(seed))
        assert np.array_equal(first.bgr, again.bgr)
        assert first.labels == again.labels


def test_another_seed_gives_another_picture(pictures: list[tuple[Scene, Picture]]) -> None:
    assert not np.array_equal(pictures[0][1].bgr, pictures[1][1].bgr)


def test_pictures_have_the_size_asked_for() -> None:
    picture = render_scene(random_scene(5, width=160, height=96))
    assert picture.bgr.shape == (96, 160, 3)
    assert picture.bgr.dtype == np.uint8
    assert picture.owner.shape == (96, 160)


def test_boxes_are_tight_around_an_animal_that_nothing_hides(
    pictures: list[tuple[Scene, Picture]],
) -> None:
    checked = 0
    for _, picture in pictures:
        for label in picture.labels:
            if label.visible < 0.999:
                continue
            rows, columns = np.nonzero(picture.owner == label.identity)
            assert label.xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            checked += 1
    assert checked >= 20


def test_boxes_hold_all_the_pixels_that_an_animal_changes(
    pictures: list[tuple[Scene, Picture]],
) -> None:
    checked = 0
    for scene, _ in pictures:
        bare = replace(scene, light=replace(scene.light, shadow=0.0))
        everyone = render_scene(bare)
        for label in [x for x in everyone.labels if x.visible > 0.999][:2]:
            without = render_scene(
                replace(bare, actors=tuple(a for a in bare.actors if a.identity != label.identity))
            )
            changed = np.abs(everyone.bgr.astype(int) - without.bgr.astype(int)).max(axis=2) > 24
            rows, columns = np.nonzero(changed)
            if len(rows) < 30:
                continue
            seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.all(seen[:2] >= np.array(label.xyxy[:2]) - 1.01)
            assert np.all(seen[2:] <= np.array(label.xyxy[2:]) + 1.01)
            checked += 1
    assert checked >= 8


def test_labels_without_a_picture_are_those_with_one(pictures: list[tuple[Scene, Picture]]) -> None:
    for scene, picture in pictures[:4]:
        assert label_scene(scene) == picture.labels


def test_the_seen_box_is_that_of_the_pixels_that_show_the_animal(
    pictures: list[tuple[Scene, Picture]],
) -> None:
    hidden = 0
    for _, picture in pictures:
        for x in picture.labels:
            rows, columns = np.nonzero(picture.owner == x.identity)
            if not len(rows):
                assert x.visible == 0
                continue
            assert x.seen_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert x.xyxy[0] <= x.seen_xyxy[0] and x.xyxy[3] >= x.seen_xyxy[3]
            hidden += x.visible < 0.9 and x.inside > 0.999
    assert hidden >= 1


def test_labels_say_where_the_animal_stands(pictures: list[tuple[Scene, Picture]]) -> None:
    checked = 0
    for scene, picture in pictures:
        places = {a.identity: (a.x_m, a.y_m) for a in scene.actors}
        for x in picture.labels:
            assert x.ground_m == places[x.identity]
            pixel = scene.camera.project(np.array([[*x.ground_m, 0.0]]))[0][0]
            wide, high = x.full_xyxy[2] - x.full_xyxy[0], x.full_xyxy[3] - x.full_xyxy[1]
            assert x.full_xyxy[0] - wide < pixel[0] < x.full_xyxy[2] + wide
            assert x.full_xyxy[1] - high < pixel[1] < x.full_xyxy[3] + high
            checked += 1
    assert checked >= 20


def test_a_photograph_can_be_laid_under_the_animals() -> None:
    scene = random_scene(300, 96, 64)
    photo = np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8)
    plain, laid = render_scene(scene), render_scene(scene, photo)
    assert laid.labels == plain.labels
    assert not np.array_equal(laid.bgr, plain.bgr)
    ground = render_scene(replace(scene, actors=(), things=()), np.full((8, 8, 3), 200, np.uint8))
    assert np.ptp(ground.bgr.reshape(-1, 3).mean(axis=1)) <= 1


def test_of_a_ghost_only_the_shadow_is_drawn() -> None:
    scene = next(
        s
        for s in (random_scene(seed, 128, 128) for seed in range(40))
        if s.things and s.light.shadow > 0.3
    )
    bare = render_scene(replace(scene, actors=(), things=()))
    ghosts = render_scene(
        replace(scene, actors=(), things=tuple(replace(t, ghost=True) for t in scene.things))
    )
    assert (ghosts.owner == GROUND).all()
    assert np.all(ghosts.bgr.astype(int) <= bare.bgr.astype(int) + 1)


def test_a_recipe_decides_what_is_seen() -> None:
    recipe = Recipe(nadir=1.0, oblique=0.0, herds=(1.0, 0.0, 0.0, 0.0), empty=0.0, ground="snow")
    scenes = [random_scene(seed, 32, 32, recipe) for seed in range(12)]
    assert all(s.camera.pitch_deg >= 74 and s.terrain.is_snow for s in scenes)
    species = [a.look.species for s in scenes for a in s.actors]
    assert species.count("bison") > 0.8 * len(species)


def test_a_huddled_herd_stands_close() -> None:
    def nearest_m(huddled: float) -> float:
        recipe = Recipe(nadir=1.0, oblique=0.0, empty=0.0, aerial_px=(0.03, 0.03), huddled=huddled)
        gaps = []
        for scene in (random_scene(seed, 64, 64, recipe) for seed in range(10)):
            places = np.array([(a.x_m, a.y_m) for a in scene.actors]).reshape(-1, 2)
            apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + np.diag(
                np.full(len(places), np.inf)
            )
            gaps += apart.min(axis=1, initial=np.inf).tolist()
        return float(np.median(gaps))

    assert 0.8 <= nearest_m(1.0) < 2.6 < 5.0 < nearest_m(0.0)


def test_damage_depends_on_the_seed_alone_and_spares_the_original(
    pictures: list[tuple[Scene, Picture]],
) -> None:
    bgr = pictures[0][1].bgr
    before = bgr.copy()
    kinds = set()
    for seed in range(12):
        once, again = (degrade(bgr, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(once, again)
        assert once.shape == bgr.shape and once.dtype == np.uint8
        kinds.add(once.tobytes())
    assert np.array_equal(bgr, before)
    assert len(kinds) == 12


def test_equalised_pictures_are_grey_and_harsh() -> None:
    texture = tileable_noise(np.random.default_rng(1), 128, ((64, 1.0), (16, 1.0)))
    dull = np.clip(110 + 8 * np.stack([texture, texture * 0.5, -texture], axis=2), 0, 255).astype(
        np.uint8
    )
    harsh = equalised(dull, np.random.default_rng(0))
    assert np.array_equal(harsh[..., 0], harsh[..., 1]) and np.array_equal(
        harsh[..., 1], harsh[..., 2]
    )
    assert harsh.std() > 2 * dull.mean(axis=2).std()


def test_grass_hides_feet() -> None:
    scene = next(
        s
        for s in (random_scene(seed, 320, 200) for seed in range(60))
        if s.camera.pitch_deg < 10 and len(s.actors) > 2
    )
    tall = render_scene(replace(scene, things=(), terrain=replace(scene.terrain, cover_m=0.5)))
    bare = {
        x.identity: x
        for x in render_scene(
            replace(scene, things=(), terrain=replace(scene.terrain, cover_m=0.0))
        ).labels
    }
    assert all(x.full_xyxy[3] <= bare[x.identity].full_xyxy[3] + 2 for x in tall.labels)
    assert any(x.full_xyxy[3] < bare[x.identity].full_xyxy[3] - 1 for x in tall.labels)


def test_every_owned_pixel_belongs_to_a_labelled_animal(
    pictures: list[tuple[Scene, Picture]],
) -> None:
    for _, picture in pictures:
        owners = set(np.unique(picture.owner).tolist()) - {GROUND, THING}
        assert owners <= {x.identity for x in picture.labels}
        for x in picture.labels:
            assert 0 <= x.xyxy[0] < x.xyxy[2] <= picture.bgr.shape[1]
            assert 0 <= x.xyxy[1] < x.xyxy[3] <= picture.bgr.shape[0]
            assert 0 <= x.visible <= 1


def test_only_animals_that_can_be_found_are_asked_for(
    pictures: list[tuple[Scene, Picture]],
) -> None:
    for _, picture in pictures:
        for x in labels_for_training(picture, least_px=6, least_visible=0.4):
            assert x.visible >= (
                0.2
                if min(x.seen_xyxy[2] - x.seen_xyxy[0], x.seen_xyxy[3] - x.seen_xyxy[1]) >= CLEAR_PX
                else 0.4
            )
            assert min(x.xyxy[2] - x.xyxy[0], x.xyxy[3] - x.xyxy[1]) >= 6


def test_all_classes_and_all_views_occur() -> None:
    scenes = [random_scene(seed, 32, 32) for seed in range(60)]
    assert {a.look.species for s in scenes for a in s.actors} == {"bison", "cattle", "person"}
    assert any(s.camera.pitch_deg > 74 for s in scenes)
    assert any(24 < s.camera.pitch_deg < 74 for s in scenes)
    assert any(s.camera.pitch_deg < 12 for s in scenes)
    assert any(s.terrain.is_snow for s in scenes)
    assert any(not s.actors for s in scenes)


def test_the_sun_is_above_the_ground() -> None:
    for seed in range(20):
        light = random_light(np.random.default_rng(seed))
        assert np.linalg.norm(light.sun) == pytest.approx(1)
        assert light.sun[2] > 0.3


def test_ground_under_a_pixel_projects_back_to_it() -> None:
    camera = Camera(
        640, 360, 20.0, 55.0, 500.0, 480.0, x_m=3.0, y_m=-2.0, yaw_deg=12.0, roll_deg=4.0
    )
    columns, rows = np.array([10.0, 320.0, 600.0]), np.array([350.0, 180.0, 40.0])
    x, y, distance = camera.ground_at(columns, rows)
    pixels, depth = camera.project(np.stack([x, y, np.zeros(3)], axis=1))
    assert np.allclose(pixels, np.stack([columns, rows], axis=1))
    assert np.all(depth > 0) and np.all(distance >= depth - 1e-9)


def test_there_is_no_ground_above_the_horizon() -> None:
    camera = Camera(100, 100, 2.0, 0.0, 100.0, 100.0)
    _, _, distance = camera.ground_at(np.array([50.0, 50.0]), np.array([20.0, 80.0]))
    assert np.isinf(distance[0]) and np.isfinite(distance[1])


def test_the_local_view_agrees_with_the_projection() -> None:
    camera = Camera(640, 360, 20.0, 55.0, 500.0, 480.0, yaw_deg=12.0)
    point, offset = np.array([2.0, 12.0, 0.0]), np.array([0.01, -0.02, 0.015])
    view, pixel, _ = camera.local_view(point)
    pixels, _ = camera.project(np.stack([point, point + offset]))
    assert np.allclose(pixel, pixels[0])
    assert np.allclose((view @ offset)[:2], pixels[1] - pixels[0], atol=1e-2)


def test_noise_repeats_without_a_seam() -> None:
    noise = tileable_noise(np.random.default_rng(0), 128, ((8, 1.0), (16, 0.5)))
    inner = np.abs(np.diff(noise, axis=1)).mean()
    assert np.abs(noise[:, 0] - noise[:, -1]).mean() < 2 * inner
    assert noise.std() == pytest.approx(1, abs=1e-3)


def test_identities_stay_with_their_animals_through_a_sequence() -> None:
    sequences = (random_sequence(seed, frames=20, width=320, height=180) for seed in range(30, 60))
    sequence = next(
        s
        for s in sequences
        if s.camera.pitch_deg > 30
        and len(s.walkers) >= 5
        and any(len(w.times_s) > 1 for w in s.walkers)
    )
    species = {w.identity: w.look.species for w in sequence.walkers}
    assert len(species) == len(sequence.walkers) >= 3
    before: dict[int, tuple[float, ...]] = {}
    for frame in range(0, 20, 4):
        picture = render_scene(sequence.scene(frame))
        for x in picture.labels:
            assert x.species == species[x.identity]
            if x.identity in before:
                assert np.abs(np.array(x.full_xyxy) - before[x.identity]).max() < 60
            before[x.identity] = x.full_xyxy


def test_a_sequence_is_the_same_from_the_same_seed() -> None:
    first, again = (
        render_scene(random_sequence(41, frames=20, width=160, height=90).scene(7))
        for _ in range(2)
    )
    assert np.array_equal(first.bgr, again.bgr)
    assert first.labels == again.labels
