"""The page of a comparison: its parts, that text stays text, that it needs nothing else; and in a real browser."""

import dataclasses
import itertools
import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from compare.browser import Browser, find
from compare.cases import a_case, curves_for, figures_for, verdict_for

from microdeconv.compare.case import Figure
from microdeconv.compare.page import write_page
from microdeconv.compare.tables import best_of
from microdeconv.errors import CannotCreateError

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Tree(HTMLParser):
    """Elements, texts and unclosed tags of a page."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.faults = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def all(self, tag):
        return [attributes for name, attributes in self.seen if name == tag]


@pytest.fixture(scope="module")
def case():
    return a_case()


def written(path, case, **changes):
    write_page(path, case, figures_for(case), curves_for(case), verdict_for(case), overwrite=True, **changes)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(case, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "index.html", case)


def test_order_warnings_then_verdict_then_images(page):
    places = [page.index(word) for word in ("undersampled along z", "rl is best by PSNR", 'id="images"', "id=figures")]
    assert places == sorted(places)
    ids = ("curves", "residuals", "convergence", "costs", "settings", "provenance")
    assert all(f"<section id={key}" in page for key in ids)


def test_structure_is_whole(page):
    tree = Tree(page)
    assert not tree.faults
    assert not tree.open
    ids = [a["id"] for _, a in tree.seen if "id" in a]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in tree.seen if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert {a["href"][1:] for a in tree.all("a")} <= set(ids)


def test_every_picture_and_plot_has_words(page):
    tree = Tree(page)
    assert len(tree.all("img")) >= 15
    assert all(a.get("alt") for a in tree.all("img"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in tree.all("svg"))
    assert "rl falls below 0.5 at" in page
    assert "rl falls below 1/7 at" in page
    assert "rl stopped at step 12" in page


def test_nothing_is_asked_of_the_network(page):
    tree = Tree(page)
    policy = next(a["content"] for a in tree.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.split("script-src")[1]
    for _, attributes in tree.seen:
        for key in ("src", "href", "xlink:href", "srcset", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:"))
    outside = {
        found for found in re.findall(r"https?://[^\"' )<]+", page) if not found.startswith("http://www.w3.org/")
    }
    assert not outside
    assert not re.findall(r"url\((?!#)", page)


def test_text_of_others_stays_text(tmp_path, case):
    evil = "</script><img src=x onerror=alert(1)>{{script}}$x_'\""
    entry = dataclasses.replace(
        case.entries[0], name=evil, settings={evil: evil}, notes=(evil,), trace={evil: ((1, 1.0), (2, 0.5))}
    )
    sick = dataclasses.replace(
        case, name=evil, entries=(entry, *case.entries[1:]), warnings=(evil,), provenance=((evil, evil),)
    )
    figures = (*figures_for(sick), Figure("k", evil, evil, "higher", evil, {evil: 1.0}))
    path = tmp_path / "index.html"
    write_page(path, sick, figures, curves_for(sick), verdict_for(sick), overwrite=False)
    tree = Tree(path.read_text(encoding="utf-8"))
    assert not tree.faults
    assert not tree.open
    assert not [a for _, a in tree.seen if "onerror" in a]
    assert len(tree.all("script")) == 2


def test_data_are_json_without_truth_or_voxel_size(tmp_path):
    page = written(tmp_path / "index.html", a_case((6, 40, 48), truth=False, voxel=None, entries=1))
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert [p["name"] for p in data["pictures"]] == ["image", "rl"]
    assert data["unit"] == "px"
    assert data["pitch"]["xz"] == [1.0, 1.0]
    assert "cycles per voxel" in page
    assert ">Deconvolution<" in page


def test_figures_alone_without_curves_and_verdict(tmp_path, case):
    path = tmp_path / "index.html"
    write_page(path, case, (), None, None, overwrite=False)
    page = path.read_text(encoding="utf-8")
    assert not Tree(page).faults
    assert "id=verdict" not in page
    assert "id=figures" not in page
    with pytest.raises(CannotCreateError):
        write_page(path, case, (), None, None, overwrite=False)


def test_same_case_same_bytes(tmp_path, case, page):
    assert written(tmp_path / "again.html", case) == page


def test_large_stacks_stay_under_15_megabytes(tmp_path):
    rng = np.random.default_rng(5)
    small = a_case((4, 32, 32), entries=4, truth=False)
    shape = (24, 512, 512)
    entries = [dataclasses.replace(e, image=rng.gamma(2, 50, shape).astype(np.float32)) for e in small.entries]
    noise = dataclasses.replace(small, raw=rng.poisson(200, shape).astype(np.uint16), entries=tuple(entries))
    path = tmp_path / "index.html"
    write_page(path, noise, (), None, None, overwrite=False)
    assert 2e6 < path.stat().st_size < 15e6
    assert "Of the 24 planes every" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("better", "values", "noise", "best"),
    [
        ("higher", {"a": 3.0, "b": 2.0}, 0.4, "a"),
        ("higher", {"a": 3.0, "b": 2.0}, 0.6, None),
        ("lower", {"a": 3.0, "b": 2.0}, 0.1, "b"),
        ("near one", {"a": 1.1, "b": 0.95}, 0.01, "b"),
        ("near one", {"a": 1.05, "b": 0.951}, 0.01, None),
        ("", {"a": 3.0, "b": 2.0}, 0.1, None),
        ("higher", {"a": 3.0, "b": 2.0}, None, None),
        ("higher", {"a": 3.0}, 0.1, None),
        ("higher", {"a": float("nan"), "b": 2.0, "c": 1.0}, 0.1, "b"),
    ],
)
def test_the_best_is_marked_beyond_the_noise_alone(better, values, noise, best):
    assert best_of(Figure("k", "k", "m", better, "", values, noise)) == best


# ---- in a real browser ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find()
    if program is None:
        pytest.skip("no Chromium is installed: pages are not tried in a browser")
    with Browser(program, tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def file(case, tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "index.html"
    written(path, case)
    return path


@pytest.fixture
def opened(browser, file):
    browser.logs.clear()
    browser.requests.clear()
    browser.open(file, 1600)
    yield browser
    assert browser.logs == []
    assert all(url.startswith(("file:", "data:")) for url in browser.requests)


COPY = """(selector => { const c = document.querySelector(selector), copy = document.createElement("canvas");
copy.width = c.width; copy.height = c.height; const pen = copy.getContext("2d", { willReadFrequently: true });
pen.drawImage(c, 0, 0); return pen; })"""
GREYS = f"""(selector => {{ const c = document.querySelector(selector), pen = {COPY}(selector), out = [c.width, c.height];
const d = pen.getImageData(0, 0, c.width, c.height).data;
for (let y = 1; y < c.height; y += 6) for (let x = 1; x < c.width; x += 2) {{
  const k = 4 * (y * c.width + x); out.push(d[k] + d[k + 1] + d[k + 2]); }}
return out; }})"""


def look(browser, selector="#canvas"):
    """Width, height and sums of red, green and blue at many places of a canvas."""
    return np.array(browser.run(f"{GREYS}({json.dumps(selector)})"))


def alike(one, two):
    """Whether two pictures are the same but for a grey level, by which a browser may round a pixel another way."""
    return one.size == two.size and np.array_equal(one[:2], two[:2]) and np.abs(one - two).max() <= 6


def until_alike(browser, picture, *, wanted=True, seconds=30):
    end = time.monotonic() + seconds
    while alike(look(browser), picture) != wanted:
        assert time.monotonic() < end, "the picture never came" if wanted else "the picture stayed"
        time.sleep(0.05)


def place_of_canvas(browser):
    browser.run(
        "document.documentElement.style.scrollBehavior = 'auto'; document.querySelector('#canvas').scrollIntoView()"
    )
    return browser.run(
        "(r => [r.x, r.y, r.width, r.height])(document.querySelector('#canvas').getBoundingClientRect())"
    )


def choose(browser, name, value):
    browser.drawn_after(
        f"(f => {{ f.elements[{name!r}].value = {value!r}; const e = f.elements[{name!r}];"
        "(e.length && !e.options ? e[0] : e).dispatchEvent(new Event('input', {bubbles: true})); })"
        "(document.getElementById('controls'))"
    )


def test_pictures_of_two_methods_differ(opened):
    seen = [look(opened, f".cell[data-picture='{k}'] canvas") for k in range(5)]
    assert not any(alike(a, b) for a, b in itertools.combinations(seen, 2))
    choose(opened, "split", "0")
    right = look(opened)
    choose(opened, "split", "100")
    assert not alike(look(opened), right)


def test_the_slider_moves_the_split(opened):
    column = COPY + "('#canvas').getImageData(%d, 300, 1, 1).data[0]"
    width = opened.run("document.querySelector('#canvas').width")
    assert opened.run(column % (width // 2)) == 255
    choose(opened, "split", "25")
    assert opened.run(column % (width // 4)) == 255
    before = look(opened)
    opened.run("document.querySelector('input[name=split]').focus()")
    opened.keys("ArrowRight", "ArrowRight")
    opened.until("document.querySelector('input[name=split]').value === '27'")
    until_alike(opened, before, wanted=False)


def test_the_split_is_dragged(opened):
    box = place_of_canvas(opened)
    middle = box[1] + box[3] / 3
    opened.mouse("mousePressed", box[0] + box[2] / 2, middle)
    opened.run("new Promise(done => setTimeout(done, 100))")
    opened.mouse("mouseMoved", box[0] + box[2] * 0.7, middle)
    opened.mouse("mouseReleased", box[0] + box[2] * 0.7, middle, 0)
    opened.until("Math.abs(document.querySelector('input[name=split]').value - 70) < 2")


def test_views_planes_colours_and_contrast_change_the_picture(opened):
    seen = [look(opened)]
    steps = [("view", "xz"), ("view", "yz"), ("view", "xy"), ("what", "plane"), ("z", "2"), ("map", "viridis")]
    steps += [("map", "cividis"), ("map", "inverted"), ("contrast", "shared"), ("white", "40"), ("gamma", "0.5")]
    for name, value in steps:
        choose(opened, name, value)
        seen.append(look(opened))
    assert alike(seen[3], seen[0])
    assert not any(alike(a, b) for a, b in itertools.combinations(seen[1:], 2))
    assert "plane 3 of 12" in opened.run("document.querySelector('#canvas').getAttribute('aria-label')")
    opened.drawn_after("document.getElementById('reset').click()")
    until_alike(opened, seen[0])


def test_blink_shows_both_in_turn(opened):
    choose(opened, "rate", "0.4")
    choose(opened, "mode", "blink")
    tag = "document.getElementById('tag-a').textContent"
    first, before = opened.run(tag), look(opened)
    opened.until(f"{tag} !== {first!r}")
    assert not alike(look(opened), before)
    opened.until(f"{tag} === {first!r}")


def test_everything_by_keyboard(opened):
    opened.run("document.getElementById('stage').focus()")
    assert opened.run("getComputedStyle(document.activeElement).outlineStyle") != ""
    before, told = look(opened), "document.getElementById('told').textContent"
    cell = look(opened, ".cell canvas")
    opened.keys("+", "+")
    opened.until(f"{told}.includes('2.25')")
    assert not alike(look(opened), before)
    assert not alike(look(opened, ".cell canvas"), cell)  # they move together
    zoomed = look(opened)
    opened.keys("ArrowRight")
    until_alike(opened, zoomed, wanted=False)
    opened.keys("0")
    until_alike(opened, before)
    opened.keys(".")
    opened.until(f"{told}.includes('plane')")
    line = "document.querySelector('#profile svg').getAttribute('aria-label')"
    label = opened.run(line)
    opened.keys("l", "ArrowLeft", "ArrowLeft", "Enter")
    opened.until(f"{told}.includes('second end')")
    opened.keys(*["ArrowRight"] * 30, *["ArrowDown"] * 5, "Enter")
    opened.until(f"{line} !== {label!r}")
    assert "line of 3.04 µm" in opened.run(line)


def test_tab_reaches_every_control(opened):
    opened.run("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        opened.keys("Tab")
        reached.add(opened.run("(e => e.name || e.id || e.tagName)(document.activeElement)"))
    assert {"theme", "stage", "split", "a", "b", "mode", "view", "what", "contrast", "map", "gamma", "line"} <= reached


def test_a_line_by_two_clicks_gives_a_profile_of_each(opened):
    opened.drawn_after("document.getElementById('line').click()")
    box = place_of_canvas(opened)
    for share in (0.25, 0.75):
        x, y = box[0] + share * box[2], box[1] + box[3] / 2
        opened.mouse("mousePressed", x, y)
        opened.mouse("mouseReleased", x, y, 0)
        opened.run("new Promise(done => setTimeout(done, 150))")
    label = opened.run("document.querySelector('#profile svg').getAttribute('aria-label')")
    assert re.search(r"along a line of 5\.[56]\d? µm", label), label
    assert opened.run("document.querySelectorAll('#profile path[stroke-linejoin]').length") == 5
    opened.drawn_after("document.querySelector('.toggles input').click()")
    assert opened.run("document.querySelectorAll('#profile path[stroke-linejoin]').length") == 4


@pytest.mark.parametrize("width", [320, 400, 900, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_overflows_and_both_schemes_are_readable(browser, file, width, scheme):
    browser.open(file, width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width  # innerWidth of a phone grows with it
    ink, paper = browser.run(
        "['color', 'backgroundColor'].map(k => getComputedStyle(document.body)[k].match(/[\\d.]+/g).slice(0, 3)"
        ".reduce((s, v) => s + Number(v), 0))"
    )
    assert (ink > paper) == (scheme == "dark")
    assert abs(ink - paper) > 500


@pytest.mark.parametrize("width", [400, 900])
def test_a_wide_table_scrolls_within_the_page(browser, file, width):
    browser.open(file, width)
    browser.run(
        "document.querySelector('.figures').style.minWidth = '3000px';"
        "for (const cell of document.querySelectorAll('.figures td:nth-last-child(2)'))"
        " cell.insertAdjacentHTML('beforeend', '<span class=hidden> best</span>')"
    )
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_the_button_changes_the_colours(opened):
    paper = "getComputedStyle(document.body).backgroundColor"
    before = opened.run(paper)
    opened.run("document.getElementById('theme').click()")
    assert opened.run(paper) != before
    opened.run("document.getElementById('theme').click(); document.getElementById('theme').click()")
    assert opened.run(paper) == before


def test_two_dimensional_and_single(browser, tmp_path):
    browser.logs.clear()
    path = tmp_path / "index.html"
    written(path, a_case((1, 64, 72), truth=False, voxel=None, entries=1))
    browser.open(path, 400)
    assert browser.logs == []
    assert browser.run("getComputedStyle(document.querySelector('.deep')).display") == "none"
    assert not alike(*(look(browser, f".cell[data-picture='{k}'] canvas") for k in range(2)))
