"""DJI's telemetry: every dialect, broken files, values at other times."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInput, InvalidTelemetry
from core.telemetry import COLUMNS, from_cues, joined, parse_srt, srt

SHARED = Path(os.environ.get("MUSTER_SHARED_DIR") or Path(__file__).parents[4] / "shared")
REAL = SHARED / "data" / "dji-srt"


def srt_of(*texts: str, step_s: float = 1.0) -> bytes:
    """Make a file of cues, one every `step_s` seconds."""
    cues = []
    for number, text in enumerate(texts):
        begin, end = (
            f"00:00:{int(t):02d},{round(t % 1 * 1000):03d}"
            for t in (number * step_s, (number + 1) * step_s)
        )
        cues.append(f"{number + 1}\n{begin} --> {end}\n{text}\n")
    return "\n".join(cues).encode()


DIALECTS = {
    "mavic-pro": (
        "HOME(149.0251,-20.2532) 2017.08.05 14:11:51\nGPS(149.0251,-20.2533,16) BAROMETER:1.9\nISO:100 Shutter:60 EV: Fnum:2.2",
        {"latitude": -20.2533, "longitude": 149.0251, "height_m": 1.9, "f_number": 2.2},
        {"telemetry_longitude_first", "telemetry_no_attitude"},
    ),
    "phantom": (
        "HOME(149.0251,-20.2532) 2017.8.5 14:11:51\nGPS(149.0251,-20.2533,16) Hb:1.9 Hs:1.8\nISO:100 TV:60 EV: 0 IR:F2.8",
        {"latitude": -20.2533, "longitude": 149.0251, "height_m": 1.9, "f_number": 2.8},
        {"telemetry_longitude_first", "telemetry_no_attitude"},
    ),
    "comma": (
        "F/3.2, SS 160, ISO 100, EV 0, GPS (8.2090, 47.4692, 18), D 49.21m, H 45.60m, H.S 0.00m/s, V.S 0.00m/s ",
        {"latitude": 47.4692, "longitude": 8.2090, "height_m": 45.6, "f_number": 3.2},
        {"telemetry_longitude_first", "telemetry_no_attitude"},
    ),
    "p4-rtk": (
        "F/6.3, SS 60, ISO 100, EV 0, RTK (120.083799, 30.213635, 28), HOME (120.084146, 30.214243, 103.55m), D 75.36m, H 76.19m, "
        "H.S 0.30m/s, V.S 0.00m/s, F.PRY (-5.3°, 2.1°, 28.3°), G.PRY (-40.0°, 0.5°, 28.2°)",
        {
            "latitude": 30.213635,
            "longitude": 120.083799,
            "height_m": 76.19,
            "altitude_m": 179.74,
            "pitch_deg": -40,
            "roll_deg": 0.5,
            "yaw_deg": 28.2,
            "f_number": 6.3,
        },
        {"telemetry_longitude_first", "telemetry_home_altitude"},
    ),
    "matrice": (
        "2022.06.21 16:06:17\nGPS(36.6146,-6.1120,0.5M) BAROMETER:8.4M",
        {"latitude": 36.6146, "longitude": -6.112, "height_m": 8.4, "altitude_m": 0.5},
        {"telemetry_no_attitude"},
    ),
    "avata": (
        "GPS(39.906217,16.391305,69.800) BAROMETER(91.2) HOME(39.906206,16.391400)",
        {"latitude": 39.906217, "longitude": 16.391305, "height_m": 91.2, "altitude_m": 69.8},
        {"telemetry_no_attitude"},
    ),
    "bracket": (
        '<font size="28">SrtCnt : 1, DiffTime : 33ms\n2024-01-18 10:23:26.397\n[iso : 150] [shutter : 1/5000.0] [fnum : 170] [ev : 0] '
        "[ct : 5023] [color_md : default] [focal_len : 240] [dzoom_ratio: 20000, delta:0],[latitude: -22.724555] [longitude: -47.602414] "
        "[rel_alt: 0.300 abs_alt: 549.679] </font>",
        {
            "latitude": -22.724555,
            "longitude": -47.602414,
            "height_m": 0.3,
            "altitude_m": 549.679,
            "focal_length_mm": 24,
            "zoom": 2,
            "f_number": 1.7,
        },
        {"telemetry_no_attitude"},
    ),
    "bracket-altitude": (
        '<font size="36">FrameCnt : 1, DiffTime : 16ms\n2020-04-02 15:19:58,720,764\n[fnum : 280] [focal_len : 480] '
        "[latitude : 31.452012] [longtitude : 74.398751] [altitude: 213.983002] </font>",
        {
            "latitude": 31.452012,
            "longitude": 74.398751,
            "altitude_m": 213.983002,
            "focal_length_mm": 48,
            "f_number": 2.8,
        },
        {"telemetry_no_height", "telemetry_no_attitude", "telemetry_altitude_kind"},
    ),
    "bracket-attitude": (
        "[fnum: 1.9] [focal_len: 28.00] [dzoom_ratio: 1.00], [latitude: 53.365080] [longitude: 6.460739] [rel_alt: 5.400 "
        "abs_alt: -124.744] [gb_yaw: 197.2 gb_pitch: -45.5 gb_roll: 0.0] [pp_target:0.000, 0.000, 0.000, 0.000]",
        {
            "latitude": 53.36508,
            "longitude": 6.460739,
            "height_m": 5.4,
            "altitude_m": -124.744,
            "yaw_deg": -162.8,
            "pitch_deg": -45.5,
            "roll_deg": 0,
            "focal_length_mm": 28,
            "zoom": 1,
            "f_number": 1.9,
        },
        set(),
    ),
    "camera-only": (
        "2018-02-19 08:04:51,265,847\n[iso : 100] [shutter : 1/240.0] [fnum : 280] [ev : 0] [ct : 5627] </font>",
        {"f_number": 2.8},
        {"telemetry_no_position", "telemetry_no_height", "telemetry_no_attitude"},
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_read(dialect: str) -> None:
    text, expected, codes = DIALECTS[dialect]
    telemetry = parse_srt(srt_of(text, text))
    assert telemetry.dialect == dialect
    assert telemetry.time_s.tolist() == [0, 1]
    for name in COLUMNS:
        np.testing.assert_allclose(
            getattr(telemetry, name), [expected.get(name, np.nan)] * 2, rtol=1e-12, err_msg=name
        )
    assert {remark.code for remark in telemetry.warnings} == codes
    assert all(remark.message.endswith(".") for remark in telemetry.warnings)


def test_home_and_the_step_of_the_coordinates() -> None:
    pro = parse_srt(srt_of(DIALECTS["mavic-pro"][0]))
    assert pro.home == (149.0251, -20.2532) and pro.coordinate_step_deg == pytest.approx(1e-4)
    assert parse_srt(srt_of(DIALECTS["avata"][0])).home == (16.3914, 39.906206)
    assert parse_srt(srt_of(DIALECTS["p4-rtk"][0])).coordinate_step_deg == pytest.approx(1e-6)
    assert parse_srt(srt_of(DIALECTS["bracket"][0])).home is None


def test_coordinates_that_only_make_sense_the_other_way_round_are_turned() -> None:
    lat_first = parse_srt(srt_of("GPS (27.7716, -121.6669, 10), D 2.80m, H 5.00m"))
    assert (lat_first.latitude[0], lat_first.longitude[0]) == (27.7716, -121.6669)
    assert "telemetry_latitude_first" in {remark.code for remark in lat_first.warnings}
    lon_first = parse_srt(srt_of("GPS(116.391305,39.906217,69.8) BAROMETER(91.2)"))
    assert (lon_first.latitude[0], lon_first.longitude[0]) == (39.906217, 116.391305)
    assert "telemetry_longitude_first" in {remark.code for remark in lon_first.warnings}


def test_values_that_cannot_be_are_left_out_and_told() -> None:
    line = "[latitude: {}] [longitude: {}] [rel_alt: {} abs_alt: 100.0] [gb_yaw: 10.0 gb_pitch: {} gb_roll: 0.0]"
    telemetry = parse_srt(
        srt_of(
            line.format("0.000000", "0.000000", "10.0", "-90.0"),
            line.format("50.000001", "8.000001", "10.0", "-90.0"),
            line.format("50.000001", "999.0", "10.0", "-90.0"),
            line.format("50.000001", "8.9", "99999.0", "-90.0"),
            line.format("50.000003", "8.000001", "12.0", "-300.0"),
        )
    )
    np.testing.assert_array_equal(
        np.isfinite(telemetry.latitude), [False, True, False, False, True]
    )
    np.testing.assert_array_equal(
        np.isfinite(telemetry.longitude), [False, True, False, False, True]
    )
    np.testing.assert_array_equal(telemetry.height_m, [10, 10, 10, np.nan, 12])
    np.testing.assert_array_equal(telemetry.pitch_deg, [-90, -90, -90, -90, np.nan])
    remarks = {remark.code: remark.message for remark in telemetry.warnings}
    assert remarks["telemetry_out_of_range"].startswith("4 telemetry values") and remarks[
        "telemetry_no_fix"
    ].startswith("1 positions")


def test_a_file_cut_off_in_the_middle_of_a_number_gives_no_half_number() -> None:
    whole = srt_of(*["[latitude : -34.869950] [longtitude : -57.823395] [altitude: 74.7]"] * 2)
    cut = whole[: whole.rindex(b"23395]")]
    telemetry = parse_srt(cut)
    assert len(telemetry) == 1 and telemetry.longitude.tolist() == [-57.823395]
    assert "telemetry_cues_skipped" in {remark.code for remark in telemetry.warnings}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "telemetry_empty"),
        (b"\xef\xbb\xbf \r\n", "telemetry_empty"),
        (b"1\n", "telemetry_not_srt"),
        (b"\0\x01\x02" * 500, "telemetry_not_srt"),
        (srt_of("Good morning, Vietnam!", "(music)"), "telemetry_not_dji"),
    ],
)
def test_what_tells_nothing_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(InvalidTelemetry) as error:
        parse_srt(data)
    assert error.value.code == code and isinstance(error.value, InvalidInput)


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srt, "LIMIT_BYTES", 100)
    with pytest.raises(InvalidTelemetry, match="at most 100 bytes") as error:
        parse_srt(b"x" * 101)
    assert error.value.code == "telemetry_too_large"
    monkeypatch.setattr(srt, "LIMIT_CUES", 2)
    with pytest.raises(InvalidTelemetry, match="at most 2 cues"):
        from_cues([(i, "H 5.00m") for i in range(3)])


def test_encodings_line_ends_and_odd_timings() -> None:
    text = srt_of(DIALECTS["p4-rtk"][0]).decode()
    for data in (
        text.encode("utf-16"),
        text.encode("utf-8-sig"),
        text.replace("\n", "\r\n").encode(),
        text.encode("latin-1"),
    ):
        assert parse_srt(data).pitch_deg.tolist() == [-40]
    odd = parse_srt(
        b"9\n00:01:59,5 --> 00:01:60.000\nH 3.00m\n\n10\n00:00:01.250 --> 00:00:02.000\nH 2.00m\n\n10\n00:00:01.250 --> x\n"
    )
    assert odd.time_s.tolist() == [1.25, 119.5] and odd.height_m.tolist() == [2, 3]
    assert "telemetry_cues_unordered" in {remark.code for remark in odd.warnings}


def test_values_between_records() -> None:
    line = "[latitude: 10.00{}] [longitude: {}] [rel_alt: {} abs_alt: 1.0] [gb_yaw: {} gb_pitch: -90.0 gb_roll: 0.0]"
    telemetry = parse_srt(
        srt_of(
            line.format("0", "179.999", "10", "170.0"), line.format("2", "-179.999", "20", "-170.0")
        )
    )
    between = telemetry.at(np.array([-2.0, 0.0, 0.25, 0.5, 1.0, 3.9, 4.1]))
    np.testing.assert_allclose(between.height_m, [10, 10, 12.5, 15, 20, 20, np.nan])
    np.testing.assert_allclose(between.yaw_deg, [170, 170, 175, 180, -170, -170, np.nan])
    np.testing.assert_allclose(between.latitude[:5], [10, 10, 10.0005, 10.001, 10.002])
    np.testing.assert_allclose(between.longitude[1:5], [179.999, 179.9995, 180, -179.999])
    assert between.time_s.tolist() == [-2.0, 0.0, 0.25, 0.5, 1.0, 3.9, 4.1]


def test_nothing_is_made_up_in_a_long_gap() -> None:
    telemetry = from_cues([(0.0, "H 1.00m"), (2.0, "H 3.00m"), (10.0, "H 9.00m")])
    np.testing.assert_allclose(
        telemetry.at(np.array([1.0, 2.0, 2.1, 9.0, 10.0, 12.0])).height_m,
        [2, 3, np.nan, np.nan, 9, 9],
    )
    assert np.isnan(telemetry.at(np.array([1.0])).latitude).all()


def test_the_files_of_a_recording_are_joined() -> None:
    first = from_cues([(0.0, "H 1.00m"), (1.0, "H 2.00m"), (2.0, "H 3.00m")])
    second = from_cues([(0.0, "H 7.00m"), (1.0, "H 8.00m")])
    both = joined([first, second], [0.0, 1.5])
    assert both.time_s.tolist() == [0, 1, 1.5, 2.5] and both.height_m.tolist() == [1, 2, 7, 8]
    assert [remark.code for remark in both.warnings] == [
        "telemetry_no_position",
        "telemetry_no_attitude",
    ]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the telemetry files are not at {REAL}")
def test_every_real_file_is_read_or_refused_with_a_reason() -> None:
    told = {}
    for path in sorted(p for p in REAL.iterdir() if p.suffix.lower() == ".srt"):
        try:
            telemetry = parse_srt(path.read_bytes())
        except InvalidTelemetry as error:
            assert error.message.endswith(".")
            told[path.name] = error.code
            continue
        told[path.name] = (
            f"{telemetry.dialect} {len(telemetry)} {np.isfinite(telemetry.latitude).sum()}"
        )
    assert told == {
        "DJI_SRT_Parser__air2s.srt": "bracket-altitude 17 17",
        "DJI_SRT_Parser__broken_empty2.SRT": "telemetry_not_srt",
        "DJI_SRT_Parser__broken_incomplete.SRT": "mavic-pro 19 19",
        "DJI_SRT_Parser__broken_incomplete2.SRT": "bracket-altitude 6 4",
        "DJI_SRT_Parser__mavic_air.SRT": "camera-only 2 0",
        "DJI_SRT_Parser__mavic_air2.srt": "bracket-altitude 25 25",
        "DJI_SRT_Parser__mavic_mini.SRT": "comma 117 117",
        "DJI_SRT_Parser__mavic_pro.SRT": "mavic-pro 468 468",
        "DJI_SRT_Parser__old_format.SRT": "phantom 468 468",
        "DJI_SRT_Parser__p4p_sample.SRT": "comma 5 5",
        "dji-drone-metadata-embedder__examples__DJI_sample.SRT": "bracket 5 5",
        "dji-drone-metadata-embedder__samples__Avata360__clip.SRT": "bracket-attitude 5 5",
        "dji-drone-metadata-embedder__samples__Mini5PRO__clip.SRT": "bracket 5 5",
        "dji-drone-metadata-embedder__samples__air3S__clip.SRT": "bracket 5 5",
        "dji-drone-metadata-embedder__samples__air3__clip.SRT": "bracket 2 2",
        "dji-drone-metadata-embedder__samples__avata2__clip.SRT": "avata 2 2",
        "dji-drone-metadata-embedder__samples__mini4pro__clip.SRT": "bracket 2 2",
        "dji-drone-metadata-embedder__samples__neo2__clip.SRT": "bracket 5 5",
        "m2zoom.SRT": "bracket-altitude 1000 1000",
        "mavic_2pro_new.SRT": "bracket 1000 1000",
    }


def test_what_a_hostile_file_costs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srt, "LIMIT_CUES", 10)
    with pytest.raises(InvalidTelemetry) as caught:
        parse_srt(srt_of(*["no telemetry"] * 11))
    assert caught.value.code == "telemetry_too_large"
    monkeypatch.setattr(srt, "LONGEST_CUE", 100)
    with pytest.raises(InvalidTelemetry) as caught:
        parse_srt(srt_of(" " * 100 + "[latitude: 48.1] [longitude: 11.5]"))
    assert caught.value.code == "telemetry_not_dji"
