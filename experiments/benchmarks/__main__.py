"""Lists the benchmarks: ``python -m experiments.benchmarks``."""

import importlib
import pkgutil

from experiments import benchmarks

if __name__ == "__main__":
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if not module.name.startswith("_"):
            name = f"{benchmarks.__name__}.{module.name}"
            doc = importlib.import_module(name).__doc__ or ""
            print(f"python -m {name:38} {doc.splitlines()[0]}")
