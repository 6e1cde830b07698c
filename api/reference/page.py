"""The page behind /docs: Swagger UI from the package that brings its files, and nothing from elsewhere.

FastAPI's own page loads them from other people's servers: without a network it is empty, and with one
those servers could run what they like beside an admin's token.
"""

from dataclasses import dataclass
from importlib import resources
from typing import Final

_FILES: Final = "fastapi_swagger.resources"

PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sunledger API</title>
<link rel="icon" href="docs/icon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript><a href="openapi.json">The description of the API as OpenAPI</a></noscript>
<script src="docs/swagger-ui.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
"""Addresses are relative: a proxy may serve the API below a path of its own."""

START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""
"""In a file of its own, so that no script in the page need be allowed. Without `validatorUrl` the description
would be sent to a validator of the makers'."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of the page and its files: the browser asks nobody but this API (CSP Level 3, W3C). Styles may stand in
the page, since Swagger UI sets them on elements; scripts may not."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    body: bytes
    media_type: str


def assets() -> dict[str, Asset]:
    """The files of the page by name (reads 2 MB).

    Raises:
        FileNotFoundError: the package has other files than the one this was written for.
    """
    folder = resources.files(_FILES)
    return {
        "swagger-ui.js": Asset((folder / "swagger-ui-bundle.js").read_bytes(), "text/javascript"),
        "swagger-ui.css": Asset((folder / "swagger-ui.css").read_bytes(), "text/css"),
        "icon.png": Asset((folder / "favicon-32x32.png").read_bytes(), "image/png"),
        "start.js": Asset(START.encode(), "text/javascript"),
    }
