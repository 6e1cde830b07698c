"""Resolve the dependency trees of the Java programs and write `jars.lock.json`. For developers only."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jgo.maven import MavenContext, PythonResolver

LOCK_PATH = Path(__file__).with_name("jars.lock.json")


@dataclass(frozen=True)
class Program:
    """A root artifact, the coordinates (a pattern for their beginning) it runs without, and its extras."""

    coordinate: str
    without: re.Pattern[str]
    extras: tuple[str, ...] = ()


PROGRAMS = {
    # scala-reflect is a compile-time dependency of a logging macro. Kafka's own distribution adds the binding
    # from slf4j to log4j; without it the broker says nothing.
    "kafka": Program(
        "org.apache.kafka:kafka_2.13:4.1.2",
        re.compile(r"org\.scala-lang:scala-reflect"),
        extras=("org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",),
    ),
    # The file system back end needs neither the cloud back ends (Azure, Google, Swift, SFTP) nor Jetty, which
    # is shaded into the program; the model classes of the AWS SDK are its internal interface and stay.
    "s3proxy": Program(
        "org.gaul:s3proxy:4.1.0",
        re.compile(
            r"com\.azure|com\.microsoft|com\.squareup|com\.github\.(openstack4j|fge|spotbugs)|"
            r"com\.google\.(cloud|api|apis|auth|auto|android|oauth-client|http-client|protobuf|code)|"
            r"com\.fasterxml\.(jackson\.core:jackson-(core|databind)|jackson\.data|woodstox)|"
            r"io\.(grpc|opencensus|perfmark|projectreactor)|io\.opentelemetry\.contrib|net\.java|"
            r"junit|org\.(junit|hamcrest|opentest4j|threeten|checkerframework|codehaus\.mojo|yaml)|"
            r"org\.apache\.(sshd|httpcomponents)|org\.eclipse\.jetty|org\.gaul:modernizer|commons-codec|"
            r"software\.amazon\.awssdk:sts"
        ),
    ),
}


def relock(path: Path = LOCK_PATH) -> None:
    """Resolve every program, download its jars, and write their digests."""
    context = MavenContext(resolver=PythonResolver(lenient=True), timeout=60)
    document: dict[str, Any] = {"_": "written by python -m sunledger.embedded.jars --relock"}
    for name, program in PROGRAMS.items():
        coordinates = [program.coordinate, *program.extras, *_dependencies(context, program)]
        with ThreadPoolExecutor(8) as pool:
            document[name] = list(pool.map(lambda c: _entry(context, c), coordinates))
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _dependencies(context: MavenContext, program: Program) -> list[str]:
    component = _component(context, program.coordinate)
    _, nodes = context.pom_dependency_list(component.pom())
    coordinates = [
        f"{n.dep.groupId}:{n.dep.artifactId}:{n.dep.version}" for n in nodes if n.dep.scope != "provided"
    ]
    return [coordinate for coordinate in coordinates if not program.without.match(coordinate)]


def _entry(context: MavenContext, coordinate: str) -> dict[str, str | int]:
    data = Path(_component(context, coordinate).artifact().resolve()).read_bytes()
    return {"coordinate": coordinate, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _component(context: MavenContext, coordinate: str) -> Any:
    group, name, version = coordinate.split(":")
    return context.project(group, name).at_version(version)
