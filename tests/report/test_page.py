"""The page: whole in itself, well formed, complete, and silent about what it was not given."""

import dataclasses
import html
import re

import pytest
import torch
from conftest import toy
from pages import CURVE, SECTIONS, Page, lead, read, rows, sets, write_full

from attar.data.task import Examples
from attar.evaluation.rows import summarise
from attar.report.page import choose_best, colour_curves, write_report


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[str, Page]:
    return write_full(tmp_path_factory.mktemp("page"))


def test_every_section_is_there_once(full):
    text, page = full
    assert page.sections == SECTIONS
    assert {"accuracies", "losses"} <= set(page.ids)
    assert text.count("<svg") == 6  # accuracies, losses, two projections, two planes
    assert "0.25" in page.text
    assert "1 min 10 s" in page.text


def test_nothing_is_loaded_from_elsewhere(full):
    text, page = full
    loading = ("src", "href", "xlink:href", "srcset", "data", "action")
    loads = [value for _, name, value in page.attributes if name in loading]
    assert loads
    assert all(value.startswith(("data:", "#")) for value in loads)
    assert not re.search(r"@import|<script|<link|url\((?!#)", text)
    assert set(re.findall(r"https?://([^/\"' ]*)", text)) <= {"www.w3.org"}
    assert len(text) < 3e6


def test_ids_do_not_clash_and_every_reference_is_met(full):
    text, page = full
    assert len(page.ids) == len(set(page.ids))
    assert {*re.findall(r"url\(#([^)]*)\)", text), *re.findall(r'href="#([^"]*)"', text)} <= set(page.ids)


def test_the_summary_says_what_was_measured(full):
    _, page = full
    told = ["72 training images", "became 6", "12 times", "81.0 ± 1.0 %", "random real images 61.0 %", "96.0 ± 1.0 %"]
    for words in (*told, "test set"):
        assert words in page.text, words
    assert "For a first look" not in page.text
    assert "no better than random" not in page.text


@pytest.mark.parametrize("method", ["random", "herding", "m3d", "given"])
@pytest.mark.parametrize("networks", [1, 3])
def test_the_first_sentence_has_the_accuracy_whatever_was_judged(tmp_path, method, networks):
    task = toy()
    judged = rows(task, {method: 60.0}, networks=networks)
    text, page = read(write_report(tmp_path / "r.html", sets(task, (method,)), judged, None))
    first = lead(text).replace("&nbsp;", " ").split(" on images ")[0]
    assert first.endswith("reach 61.0 ± 1.0 %" if networks == 3 else "reaches 60.0 %") and ". " not in first
    assert "no better than random" not in page.text and "<dt>points over" not in text


def test_the_whole_set_alone_is_told_too(tmp_path):
    task = toy()
    text, page = read(write_report(tmp_path / "r.html", [], rows(task, {"whole set": 95.0}), None))
    told = lead(text).replace("&nbsp;", " ")
    assert told == "Networks trained on the whole training set reach 96.0 ± 1.0 % on images they have not seen."
    assert "per class" not in page.text


def test_what_is_learned_comes_before_selections_that_did_better(tmp_path):
    task = toy()
    text, _ = read(write_report(tmp_path / "r.html", sets(task), rows(task, {"m3d": 50.0, "random": 55.0}), None))
    assert lead(text).startswith("With m3d, ")
    text, _ = read(write_report(tmp_path / "r.html", sets(task), rows(task, {"random": 55.0}), None))
    assert "With random" not in text  # the page is about a learned set, which has not been judged


MORE = {"soft": True, "targets": True, "generator": True, "learned_steps": 3, "step_size": 0.1}


@pytest.mark.parametrize("more", [{name: value} for name, value in MORE.items()], ids=list(MORE))
def test_networks_that_saw_images_alone_come_before_better_ones_that_saw_more(more):
    plain = rows(toy(), {"m3d": 50.0})
    other = [dataclasses.replace(row, **more) for row in rows(toy(), {"m3d": 80.0}, protocol="mtt")]
    best = [choose_best(summarise(judged), []) for judged in ([*plain, *other], other)]
    assert [cell.mean for cell in best] == [51.0, 81.0]


def test_one_network_has_no_spread(tmp_path):
    task = toy()
    judged = rows(task, {"m3d": 80.0, "random": 60.0, "whole set": 95.0}, networks=1)
    text, page = read(write_report(tmp_path / "r.html", sets(task), judged, task))
    assert "± 0.0" not in page.text and "a network trained on 2 images per class reaches 80.0 %" in page.text
    assert len(re.findall(r'<td class="accuracy n">[\d.]+\xa0±\xa0–</td>', text)) == 3
    assert "LineCollection" not in text  # which matplotlib draws bars with


def test_numbers_stay_in_a_line_with_their_units(tmp_path, full):
    shown = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<details>.*?</details>", "", full[0], flags=re.DOTALL)
    assert "&nbsp;%" in shown and "\xa0B " in shown and "81.0\xa0%" in full[0]  # in words, of sizes, and of a chart
    assert not re.search(r"[\d±][ \n]+(%|±|[–\d]|[kMG]?B\b|bit\b)(?![^<]*>)", shown)
    task = dataclasses.replace(toy(), split="hold-out: 20 % of the given examples")
    text, _ = read(write_report(tmp_path / "r.html", [], rows(task, {"m3d": 5.0}, protocol="quick"), None))
    assert "hold-out: 20\xa0% of" in text


def test_a_narrow_screen_keeps_the_accuracies_in_sight(full):
    text, _ = full
    head = re.findall(r'<th scope="col" class="([^"]*)">', text.split('class="cells"')[1])
    assert head[:2] == ["method", "accuracy n"]
    assert re.search(r"\.cells \.method, \.cells \.accuracy \{ position: sticky;", text)
    # The second column stays where the first ends, so that neither covers the other.
    (width,) = re.findall(r"\.cells \.method \{ width: (\w+); min-width: \1; max-width: \1;", text)
    assert f".cells .accuracy {{ left: {width};" in text


def test_the_best_of_a_budget_is_marked_once(full):
    text, _ = full
    (row,) = re.findall(r'<tr class="best">(.*?)</tr>', text)
    assert "m3d" in row


def test_user_text_is_escaped(tmp_path):
    nasty = "<b>&\"'$x$"
    task = dataclasses.replace(toy(name=nasty), classes=(nasty, "b", "_c"), split=nasty)
    made = [dataclasses.replace(s, provenance=s.provenance | {"method": nasty, "note": nasty}) for s in sets(task)]
    judged = rows(task, {nasty: 50.0, "random": 40.0})
    text, page = read(write_report(tmp_path / "r.html", made, judged, task, {nasty: CURVE}))
    assert "<b>" not in text
    assert html.escape(nasty, quote=False).split('"')[0] in text
    assert nasty in page.text


@pytest.mark.parametrize(
    ("given", "sections"),
    [
        (set(), []),
        ({"made"}, ["images", "details"]),
        ({"task"}, []),
        ({"rows"}, ["results", "charts"]),
        ({"losses"}, ["charts"]),
        ({"made", "rows"}, ["results", "charts", "images", "per-class", "details"]),
        ({"made", "task", "losses"}, ["charts", "images", "projection", "planes", "details"]),
    ],
    ids=lambda value: "+".join(sorted(value)) or "nothing" if isinstance(value, set) else "",
)
def test_what_is_not_given_is_left_out(tmp_path, given, sections):
    task = toy()
    page = write_report(
        tmp_path / "r.html",
        sets(task) if "made" in given else [],
        rows(task, {"m3d": 50.0}) if "rows" in given else [],
        task if "task" in given else None,
        {"m3d": CURVE, "random": []} if "losses" in given else {},
    )
    text, parsed = read(page)
    assert parsed.sections == sections
    assert not re.search(r"<(h2|h3|p|figcaption|dl|table|div)[^>]*>\s*</\1>", text)
    assert "None" not in parsed.text


def test_a_quick_protocol_and_a_loss_to_random_are_said(tmp_path):
    task = toy()
    judged = rows(task, {"m3d": 50.0, "random": 55.0}, protocol="quick")
    _, page = read(write_report(tmp_path / "r.html", sets(task), judged, None))
    assert "For a first look" in page.text
    assert "no better than random" in page.text


def test_many_classes_many_sets_and_colour(tmp_path):
    task = toy(channels=3, side=16, counts=(5,) * 26)
    made = [*sets(task, ("m3d", "dm", "random"), 1), *sets(task, ("m3d",), 1, factor=2), *sets(task, ("m3d",), 3)]
    judged = rows(task, {"m3d": 50.0, "random": 40.0}, 1) + rows(task, {"m3d": 60.0}, 3, networks=1)
    text, page = read(write_report(tmp_path / "r.html", made, judged, task, {"x": [(0, -1.0), (1, 2.0)]}))
    assert page.sections == SECTIONS
    assert text.count('class="heat"') == 3


def test_float_images_and_a_network_with_batch_statistics(tmp_path):
    from functools import partial

    from attar.networks.architectures import ConvNet
    from attar.networks.network import Network

    task = toy(side=16)
    train = Examples(task.train.x / 255, task.train.y)
    task = dataclasses.replace(task, train=train, network=Network(partial(ConvNet, task.shape, 3, norm="batch")))
    before = torch.random.get_rng_state()
    _, page = read(write_report(tmp_path / "r.html", sets(task), [], task))
    assert page.sections == ["images", "projection", "planes", "details"]
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_curve_has_the_colour_of_the_method_in_its_name():
    palette = {"m3d": "blue", "dm": "red"}
    assert colour_curves({"digits-m3d-ipc10-seed0": 0, "dm-ipc1-seed2": 0}, palette) == {
        "digits-m3d-ipc10-seed0": "blue",
        "dm-ipc1-seed2": "red",
    }


def test_data_of_one_name_is_told_apart_and_a_class_without_test_images_has_no_accuracy(tmp_path):
    task = toy()
    judged = rows(task, {"m3d": 50.0, "random": 40.0})
    other = [dataclasses.replace(row, fingerprint="f" * 32, per_class=(9.0, None, 7.0)) for row in judged]
    judged = [dataclasses.replace(row, fingerprint="e" * 32) for row in judged]
    _, page = read(write_report(tmp_path / "r.html", sets(task), [*judged, *other], task))
    assert "toy #eeeeee and toy #ffffff: other images under the same name" in page.text
    assert {"m3d, 2 per class, toy #eeeeee", "m3d, 2 per class, toy #ffffff"} <= set(page.words) and "–" in page.words


@pytest.mark.parametrize(
    "name", ["[/red]", "{{ 7 * 7 }}", "猫", "قطة", "a\u202eb", "\x1b[2J", "\ud800", "$x^{", "<svg>"]
)
def test_names_of_any_script_are_text(name, tmp_path):
    task = dataclasses.replace(toy(name=name), classes=(name, "b", "c"))
    judged = rows(task, {name: 50.0, "random": 40.0})
    text, page = read(write_report(tmp_path / "r.html", sets(task), judged, task, {name: CURVE}))
    assert page.sections == SECTIONS and text.count("<svg") == 6
