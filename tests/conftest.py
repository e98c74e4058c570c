import os

# Set before JAX starts: each worker of a parallel run keeps to its own core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Programs as users have them take longer to compile; 0 asks for those. Processes that
# tests start have the same programs, to the last bit.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import fcntl
import gc
import signal
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import psutil
import pytest
import shell
import torch_operators
from hypothesis import settings

from semrsm_jax.matching import _auction

torch_operators.install()
# Each run tries the same examples, so that a failure is that of a change.
settings.register_profile("tests", derandomize=True, deadline=None, database=None)
settings.load_profile("tests")
# A shell starts what it runs in the background without a handler.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Looking for cycles among all that JAX, Numba and pytest hold takes a twentieth of the
# time.
gc.set_threshold(50_000, 20, 100)
# Where a plugin started JAX before.
QUICK = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0"
jax.config.update("jax_disable_most_optimizations", QUICK)
if QUICK and jax.__version_info__ < (0, 11):
    # A third to a half less to compile, in processes that tests start too. XLA ends a
    # process whose flags it does not know, and JAX 0.12 does not know the first.
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_cpu_use_fusion_emitters=false"
        " --xla_cpu_parallel_codegen_split_count=1"
        " --xla_cpu_enable_concurrency_optimized_scheduler=false",
    )


# Minutes of the CI: begun last, they would keep one worker busy and the other idle.
LONGEST = ("test_experiments_smoke", "test_loops")
WITHOUT_SOLVER = {
    "test_imports",
    "test_docstrings",
    "test_cka_matrix",
    "test_comparison",
    "test_comparison_features",
    "test_correlations",
    "test_inference",
    "test_inference_resamples",
    "test_measures",
    "test_neighborhoods",
    "test_rsa",
}


def pytest_terminal_summary(terminalreporter):
    """What loops counted: tests record it as the property "count"."""
    counts = [
        f"{value} ({report.nodeid})"
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "count"
    ]
    if counts:
        terminalreporter.section("counts of loops")
    for line in counts:
        terminalreporter.line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    """What is left is looked through once, and not again by each of pytest's five."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def optimized():
    """Optimized programs: for tests of memory, and those that run longer than they
    compile.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
        jax.config.update("jax_disable_most_optimizations", False)
        yield
    jax.config.update("jax_disable_most_optimizations", QUICK)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """What tests, workers and their processes compile alike is compiled once."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    settings = {
        "jax_compilation_cache_dir": str(root / "jax"),
        "jax_persistent_cache_min_compile_time_secs": "0",
        "jax_persistent_cache_min_entry_size_bytes": "-1",
    }
    for name, value in settings.items():
        value = os.environ.setdefault(name.upper(), value)
        jax.config.update(name, value if name.endswith("dir") else int(value))


@pytest.fixture(scope="session", autouse=True)
def compiled_solver(tmp_path_factory):
    """One worker compiles the solver; others wait for it where they need it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    solve_range, seen = _auction._solve_range, set()

    def one_at_a_time(affinity, *more):
        if affinity.dtype in seen:
            return solve_range(affinity, *more)
        lock = tmp_path_factory.getbasetemp().parent / affinity.dtype.name
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            solve_range(affinity, *more)
        seen.add(affinity.dtype)

    _auction._solve_range = one_at_a_time
    if worker == "gw0":
        _auction.solve(np.zeros((1, 2, 2), np.float32))


def pytest_configure(config):
    """Files run in the order of `pytest_collection_modifyitems`, not by their size."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """The longest files first, those that run while the solver is compiled; the rest
    by their tests."""
    tests = Counter(item.path.stem for item in items)

    def place(item):
        file = item.path.stem
        return file not in LONGEST, file not in WITHOUT_SOLVER, -tests[file]

    items.sort(key=place)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def x64():
    """float64 for one test: the global setting is put back."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def no_x64():
    """float32 for one test, also where all others have x64 on."""
    with jax.enable_x64(False):
        yield


@pytest.fixture(scope="session")
def memory_limit():
    """In GiB, at first a third of all.

    What programs leave is used again, but the process does not shrink.
    """
    return {"GiB": psutil.virtual_memory().total / 2**30 / 3}


@pytest.fixture(scope="module", autouse=True)
def compiled_programs(memory_limit):
    """They leave memory where it has grown: a worker would hold more and more."""
    yield
    held = psutil.Process().memory_info().rss / 2**30
    if held > memory_limit["GiB"]:
        jax.clear_caches()
        memory_limit["GiB"] = held + 1


@pytest.fixture
def limited(monkeypatch):
    """Makes chunks of more than `most` pairs fail; gives the sizes of the others."""
    from semrsm_jax.pairs import executor

    def limit(most, error):
        sizes, chunk = [], executor.match_pairs

        def match_pairs(inputs, rows, *more):
            if len(rows) > most:
                raise error
            sizes.append(len(rows))
            return chunk(inputs, rows, *more)

        monkeypatch.setattr(executor, "match_pairs", match_pairs)
        return sizes

    return limit


@pytest.fixture
def features_folder(tmp_path, monkeypatch) -> Path:
    """A working folder with x.npy (N, H, W, C) and y.npy (M, S, C)."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", shell.features())
    np.save("y.npy", shell.features(1, (4, 6, 4)))
    return tmp_path


@pytest.fixture
def matrices(tmp_path, monkeypatch, rng) -> Path:
    """Square RSMs a, b, c of one set, and d and e (N, M) between two, as .npy."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        z = rng.normal(size=(shell.N, 5))
        np.save(f"{name}.npy", (z @ z.T).astype(np.float32))
    for name in "de":
        np.save(f"{name}.npy", rng.normal(size=(shell.N, shell.M)))
    return tmp_path
