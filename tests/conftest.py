"""What all tests share: the server with our models, and servers with models made by a test."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tritalk import environment
from tritalk.server import Server, ServerError, ServerOptions

_MODELS_FOLDER = "models"
_LOG_LINES = 40
_SERVER = pytest.StashKey[Server]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--models",
        default="",
        metavar="NAME,NAME",
        help="serve these models only; tests that need others are deselected",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "needs(*names): the served models that a test of the session's server needs; the default "
        "is the one that names the file in tests/models, and all of them elsewhere",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = _chosen(config)
    if not chosen:
        return
    left_out = [
        item
        for item in items
        if "server" in getattr(item, "fixturenames", ()) and not _needs(item) <= set(chosen)
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _SERVER in item.session.stash and "server" in item.fixturenames:  # type: ignore[attr-defined]
        lines = item.session.stash[_SERVER].log.lines()[-_LOG_LINES:]
        report.sections.append(("tritonserver", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The model repository, served once for all tests on free ports with an empty state folder."""
    options = ServerOptions(
        models=_chosen(request.config), http_port=0, grpc_port=0, metrics_port=0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(environment.STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
        server = Server(options)
        request.session.stash[_SERVER] = server
        try:
            with server:
                yield server
        except ServerError as error:
            pytest.fail(str(error), pytrace=False)


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Makes a model of a small repository; returns the repository's folder."""
    return _model_maker(tmp_path / "repository")


@pytest.fixture(scope="module")
def make_module_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_model` for a server that a whole module of tests shares."""
    return _model_maker(tmp_path_factory.mktemp("repository"))


def _model_maker(repository: Path) -> Callable[..., Path]:
    def make(name: str, config: str, **files: str | bytes) -> Path:
        version = repository / name / "1"
        version.mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(config)
        for stem, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (version / {"code": "model.py"}.get(stem, f"{stem}.onnx")).write_bytes(data)
        return repository

    return make


def _chosen(config: pytest.Config) -> tuple[str, ...]:
    return tuple(name for name in config.getoption("--models").split(",") if name)


def _needs(item: pytest.Item) -> set[str]:
    marker = item.get_closest_marker("needs")
    if marker is not None:
        return set(marker.args)
    folders = environment.repository_root() / "model_repository"
    models = {path.parent.name for path in folders.glob("*/config.pbtxt")}
    named = {name for name in models if item.path.stem.removeprefix("test_").startswith(name)}
    return named if item.path.parent.name == _MODELS_FOLDER and named else models
