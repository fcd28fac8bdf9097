"""What is said, and what is not, of figures made by hand."""

from itertools import permutations

import pytest
from compare_cases import truth_case

from microdeconv.compare.case import Figure
from microdeconv.compare.verdict import verdict_of

CASE = truth_case((1, 48, 48))


def of(key, noise=0.01, better="lower", unit="", **values):
    between = {a: dict.fromkeys([b for b in values if b != a], noise) for a, _ in permutations(values, 2)}
    return Figure(key, key, "", better, unit, values, noise, between if noise is not None else {})


def by_counts(error, **more):
    return verdict_of(
        CASE, [error, more.pop("beyond", of("noise_beyond", soft=0.0, true=0.0, third=0.0)), *more.values()]
    )


def test_a_truth_decides_beyond_the_noise():
    said = verdict_of(CASE, [of("psnr", 0.1, "higher", "dB", true=31.0, soft=30.0)])
    assert said.winner == "true"
    assert "31.00 dB is 1 dB above" in said.sentences[0]
    assert "10.0 times the noise" in said.sentences[0]


@pytest.mark.parametrize(("second", "noise"), [(30.0, 0.51), (30.95, 0.001), (31.0, 0.0), (30.0, None)])
def test_no_winner_within_the_noise_or_the_margin_or_without_noise(second, noise):
    said = verdict_of(CASE, [of("psnr", noise, "higher", "dB", true=31.0, soft=second)])
    assert said.winner is None
    assert said.sentences[0].startswith("Not decided")


def test_what_other_figures_say_is_told():
    figures = [
        of("psnr", 0.1, "higher", "dB", true=31.0, soft=30.0),
        of("ssim", 0.01, "higher", true=0.8, soft=0.9),
        of("frc_truth", 0.01, "higher", true=0.5, soft=0.51),
    ]
    assert (
        "says the same: 0.9 against 0.8"
        in verdict_of(CASE, [figures[0], of("ssim", 0.1, "higher", true=0.9, soft=0.8)]).sentences[1]
    )
    said = verdict_of(CASE, figures)
    assert said.sentences[1:] == (
        "ssim prefers soft: 0.9 against 0.8.",
        "frc_truth does not contradict: 0.5, 0.51 at best.",
    )


def test_counts_decide_beyond_the_noise():
    said = by_counts(of("error", 0.01, true=0.1, soft=0.2))
    assert said.winner == "true"
    assert "10.0 %" in said.sentences[0]
    assert by_counts(of("error", 0.06, true=0.1, soft=0.2)).winner is None
    assert by_counts(of("error", 0.0001, true=0.199, soft=0.2)).winner is None
    assert by_counts(of("error", None, true=0.1, soft=0.2)).winner is None


@pytest.mark.parametrize(
    "figure",
    [
        of("chi_square", better="near one", true=1.3, soft=1.0, third=1.0),
        of("balance", better="near one", true=1.08, soft=1.0, third=1.01),
        of("agreement", better="higher", true=0.2, soft=0.9, third=0.9),
    ],
    ids=lambda f: f.key,
)
def test_a_result_that_is_ruled_out_does_not_win(figure):
    said = by_counts(of("error", 0.01, true=0.1, soft=0.2, third=0.3), figure=figure)
    assert said.winner == "soft"
    assert any(line.startswith("true ") for line in said.warnings)


def test_a_wrong_model_decides_nothing():
    said = by_counts(of("error", true=0.1, soft=0.2), chi=of("chi_square", better="near one", true=2.0, soft=2.0))
    assert said.winner is None
    assert "do not fit" in said.sentences[0]
    assert "no result fits" in said.warnings[0]
    assert by_counts(of("error", true=-0.3, soft=0.2)).winner is None


def test_noise_beyond_the_otf_takes_the_decision_away():
    error = of("error", true=0.1, soft=0.2, third=0.9)
    said = by_counts(error, beyond=of("noise_beyond", true=0.3, soft=0.0, third=0.0))
    assert said.winner is None
    assert "10.0 % (40.0 % with its noise beyond the OTF)" in said.sentences[0]
    assert "turns their order round" in said.sentences[0]
    assert said.contenders == ("true", "soft")
    said = by_counts(error, beyond=of("noise_beyond", true=0.05, soft=0.0, third=0.0))
    assert said.winner == "true"
    assert said.contenders == ("true",)
    assert "5.0 times the noise" in said.sentences[0]  # at the end that says less


def test_behind_is_what_is_so_whatever_the_noise_beyond_is_worth():
    error = of("error", 0.01, true=0.1, soft=0.105, third=0.3)
    beyond = of("noise_beyond", true=0.3, soft=0.3, third=0.0)
    assert by_counts(error, beyond=beyond).contenders == ("true", "soft", "third")


def test_the_only_one_that_is_not_ruled_out_wins():
    chi = of("chi_square", better="near one", true=1.3, soft=1.0, third=1.4)
    said = by_counts(of("error", true=0.1, soft=0.2, third=0.3), figure=chi)
    assert said.winner == "soft"
    assert said.contenders == ("soft",)
    assert "all others" in said.sentences[0]


def test_those_behind_are_named():
    error = of("error", 0.01, true=0.1, soft=0.105, third=0.3)
    said = by_counts(error)
    assert said.winner is None
    assert said.sentences[1] == "Behind: third. The best may be any of true, soft."
    assert said.contenders == ("true", "soft")


def test_a_truth_says_who_is_behind_too():
    said = verdict_of(CASE, [of("psnr", 0.1, "higher", "dB", true=31.0, soft=30.95, third=20.0)])
    assert said.winner is None
    assert said.contenders == ("true", "soft")


def test_nothing_can_be_said_without_halves():
    said = verdict_of(CASE, [of("chi_square", better="near one", true=1.0, soft=1.2)])
    assert said.winner is None
    assert "true, soft" in said.sentences[1]


def test_warnings_of_the_case_come_first():
    case = truth_case((1, 48, 48), warnings=("saturated",))
    said = verdict_of(case, [of("shift", None, "", "voxels", true=0.0, soft=1.5)])
    assert said.warnings == ("saturated", "soft was moved by 1.5 voxels to lie on the truth")
