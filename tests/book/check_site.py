"""Checks that every link within the built site leads to a file, and every anchor to an element."""

import pathlib
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])


def main(site: pathlib.Path) -> int:
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    broken, count = [], 0
    for path, page in pages.items():
        # These two hold or stand for the content of the others.
        if path.name in ("print.html", "404.html", "toc.html"):
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            target = target / "index.html" if target.is_dir() else target
            known = pages.get(site / target.relative_to(site.resolve())) if target.is_relative_to(site.resolve()) else None
            if not target.is_file() or not target.is_relative_to(site.resolve()):
                broken.append(f"{path.name}: {link}")
            elif parts.fragment and known and unquote(parts.fragment) not in known.anchors:
                broken.append(f"{path.name}: {link}")
    print(f"{len(pages)} pages, {count} links within the site, {len(broken)} broken")
    print("\n".join(broken))
    return bool(broken) or count < 100


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
