"""Preprocessor of mdBook: links that leave docs/ lead to the repository, as they do on GitHub.

mdBook gives [context, book] on standard input and reads the book back.
"""

import json
import posixpath
import re
import sys

REPOSITORY = "https://github.com/fdi-operator/fdi-operator/blob/main/"
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s]+)\)")


def outside(page: str, link: str) -> str:
    path, _, anchor = link.partition("#")
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
    if target.startswith("docs/"):
        # mdBook makes index.html of a README.
        return link.replace("README.md", "index.md")
    return REPOSITORY + target + (f"#{anchor}" if anchor else "")


def rewrite(items: list) -> None:
    for item in items:
        if not isinstance(item, dict) or "Chapter" not in item:
            continue
        chapter = item["Chapter"]
        page = chapter.get("source_path") or chapter.get("path")
        if page:
            chapter["content"] = LINK.sub(lambda found: f"]({outside(page, found[1])})", chapter["content"])
        rewrite(chapter.get("sub_items", []))


if __name__ == "__main__":
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    _context, book = json.load(sys.stdin)
    rewrite(book.get("items") or book.get("sections") or [])
    json.dump(book, sys.stdout)
