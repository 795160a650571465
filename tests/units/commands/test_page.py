"""The page of --html: complete in one file, with thumbnails and links, and nothing of a stranger's name comes alive.

nox -s browser opens such pages in a browser, too.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from clip_image_encoder.__main__ import main
from clip_image_encoder.commands._page import Group, Item, Page, html_of
from tests.units.commands.conftest import HOSTILE, Gallery


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(*paths: str, title: str = "a star") -> Page:
    items = tuple(Item(path, 0.5) for path in paths)
    return Page(title=title, subtitle="some", groups=(Group(title="", items=items),))


@pytest.fixture(scope="module")
def written(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of all images that the command has written."""
    file = tmp_path_factory.mktemp("pages") / "found.html"
    options = ["-k", "20", "--html", str(file), "--images", str(gallery.photos)]
    assert main(["search", str(gallery.vectors), "a <b>red</b> circle & more", *options]) == 0
    return file


def test_each_image_has_a_thumbnail_a_caption_and_a_link(written: Path, gallery: Gallery) -> None:
    page = Parsed(written.read_text("utf-8"))
    images, links = page.all("img"), page.all("a")
    assert len(images) == len(links) == 11
    kind, data = str(images[0]["src"]).split(",", 1)
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as thumbnail:
        assert [str(side) for side in thumbnail.size] == [images[0]["width"], images[0]["height"]]
    found = [(written.parent / unquote(str(link["href"]))).resolve() for link in links]
    assert sorted(found) == sorted(file for file in gallery.photos.rglob("*.png") if file.name != "bad.png")
    assert re.search(r"red\.png 0\.\d{3}circle", page.text)


def test_nothing_is_loaded_but_thumbnails_and_the_one_style(written: Path) -> None:
    html = written.read_text("utf-8")
    page = Parsed(html)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.all("img"))
    policy = next(str(meta["content"]) for meta in page.all("meta") if "http-equiv" in meta)
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:3] == ["default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'"]
    assert "url(" not in style
    assert "@import" not in style


def test_the_query_and_names_are_text(written: Path) -> None:
    page = Parsed(written.read_text("utf-8"))
    assert "“a <b>red</b> circle & more”" in page.text
    assert HOSTILE in page.text
    assert not page.all("b")


@pytest.mark.parametrize("name", ["a\nb.png", "\u202egpj.exe", "\x1b[31m.png", "\ud800.png"])
def test_hidden_characters_are_shown(name: str, tmp_path: Path) -> None:
    html = html_of(page_of(name, title=name), root=None, place=tmp_path)
    html.encode("utf-8")
    assert name not in Parsed(html).text
    assert ascii(name)[1:-1] in Parsed(html).text


def test_a_link_is_never_read_as_a_scheme(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "javascript:alert(1).png")
    (link,) = Parsed(html_of(page_of("javascript:alert(1).png"), root=tmp_path, place=tmp_path)).all("a")
    assert link["href"] == "./javascript%3Aalert%281%29.png"


@pytest.mark.parametrize("path", ["../secret.png", "photos/../../secret.png", "/secret.png"])
def test_a_path_that_leads_out_of_the_folder_is_not_opened(path: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "root" / "photos").mkdir(parents=True)
    given = str(tmp_path / "secret.png") if path.startswith("/") else path
    page = Parsed(html_of(page_of(given), root=tmp_path / "root", place=tmp_path))
    assert not page.all("img")
    assert not page.all("a")
    assert "leads out of the folder" in page.text


def test_images_that_are_missing_or_damaged_stay_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"no image")
    page = Parsed(html_of(page_of("damaged.png", "missing.png"), root=tmp_path, place=tmp_path))
    assert "the file is not there" in page.text
    assert "damaged.png 0.500" in page.text
    assert len(page.all("a")) == 1


def test_without_the_folder_of_images_the_page_is_a_list_of_paths(tmp_path: Path) -> None:
    page = Parsed(html_of(page_of("star/red.png"), root=None, place=tmp_path))
    assert "red.png 0.500star" in page.text
    assert not page.all("a")
    assert not page.all("img")


def test_a_name_that_is_no_text_is_linked_by_its_bytes(tmp_path: Path) -> None:
    try:
        Image.new("RGB", (8, 8)).save(tmp_path / "caf\udce9.png")
    except (OSError, UnicodeError):
        pytest.skip("this system has no such names")
    (link,) = Parsed(html_of(page_of("caf\\xe9.png"), root=tmp_path, place=tmp_path)).all("a")
    assert link["href"] == "./caf%E9.png"


def test_a_page_has_500_images_and_says_how_many_are_left_out(tmp_path: Path) -> None:
    groups = tuple(Group(title="", items=(Item("a", 1.0), Item("b", 1.0))) for _ in range(300))
    page = Parsed(html_of(Page(title="", subtitle="", groups=groups), root=None, place=tmp_path))
    assert len(page.all("li")) == 500
    assert "The other 100 images are left out." in page.text


def test_a_phones_photo_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "lying.jpg", exif=exif)
    (image,) = Parsed(html_of(page_of("lying.jpg"), root=tmp_path, place=tmp_path)).all("img")
    assert (image["width"], image["height"]) == ("40", "60")
