"""/docs: works without a network, and lets a browser ask nobody else."""

import re

from api_helpers import Api, assert_problem

REFERENCES = re.compile(
    r"""(?:src|href)\s*=\s*["']([^"']*)["']|url\(\s*["']?([^"')]*)|@import\s+["']([^"']*)"""
)
ABSOLUTE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)


def named(text: str) -> set[str]:
    """Addresses that a page or a style sheet makes a browser load; pictures within it are not among them."""
    found = {next(filter(None, groups), "") for groups in REFERENCES.findall(text)}
    return {address for address in found if not address.startswith("data:")}


async def test_the_page_and_its_files_come_from_the_api(api: Api) -> None:
    """For everybody; every address in them leads to the API itself, and there is something there."""
    del api.http.headers["Authorization"]
    page = await api.http.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    files = named(page.text)
    assert files == {
        "docs/icon.png", "docs/swagger-ui.css", "docs/swagger-ui.js", "docs/start.js", "openapi.json",
    }  # fmt: skip
    texts = {"page": page.text}
    for file in files:
        answer = await api.http.get(f"/{file}")
        assert answer.status_code == 200, file
        assert answer.content, file
        assert not answer.history
        if "text" in answer.headers["content-type"]:
            texts[file] = answer.text
    assert named(texts["docs/swagger-ui.css"]) == set()
    assert "SwaggerUIBundle" in texts["docs/swagger-ui.js"]
    assert "//" not in texts["docs/start.js"]
    assert not [
        address
        for text in (page.text, texts["docs/start.js"])
        for address in named(text)
        if ABSOLUTE.match(address)
    ]
    assert "openapi.json" in texts["docs/start.js"]
    # what the bundle would send the description to unless told otherwise
    assert "validatorUrl: null" in texts["docs/start.js"]


async def test_a_browser_may_ask_nobody_else(api: Api) -> None:
    """Whatever addresses the bundle has in it: the policy is that of the page and of each of its files."""
    page = await api.http.get("/docs")
    for path in ("/docs", *(f"/{file}" for file in named(page.text) if file != "openapi.json")):
        headers = (await api.http.get(path)).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        assert not re.search(r"https?:|\*|unsafe-eval", headers["content-security-policy"])
        assert policy["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in page.text, "a script in the page would not run"


async def test_a_file_is_sent_once_and_others_are_not_there(api: Api) -> None:
    """An ETag spares the second transfer; no name leads to another file of the package or the machine."""
    first = await api.http.get("/docs/swagger-ui.js")
    again = await api.http.get("/docs/swagger-ui.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("__init__.py", "swagger-ui-bundle.js", "..", "%2e%2e%2fapp.py", "oauth2-redirect"):
        assert_problem(await api.http.get(f"/docs/{name}"), 404, "not_found")
